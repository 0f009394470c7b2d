"""Handwritten digits, in the package: no download."""

from importlib import resources

import numpy as np

Split = tuple[np.ndarray, np.ndarray]

_HELD_OUT = 2000


def mnist() -> tuple[Split, Split]:
    """Returns 10,000 digits of MNIST: 8,000 to train on and 2,000 held out.

    The data are under CC BY-SA 3.0, see MNIST_NOTICE.md beside this file.

    Returns:
        `(images, labels), (held-out images, held-out labels)`: images float32 `(n, 28, 28, 1)` in [0, 1], white on black;
        labels int32 `(n,)`, the digit.

    Example:
        >>> (images, labels), (test_images, test_labels) = mnist()
        >>> images.shape, test_labels.shape
        ((8000, 28, 28, 1), (2000,))

    References:
        Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document recognition. Proceedings of
        the IEEE 86(11), 1998.
    """
    with resources.files("jaxviz.data").joinpath("mnist10k.npz").open("rb") as file, np.load(file) as arrays:
        images = arrays["x"][..., None].astype(np.float32) / np.float32(255)
        labels = arrays["y"].astype(np.int32)
    return (images[:-_HELD_OUT], labels[:-_HELD_OUT]), (images[-_HELD_OUT:], labels[-_HELD_OUT:])
