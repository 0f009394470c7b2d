"""What is before a layer, as a function of the inputs, and the gradient of what is behind it."""

from dataclasses import dataclass
from typing import Any

import jax

from jaxviz.attribution.cuts import cut
from jaxviz.model import Model
from jaxviz.targets import Target, select


@dataclass(frozen=True)
class Head:
    """The part of a model before a layer, to call as `head(model, inputs)`: static in programs, as equal ones are one."""

    function: str  # the public function's name, for error messages
    layer: str
    side: str

    def __call__(self, model: Model, inputs: Any) -> tuple[Any, Any]:
        """What the rest needs beside the layer's activation, and the activation."""
        # Not the compiled function: it has computed convolutions in other ways, which are not known to be affine.
        found = cut.__wrapped__(model, inputs, function=self.function, layers=(self.layer,), side=self.side)
        return found.tail.params, found.activation

    def shapes(self, model: Model, inputs: Any) -> Any:
        """The model cut at the layer, with shapes in place of values."""
        return cut.eval_shape(model, inputs, function=self.function, layers=(self.layer,), side=self.side)

    def slope(self, model: Model, inputs: Any, params: Any, activation: Any, target: Target) -> Any:
        """The gradient of the score with respect to the activation."""
        tail = self.shapes(model, inputs).tail.with_params(params)
        return jax.grad(lambda activation: select(tail(activation), target).sum())(activation)
