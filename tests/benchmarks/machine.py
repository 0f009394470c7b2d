"""What the figures were measured on."""

import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp


def describe() -> dict[str, Any]:
    """Returns processor, cores, memory, system, devices, load, and the rate of a matrix product as the machine's own measure."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "devices": [device.device_kind for device in jax.devices()],
        "load_average": load(),
        "matrix_product_flops": matrix_product_flops(),
        "time": time.strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def versions() -> dict[str, str]:
    """Returns the versions of jaxviz and of what it runs on."""
    packages = ("jaxviz", "jax", "jaxlib", "flax", "optax", "numpy", "tensorboard")
    return {"python": sys.version.split()[0], **{package: version(package) for package in packages}}


def load() -> list[float] | None:
    """Returns the system's load averages; above the number of cores the times, though hardly the ratios, are too long."""
    return [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None


def matrix_product_flops(size: int = 1536, repeats: int = 5) -> float:
    """Returns the FLOP/s of the fastest of some float32 matrix products."""
    a = jnp.ones((size, size))
    product = jax.jit(jnp.matmul)
    product(a, a).block_until_ready()
    fastest = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        product(a, a).block_until_ready()
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * size**3 / fastest


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
