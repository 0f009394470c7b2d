"""The files of figures beside the scripts that make them."""

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent


def write(name, arrays):
    """Writes arrays into a file of this folder, and tells what is in it."""
    path = FOLDER / name
    np.savez_compressed(path, **arrays)
    for key, value in arrays.items():
        print(key, value.shape, value.dtype)
    print(f"{path}: {len(arrays)} arrays, {path.stat().st_size / 1024:.0f} KiB")
