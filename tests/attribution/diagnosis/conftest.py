"""The networks that are diagnosed."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxviz as jv

RANDOM = np.random.default_rng(0)
TRACES = [0]  # how often the network was traced


class Mlp(nn.Module):
    last: Callable[[jax.Array], jax.Array] | None = None

    @nn.compact
    def __call__(self, x):
        TRACES[0] += 1
        for name in ("Dense_0", "Dense_1"):
            x = nn.relu(nn.Dense(6, name=name)(x))
        x = nn.Dense(3, name="Dense_2")(x)
        return x if self.last is None else self.last(x)


class Tokens(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(4)(nn.Embed(9, 4, name="embed")(x)))
        return nn.Dense(2)(x.mean(axis=1))


class Nets:
    """Networks and what they are given.

    Attributes:
        x: inputs of most of them, `(4, 5)`.
        variables: of the network with three layers.
        kernel: the weights of `saturated`, `(5, 3)`.
        mixed: inputs of `saturated`, `(4, 5)`: the first two examples, which are 10,000 times larger, saturate its last function.
        ids: of the network of tokens.
        traces: how often the network with three layers was traced.
    """

    x = RANDOM.normal(size=(4, 5)).astype(np.float32)
    variables = Mlp().init(jax.random.key(1), x)
    kernel = np.abs(RANDOM.normal(size=(5, 3))).astype(np.float32)
    mixed = np.abs(x) * np.array([[100], [100], [0.01], [0.01]], np.float32)
    ids = np.array([[1, 5, 3], [2, 2, 7]])
    traces = TRACES

    def mlp(self, last: Any = None, **changes: Any) -> jv.Model:
        """The network with three layers, with other parameters at paths such as Dense_1_bias."""
        params = {name: dict(layer) for name, layer in self.variables["params"].items()}
        for path, value in changes.items():
            layer, name = path.rsplit("_", 1)
            params[layer][name] = jnp.asarray(value, jnp.float32) * jnp.ones_like(params[layer][name])
        return jv.Model.from_linen(Mlp(last), {"params": params})

    def tokens(self) -> jv.Model:
        """A network that embeds token ids."""
        return jv.Model.from_linen(Tokens(), Tokens().init(jax.random.key(0), self.ids))

    def function(self, apply: Callable[[Any], Any]) -> jv.Model:
        """A model without parameters."""
        return jv.Model.from_function(lambda params, x: apply(x), ())

    def saturated(self, last: Any) -> jv.Model:
        """A layer whose values are large, and a last function of them."""
        return self.function(lambda x: last(jv.tag(nn.relu(x @ self.kernel), "logits")))

    def only(self, diagnosis: jv.Diagnosis, code: str) -> Any:
        """The only finding with a code."""
        found = [finding for finding in diagnosis.findings if finding.code == code]
        assert len(found) == 1, str(diagnosis)
        return found[0]


@pytest.fixture(scope="session")
def nets() -> Nets:
    return Nets()
