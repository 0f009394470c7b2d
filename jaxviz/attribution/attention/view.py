"""A model whose attention weights are layers."""

from dataclasses import replace
from typing import Any

import jax

from jaxviz import views
from jaxviz.adapters import Adapter
from jaxviz.attribution.attention.products import attentions
from jaxviz.model import Model, check_model
from jaxviz.program import paths
from jaxviz.program.flow import Flow
from jaxviz.program.tagging import tagged

NAME = "attention_weights"


def tag_attention(model: Model) -> Model:
    """The model whose attention weights are layers: to capture, replace, explain by, as any other layer.

    Weights of attention are a softmax over the axis that a product then contracts with values, whoever wrote them:
    `nn.MultiHeadDotProductAttention`, `nnx.MultiHeadAttention`, `jax.nn.dot_product_attention` or a function of one's own, also
    under `nn.remat` and `nn.scan`. They get the path `<path of the module>/attention_weights` (outside of all modules
    `attention_weights`), the k-th further ones of a module `#k` behind it. What is tagged by `jaxviz.tag` already keeps its name.

    Args:
        model: the model.

    Returns:
        The model, equal to the one given in all but these layers. Their values are as the program has them, before the product:
        of shape `(batch, heads, queries, keys)` in Linen, `(1, batch, heads, queries, keys)` in NNX. `attention_maps` brings them
        into one form.

    Raises:
        TypeError: if model is not a `Model`.

    Example:
        >>> import jax, jax.numpy as jnp, flax.linen as nn, jaxviz as jv
        >>> module = nn.Sequential([nn.MultiHeadDotProductAttention(num_heads=2), lambda x: x.mean((1, 2))])
        >>> inputs = jax.random.normal(jax.random.key(0), (1, 3, 4))
        >>> model = tag_attention(jv.Model.from_linen(module, module.init(jax.random.key(1), inputs)))
        >>> model.capture(inputs, "**/attention_weights")["layers_0/attention_weights"].shape
        (1, 2, 3, 3)
        >>> without = model.replace({"layers_0/attention_weights": jnp.array([[[[0.0]], [[1.0]]]])})  # weights of the heads
        >>> without(inputs).shape
        (1,)
        >>> jv.at_layer(jv.input_x_gradient, "layers_0/attention_weights")(model, inputs).shape  # of each head
        (1, 2, 3, 3)

    Note:
        Not found are weights that no softmax makes, a softmax that is taken after the product with values, and what a fused
        kernel (`jax.nn.dot_product_attention(implementation="cudnn")`) keeps for itself. A function with a derivative of its own
        (`jax.custom_vjp`) in whose inside weights stand is differentiated as what it computes.
    """
    check_model("tag_attention", model)
    return model if isinstance(model.apply, Tagged) else replace(model, apply=Tagged(model.apply))


class Tagged(Adapter):
    """A model whose attention weights are layers. Part: the model's adapter."""

    def __call__(self, params: Any, keywords: dict[str, Any], inputs: Any, *, marked: bool = False) -> Any:
        """The outputs of the model."""
        (base,) = self.parts
        if not marked:
            return base(params, keywords, inputs)
        program = views.program(Model(base, params, keywords), inputs)
        found = [attention for attention in attentions(Flow(program)) if attention.key is None]
        tags = {attention.place: paths.join(attention.layer, NAME) for attention in found}
        return tagged(program, jax.tree.leaves((params, keywords, inputs)), tags)

    def parameters(self, params: Any) -> dict[str, Any]:
        """The parameters of the model by path."""
        return self.parts[0].parameters(params)
