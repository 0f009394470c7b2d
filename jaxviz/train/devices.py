"""Several devices: the batch is split over them, everything else is the same on each."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxviz.checks import given


class Placement:
    """Puts arrays on one device, JAX's default, or on several.

    Args:
        devices: the devices of a data-parallel run; None for the default device.
    """

    def __init__(self, devices: Sequence[jax.Device] | None) -> None:
        if devices is not None:
            if not isinstance(devices, Sequence | np.ndarray) or not all(
                isinstance(one, jax.Device) for one in devices
            ):
                raise TypeError(
                    f"fit: devices must be a list of devices, such as jax.devices()[:2], or None, got {given(devices)}"
                )
            if not len(devices):
                raise ValueError("fit: devices must have at least one device, got none")
        self.mesh = None if devices is None else Mesh(np.asarray(devices), ("batch",))

    def replicated(self, tree: Any) -> Any:
        """The same on each device."""
        if self.mesh is None:
            return jax.tree.map(jax.numpy.asarray, tree)
        return jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec()))

    def split(self, tree: Any, axis: int = 0) -> Any:
        """The axis split over the devices; what cannot be split evenly, such as a small last batch, is the same on each."""
        return jax.tree.map(lambda leaf: self._split(leaf, axis), tree)

    def _split(self, leaf: Any, axis: int) -> Any:
        if self.mesh is None:
            return leaf
        even = leaf.shape[axis] % self.mesh.size == 0
        spec = PartitionSpec(*[None] * axis, "batch") if even else PartitionSpec()
        return jax.device_put(leaf, NamedSharding(self.mesh, spec))
