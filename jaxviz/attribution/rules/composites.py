"""Composites: which rule of LRP is for which layer; and those that publications have made customary, by name."""

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import jax

from jaxviz.attribution.rules.first_layers import Flat, WSquare, ZBox
from jaxviz.attribution.rules.relevance import AlphaBeta, Epsilon, Gamma, Norm, OwnRule, Pass, ZPlus
from jaxviz.attribution.rules.stabilizers import check_stabilizer
from jaxviz.program import Where, paths
from jaxviz.static import Static

# The kinds of operations that have a rule, by what the program does, whichever module does it.
CONVOLUTION, DENSE, POOLING, NORMALIZATION, CENTERING = (
    "convolution",
    "dense",
    "pooling",
    "normalization",
    "centering",
)
OPERATIONS = {
    CONVOLUTION: "a convolution with constant weights, and what scales and shifts its outputs (bias, batch normalization)",
    DENSE: "a matrix product with constant weights, and what scales and shifts its outputs",
    POOLING: "a sum, a mean, average pooling",
    NORMALIZATION: "scales and shifts by constants that follow no linear layer (batch normalization of something else)",
    CENTERING: "what subtracts its own mean (layer and group normalization), and what scales and shifts it afterwards",
}

# `rule(layer, x, relevance) -> relevance of x`; see `jaxviz.attribution.rules.relevance`.
Rule = Callable[[Any, Any, Any], Any]


class Candidate(NamedTuple):
    """A rule that fits an operation.

    Attributes:
        rule: the rule.
        argument: which attribute of the composite has it; empty for what operations have without one.
        name: the pattern or kind that fits.
    """

    rule: Any
    argument: str = ""
    name: str = ""

    @property
    def is_exact(self) -> bool:
        """Whether it is for a layer by its path."""
        return self.argument == "layers" and not any(character in self.name for character in "*?")

    @property
    def is_of_operations(self) -> bool:
        """Whether it is for a kind of operations, in whichever layers."""
        return self.argument != "layers" and (not self.name or self.name in OPERATIONS)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Composite:
    """Which rule is for which layer.

    A layer's rule is that of the last fitting pattern of `layers`; else, for the first linear layer, that of its kind in `first`;
    else that of its kind in `rules`; else `Norm(stabilizer)`, save that operations of the kind "normalization" have `Pass()`.

    Attributes:
        rules: a kind of layer -> its rule. A kind is the name of a module's class (`"Conv"`), or, for modules of every class and
            none, one of "convolution", "dense", "pooling", "normalization", "centering".
        first: the same for the linear layers that see the inputs, or, if none does, for the first that is executed. A layer is
            linear if it is a convolution or matrix product with constant weights.
        layers: a path or pattern (as for `Model.capture`) of layers -> the rule of each operation of these kinds in them, pooling
            and the centering of a norm too. What stands in a layer that they hold is of that one: those in it are
            `"encoder/**"`. Activation functions and maxima are of no kind, and have `primitives`.
        primitives: the rules of primitives, which go before all others: the name of a primitive (`"tanh"`), of a function that
            the program calls (`"silu()"`), or either in some layers (`"Block_*:tanh"`).
        stabilizer: of all that has no rule of its own: sums and products of two values that depend on the inputs, and `Norm()`;
            a number, a `Stabilizer` or a function, as rules have it.

    A rule is one of this package's (`Epsilon()`, `Gamma(0.5)`, ...), or a function `rule(layer, x, relevance)` that gives the
    relevance of the layer's inputs x; `layer` is an `Affine`: `layer(x)` is its value, `layer.linear(x)` the same without bias,
    `layer.positive(x)` the linear map of its positive weights. Give the same function each time: a new lambda is a new program.
    For a primitive with several operands that depend on the inputs, x is a tuple, and so must the result be.

    Rules that ask for weights (all of this package's but `Epsilon`, `Norm` and `Pass`) cannot be those of what has none: the
    centering of a norm, and products with a statistic (a root mean square, say). A pattern, or a class of modules, leaves such
    operations the rule that they have otherwise, so that `layers={"encoder/**": Gamma()}` is for the linear layers among those
    of an encoder; a path, or the kind "centering", is an error. Scales and shifts by one number, of which functions are made (a
    GELU written out), have none but that of the kind "normalization".

    A rule that fits a layer of the model by its path or class, but none of its operations, is an error that says why: a batch
    norm that follows a linear layer is part of that one, say.
    """

    rules: Mapping[str, Any] = field(default_factory=dict)
    first: Mapping[str, Any] = field(default_factory=dict)
    layers: Mapping[str, Any] = field(default_factory=dict)
    primitives: Mapping[str, Any] = field(default_factory=dict)
    stabilizer: Any = 1e-6

    def __post_init__(self) -> None:
        for name in ("rules", "first", "layers", "primitives"):
            rules = getattr(self, name)
            if not isinstance(rules, Mapping) or not all(isinstance(key, str) for key in rules):
                raise TypeError(f"Composite: {name} must be a dict with strings as keys, got {rules!r}")
            object.__setattr__(self, name, {key: as_rule("Composite", rule) for key, rule in rules.items()})
        object.__setattr__(self, "stabilizer", check_stabilizer("Composite", "stabilizer", self.stabilizer))
        for kind in self.first:
            if kind in OPERATIONS and kind not in (CONVOLUTION, DENSE):
                raise ValueError(
                    f"Composite: first is for linear layers: {CONVOLUTION!r}, {DENSE!r} or a class of modules, got {kind!r}"
                )

    def extended(self, **rules: Mapping[str, Any]) -> "Composite":
        """This composite, with more rules, which go before its own of the same attribute.

        Args:
            **rules: as the attributes: `rules`, `first`, `layers`, `primitives`.

        Example:
            >>> composite = epsilon_plus().extended(rules={"convolution": Gamma(0.5)}, layers={"head": Epsilon(0.1)})
            >>> composite.rules
            {'dense': Epsilon(epsilon=1e-06, bias=True), 'convolution': Gamma(gamma=0.5, stabilizer=1e-06, bias=True)}
        """
        names = [one.name for one in fields(self) if one.name != "stabilizer"]
        joined = {}
        for name, more in rules.items():
            if name not in names:
                raise TypeError(f"extended: there are {', '.join(names)}, got {name}")
            if not isinstance(more, Mapping):
                raise TypeError(f"extended: {name} must be a dict with strings as keys, got {more!r}")
            own = getattr(self, name)
            joined[name] = {key: rule for key, rule in own.items() if key not in more} | dict(more)
        return replace(self, **joined)

    def candidates(self, operation: str, where: Where, first: bool) -> Iterator[Candidate]:
        """The rules that fit an operation, that which goes before the others first, and last what it has without any.

        Args:
            operation: one of `OPERATIONS`.
            where: the layer that it stands in.
            first: whether it is a first linear layer.
        """
        for pattern, rule in reversed(list(self.layers.items())):
            if paths.match(where.layer, pattern):
                yield Candidate(rule, "layers", pattern)
        for argument in ("first", "rules") if first else ("rules",):
            rules = getattr(self, argument)
            for kind in (where.kind, operation):
                if kind in rules:
                    yield Candidate(rules[kind], argument, kind)
        yield Candidate(Pass() if operation == NORMALIZATION else Norm(self.stabilizer))


def as_rule(function: str, rule: Any) -> Any:
    """The rule; a function as a rule that JAX takes for static. Raises unless it is one."""
    if isinstance(rule, type) or not callable(rule):
        raise TypeError(f"{function}: a rule must be an instance such as Epsilon(), or a function, got {rule!r}")
    if jax.tree_util.all_leaves([rule]):
        return OwnRule(Static(rule))
    return rule


def as_composite(function: str, composite: Any) -> Composite:
    """A rule, the name of a preset or a composite as a composite. Raises unless it is one of these."""
    if isinstance(composite, Composite):
        return composite
    if isinstance(composite, str):
        found = [preset for name, preset in PRESETS.items() if composite in (name, preset.__name__)]
        if not found:
            raise ValueError(f"{function}: composite {composite!r} not found; presets: {', '.join(PRESETS)}")
        if found[0] is epsilon_gamma_box:
            raise ValueError(
                f"{function}: {composite!r} needs the lowest and highest possible value of the inputs; give "
                "composite=epsilon_gamma_box(low, high), from jaxviz.attribution.rules"
            )
        return _made(found[0])
    if isinstance(composite, type) or not callable(composite):
        raise TypeError(
            f"{function}: composite must be a rule such as Epsilon(), the name of a preset ({', '.join(PRESETS)}), or a "
            f"Composite, got {composite!r}"
        )
    rule = as_rule(function, composite)
    return Composite({CONVOLUTION: rule, DENSE: rule})


@functools.cache
def _made(preset: Callable[[], Composite]) -> Composite:
    return preset()


def epsilon_gamma_box(
    low: Any, high: Any, *, epsilon: Any = 1e-6, gamma: Any = 0.25, stabilizer: Any = 1e-6, bias: bool = True
) -> Composite:
    """EpsilonGammaBox: z-box for the first convolution, gamma for the others, epsilon for dense layers.

    Here as in all presets, numbers that stabilize may be a `Stabilizer` or a function, `bias=False` leaves biases out of the
    rules that have this setting, and `Composite.extended` adds other rules.

    Args:
        low: the lowest possible value of the inputs, a number or an array that broadcasts to them.
        high: the highest.
        epsilon: of the epsilon rule.
        gamma: of the gamma rule.
        stabilizer: of all others.
        bias: False leaves biases out, so that they absorb nothing.

    References:
        G. Montavon, A. Binder, S. Lapuschkin, W. Samek, K.-R. Müller. Layer-Wise Relevance Propagation: An Overview.
        Explainable AI, LNCS 11700, 2019; as in C. J. Anders, D. Neumann, W. Samek, K.-R. Müller, S. Lapuschkin. Software for
        Dataset-wide XAI: From Local Explanations to Global Insights with Zennit, CoRelAy, and ViRelAy. 2021. arXiv:2106.13200.
    """
    rules = {CONVOLUTION: Gamma(gamma, stabilizer, bias), DENSE: Epsilon(epsilon, bias)}
    return Composite(rules, {CONVOLUTION: ZBox(low, high, stabilizer)}, stabilizer=stabilizer)


def epsilon_plus(*, epsilon: Any = 1e-6, stabilizer: Any = 1e-6, bias: bool = True) -> Composite:
    """EpsilonPlus: z-plus for convolutions, epsilon for dense layers (settings and references at `epsilon_gamma_box`)."""
    return Composite({CONVOLUTION: ZPlus(stabilizer, bias), DENSE: Epsilon(epsilon, bias)}, stabilizer=stabilizer)


def epsilon_plus_flat(*, epsilon: Any = 1e-6, stabilizer: Any = 1e-6, bias: bool = True) -> Composite:
    """EpsilonPlusFlat: flat for the first linear layer, else as `epsilon_plus`."""
    return _flat_first(epsilon_plus(epsilon=epsilon, stabilizer=stabilizer, bias=bias))


def epsilon_alpha2_beta1(*, epsilon: Any = 1e-6, stabilizer: Any = 1e-6, bias: bool = True) -> Composite:
    """EpsilonAlpha2Beta1: alpha-beta (2, 1) for convolutions, epsilon for dense layers (more at `epsilon_gamma_box`)."""
    rules = {CONVOLUTION: AlphaBeta(2.0, 1.0, stabilizer, bias), DENSE: Epsilon(epsilon, bias)}
    return Composite(rules, stabilizer=stabilizer)


def epsilon_alpha2_beta1_flat(*, epsilon: Any = 1e-6, stabilizer: Any = 1e-6, bias: bool = True) -> Composite:
    """EpsilonAlpha2Beta1Flat: flat for the first linear layer, else as `epsilon_alpha2_beta1`."""
    return _flat_first(epsilon_alpha2_beta1(epsilon=epsilon, stabilizer=stabilizer, bias=bias))


def excitation_backprop(*, stabilizer: Any = 1e-6, bias: bool = True) -> Composite:
    """Excitation backprop: z-plus for all linear layers.

    Note:
        Zennit gives activation functions and batch norms of their own their gradients in this preset; here relevance passes. For
        ReLU after a linear layer that is the same.

    References:
        J. Zhang, Z. Lin, J. Brandt, X. Shen, S. Sclaroff. Top-Down Neural Attention by Excitation Backprop. ECCV 2016.
        arXiv:1608.00507.
    """
    rule = ZPlus(stabilizer, bias)
    return Composite({CONVOLUTION: rule, DENSE: rule}, stabilizer=stabilizer)


def deep_taylor(low: Any = None, high: Any = None, *, stabilizer: Any = 1e-6, bias: bool = True) -> Composite:
    """Deep Taylor decomposition: z-plus for all linear layers but the first, which has z-box, or w-square without bounds.

    Args:
        low: the lowest possible value of the inputs; None if they are not bounded.
        high: the highest.
        stabilizer: of all rules.
        bias: False leaves biases out, so that they absorb nothing.

    References:
        G. Montavon, S. Lapuschkin, A. Binder, W. Samek, K.-R. Müller. Explaining Nonlinear Classification Decisions with Deep
        Taylor Decomposition. Pattern Recognition 65, 2017. arXiv:1512.02479.
    """
    if (low is None) != (high is None):
        raise ValueError("deep_taylor: give both low and high, or neither")
    first = WSquare(stabilizer, bias) if low is None else ZBox(low, high, stabilizer)
    rule = ZPlus(stabilizer, bias)
    return Composite({CONVOLUTION: rule, DENSE: rule}, {CONVOLUTION: first, DENSE: first}, stabilizer=stabilizer)


def _flat_first(composite: Composite) -> Composite:
    flat = Flat(composite.stabilizer)
    return Composite(composite.rules, {CONVOLUTION: flat, DENSE: flat}, stabilizer=composite.stabilizer)


# By the names that Zennit and the literature have for them; the functions' own names do, too.
PRESETS: dict[str, Callable[..., Composite]] = {
    "EpsilonGammaBox": epsilon_gamma_box,
    "EpsilonPlus": epsilon_plus,
    "EpsilonPlusFlat": epsilon_plus_flat,
    "EpsilonAlpha2Beta1": epsilon_alpha2_beta1,
    "EpsilonAlpha2Beta1Flat": epsilon_alpha2_beta1_flat,
    "ExcitationBackprop": excitation_backprop,
    "DeepTaylor": deep_taylor,
}
