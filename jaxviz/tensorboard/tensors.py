"""TensorBoard's tensors of numbers and strings as arrays.

TensorBoard's own function would import its substitute of TensorFlow, which takes longer than all the rest.
"""

import numpy as np
from tensorboard.compat.proto import types_pb2
from tensorboard.compat.proto.tensor_pb2 import TensorProto

_NUMBERS = {
    types_pb2.DT_FLOAT: ("<f4", "float_val"),
    types_pb2.DT_DOUBLE: ("<f8", "double_val"),
    types_pb2.DT_INT32: ("<i4", "int_val"),
    types_pb2.DT_INT64: ("<i8", "int64_val"),
    types_pb2.DT_UINT8: ("u1", "int_val"),
    types_pb2.DT_BOOL: ("?", "bool_val"),
}


def as_array(tensor: TensorProto) -> np.ndarray:
    """Returns the tensor's values in its shape: float32 of floats, objects (bytes) of strings."""
    shape = tuple(dim.size for dim in tensor.tensor_shape.dim)
    if tensor.dtype == types_pb2.DT_STRING:
        return np.array(list(tensor.string_val), object).reshape(shape)
    if tensor.dtype not in _NUMBERS:
        raise ValueError(f"read: tensors of type {types_pb2.DataType.Name(tensor.dtype)} are not read")
    dtype, listed = _NUMBERS[tensor.dtype]
    if tensor.tensor_content:
        array = np.frombuffer(tensor.tensor_content, dtype).reshape(shape)
    else:
        values = np.array(list(getattr(tensor, listed)), dtype)
        # One value fills the shape.
        array = np.full(shape, values[0], dtype) if values.size == 1 else values.reshape(shape)
    return array.astype(np.float32) if array.dtype == np.float64 else array
