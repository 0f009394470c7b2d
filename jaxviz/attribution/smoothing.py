"""Smoothing: any method on noisy copies of the inputs, and the mean, mean square or variance of what it gives."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import chunks
from jaxviz.attribution.arguments import check_choice, check_count, check_key, prepare
from jaxviz.attribution.baselines import baseline_set
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.kinds import check_has_mean, target_for
from jaxviz.attribution.settings import defaults, signature, split
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.static import Static
from jaxviz.targets import Target, TargetLike

REDUCTIONS = ("mean", "square", "variance")
SCALES = ("range", "absolute")


def smooth(
    method: Callable[..., Any],
    *,
    samples: int = 25,
    noise: float | tuple[float, ...] = 0.15,
    reduce: str = "mean",
    scale: str = "range",
) -> "Smooth":
    """SmoothGrad and its kin, around any method: what the method gives on noisy copies of the inputs, reduced over the copies.

    `attribution = mean_i method(inputs + sigma * e_i)`, `e_i ~ N(0, 1)`: SmoothGrad; with the square of what the method gives
    SmoothGrad-squared; with its variance VarGrad.

    Args:
        method: any attribution method of this package, or a function called as they are.
        samples: number of noisy copies, at least 1; for a variance 2.
        noise: the noise's standard deviation, at least 0, in units of scale; a tuple has one for each of several inputs.
        reduce: `"mean"`, `"square"` (mean of the squares) or `"variance"` (over the samples, divided by their number).
        scale: `"range"`: noise is a share of each example's own range, its maximum minus its minimum over all features, as in the
            paper (which finds 0.1 to 0.2 good for images); an example that is constant has no range and gets no noise.
            `"absolute"`: noise is in units of the inputs, as Captum's `stdevs`.

    Returns:
        A method, called as the method is, `smoothed(model, inputs, *, target=None, key, chunk_size=None, progress=False, ...)`:
        `key` is a `jax.random.key`, and required (same key, same bits, whatever chunk_size); `chunk_size` is the most model
        evaluations (samples x examples) in flight, at least one sample; other settings go to the method. A method that has a
        chunk_size of its own, such as `integrated_gradients`, is called sample after sample and gets the chunk_size. A method
        that has a baseline may be given `baselines=` in its place, a set, an array `(k, *inputs.shape[1:])` or a tuple of these
        for several inputs: each sample of each example then has one of them, drawn evenly.

    Raises:
        TypeError, ValueError: if method cannot be called or its results have no mean (`feature_factorization`), or a setting is
            out of its range; when called, as the method, and if key is missing.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: (inputs**2).sum(axis=1), ())
        >>> smoothed = smooth(jv.gradient, samples=50, noise=0.1)
        >>> smoothed(model, jnp.array([[1.0, 3.0]]), key=jax.random.key(0)).shape
        (1, 2)

    Note:
        As Captum's `NoiseTunnel` with `scale="absolute"`, and `noise` for its `stdevs`; a set of baselines is its
        `draw_baseline_from_distrib`. `saliency`'s `GetSmoothedMask` has `magnitude` for `reduce="square"`. The last of Zennit's
        copies has no noise. With `noise=0` a method that draws is repeated with other keys, and `reduce="variance"` tells how far
        it errs.

    References:
        D. Smilkov, N. Thorat, B. Kim, F. Viegas, M. Wattenberg. SmoothGrad: removing noise by adding noise. 2017.
        arXiv:1706.03825.
        S. Hooker, D. Erhan, P.-J. Kindermans, B. Kim. A Benchmark for Interpretability Methods in Deep Neural Networks
        (SmoothGrad-squared). NeurIPS 2019. arXiv:1806.10758.
        J. Adebayo, J. Gilmer, I. Goodfellow, B. Kim. Local Explanation Methods for Deep Neural Networks Lack Sensitivity to
        Parameter Values (VarGrad). ICLR Workshop 2018. arXiv:1810.03307.
    """
    if not callable(method):
        raise TypeError(
            f"smooth: method must be an attribution method such as jaxviz.gradient, got {type(method).__name__}"
        )
    check_has_mean("smooth", method)
    check_count("smooth", "samples", samples)
    if reduce == "variance" and samples < 2:
        raise ValueError(f"smooth: reduce='variance' needs at least 2 samples, got {samples}")
    check_choice("smooth", "reduce", reduce, REDUCTIONS)
    check_choice("smooth", "scale", scale, SCALES)
    levels = noise if isinstance(noise, tuple) else (noise,)
    for level in levels:
        if isinstance(level, bool) or not isinstance(level, int | float | np.number):
            raise TypeError(f"smooth: noise must be a number, or a tuple of numbers for several inputs, got {noise!r}")
        if not 0 <= level < float("inf"):
            raise ValueError(f"smooth: noise is a standard deviation, finite and at least 0, got {noise!r}")
    return Smooth(method, int(samples), noise, reduce, scale)


@dataclass(frozen=True)
class Smooth:
    """A smoothed method; see `smooth`. Equal to another by value, so that one made again is not compiled again."""

    method: Callable[..., Any]
    samples: int
    noise: float | tuple[float, ...]
    reduce: str
    scale: str

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"smooth({getattr(self.method, '__name__', type(self.method).__name__)})"

    @cautious
    def __call__(
        self,
        model: Model,
        inputs: Any,
        *,
        target: TargetLike = None,
        key: jax.Array | None = None,
        chunk_size: int | None = None,
        progress: bool = False,
        **settings: Any,
    ) -> Any:
        """The smoothed attribution; see `smooth`."""
        name = self.name
        inputs, prepared = prepare(name, model, inputs, target_for(self.method, target))
        key = check_key(name, key)
        chunks.check_chunk_size(name, chunk_size)
        leaves = jax.tree.leaves(inputs)
        levels = self.noise if isinstance(self.noise, tuple) else (self.noise,) * len(leaves)
        if len(levels) != len(leaves):
            raise ValueError(f"{name}: noise has {len(levels)} entries, but the model has {len(leaves)} inputs")
        accepted = signature(self.method).parameters
        points = None
        if "baselines" in settings and _draws_baselines(self.method):
            if "baseline" in settings:
                raise TypeError(f"{name}: baseline and baselines are both given; give one of them")
            points = jax.tree.map(jnp.asarray, baseline_set(name, settings.pop("baselines"), inputs))
        noise = _Noise(key, [np.asarray(level, np.float32) for level in levels], points)
        if "chunk_size" in accepted:
            one_by_one = True
            settings["chunk_size"] = chunk_size
            sizes = (1,) * self.samples
        else:
            one_by_one = False
            sizes = chunks.sizes(
                self.samples, leaves[0].shape[0], chunk_size, values=sum(leaf.size // leaf.shape[0] for leaf in leaves)
            )
        static, traced = split(settings)
        how = _How(Static(self.method), "key" in accepted, self.reduce, static)

        def statistics(indices: np.ndarray) -> "_Statistics":
            if not one_by_one:
                return _sampled(how, model, *_noisy_chunk(self.scale, inputs, noise, indices), prepared, traced)
            noisy, method_key, drawn = _noisy_inputs(self.scale, inputs, noise, indices[0])
            attribution = how.call(model, noisy, prepared, method_key, traced | drawn)
            return _statistics_of_one(self.reduce, attribution)

        def step(carry: "_Statistics | None", indices: np.ndarray) -> "_Statistics":
            part = statistics(indices)
            return part if carry is None else _merge(carry, part)

        result = chunks.fold(step, None, np.arange(self.samples, dtype=np.uint32), sizes, progress=progress, label=name)
        assert result is not None  # there is at least one sample
        return result.mean if self.reduce != "variance" else _variance(result)


def _draws_baselines(method: Callable[..., Any]) -> bool:
    """Whether a set of baselines is there to draw one for each sample: not where the method takes sets itself."""
    accepted = defaults(method)
    return "baseline" in accepted and "baselines" not in accepted


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Noise:
    """What samples are drawn from: the key, per input the level of its noise, and the baselines, if any are drawn."""

    key: jax.Array
    levels: list[Any]
    baselines: Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Statistics:
    """Of some samples: their number, mean and sum of squared deviations (None where it is not wanted), per element."""

    count: jax.Array
    mean: Any
    squares: Any


@dataclass(frozen=True)
class _How:
    """The static part of a smoothed call."""

    method: Static
    takes_key: bool
    reduce: str
    settings: Static

    def call(self, model: Model, inputs: Any, target: Target, key: jax.Array, traced: dict[str, Any]) -> Any:
        keys = {"key": key} if self.takes_key else {}
        return self.method.value(model, inputs, target=target, **dict(self.settings.value), **traced, **keys)


def _noisy(scale: str, inputs: Any, noise: _Noise, index: jax.Array) -> tuple[Any, jax.Array, dict[str, Any]]:
    """Sample number index: noisy inputs, a key for the method, and its baseline where one is drawn for each example.

    Depends on the index alone, not on the chunks.
    """
    noise_key, method_key = jax.random.split(jax.random.fold_in(noise.key, index))
    noisy = []
    for number, (leaf, level) in enumerate(zip(jax.tree.leaves(inputs), noise.levels, strict=True)):
        deviation = jnp.asarray(level, leaf.dtype)
        if scale == "range":
            axes = tuple(range(1, leaf.ndim))
            deviation = deviation * (leaf.max(axis=axes, keepdims=True) - leaf.min(axis=axes, keepdims=True))
        noisy.append(
            leaf + deviation * jax.random.normal(jax.random.fold_in(noise_key, number), leaf.shape, leaf.dtype)
        )
    drawn = {}
    if noise.baselines is not None:
        count, batch = (jax.tree.leaves(tree)[0].shape[0] for tree in (noise.baselines, inputs))
        chosen = jax.random.randint(jax.random.fold_in(noise_key, len(noisy)), (batch,), 0, count)
        drawn["baseline"] = jax.tree.map(lambda points: points[chosen], noise.baselines)
    return jax.tree.unflatten(jax.tree.structure(inputs), noisy), method_key, drawn


_noisy_inputs = functools.partial(jit, static_argnums=0)(_noisy)


@functools.partial(jit, static_argnums=0)
def _noisy_chunk(scale: str, inputs: Any, noise: _Noise, indices: jax.Array) -> tuple[Any, jax.Array, dict[str, Any]]:
    # A program of its own: the random numbers take long to compile, and are the same for every method.
    return jax.vmap(lambda index: _noisy(scale, inputs, noise, index))(indices)


@functools.partial(jit, static_argnums=0)
def _sampled(
    how: _How,
    model: Model,
    noisy: Any,
    keys: jax.Array,
    drawn: dict[str, Any],
    target: Target,
    traced: dict[str, Any],
) -> _Statistics:
    one = lambda inputs, key, drawn: how.call(model, inputs, target, key, traced | drawn)
    attributions = jax.vmap(one)(noisy, keys, drawn)
    if how.reduce == "square":
        attributions = jax.tree.map(jnp.square, attributions)
    mean = jax.tree.map(lambda leaf: leaf.mean(axis=0), attributions)
    squares = None
    if how.reduce == "variance":
        squares = jax.tree.map(lambda leaf, center: jnp.square(leaf - center[None]).sum(axis=0), attributions, mean)
    return _Statistics(jnp.float32(keys.shape[0]), mean, squares)


@functools.partial(jit, static_argnums=0)
def _statistics_of_one(reduce: str, attribution: Any) -> _Statistics:
    mean = jax.tree.map(jnp.square, attribution) if reduce == "square" else attribution
    return _Statistics(
        jnp.float32(1), mean, jax.tree.map(jnp.zeros_like, attribution) if reduce == "variance" else None
    )


@functools.partial(jit, donate_argnums=0)
def _merge(one: _Statistics, other: _Statistics) -> _Statistics:
    # By Chan, Golub and LeVeque: differences of means, so that the variance does not cancel away.
    count = one.count + other.count
    share = other.count / count
    difference = jax.tree.map(jnp.subtract, other.mean, one.mean)
    mean = jax.tree.map(lambda a, d: a + d * share.astype(a.dtype), one.mean, difference)
    squares = None
    if one.squares is not None:
        squares = jax.tree.map(
            lambda a, b, d: a + b + jnp.square(d) * (one.count * share).astype(a.dtype),
            one.squares,
            other.squares,
            difference,
        )
    return _Statistics(count, mean, squares)


@jit
def _variance(statistics: _Statistics) -> Any:
    return jax.tree.map(lambda leaf: leaf / statistics.count.astype(leaf.dtype), statistics.squares)
