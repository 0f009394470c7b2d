"""Expected gradients: integrated gradients in the mean over a set of baselines, by sampling."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxviz import chunks
from jaxviz.attribution import stretches
from jaxviz.attribution.arguments import check_count, check_key, prepare
from jaxviz.attribution.baselines import baseline_set
from jaxviz.attribution.caution import cautious
from jaxviz.attribution.paths import bundle
from jaxviz.checks import check_flag, check_number
from jaxviz.compilation import jit
from jaxviz.model import Model
from jaxviz.targets import Target, TargetLike, select


@cautious
def expected_gradients(
    model: Model,
    inputs: Any,
    *,
    baselines: Any,
    target: TargetLike = None,
    samples: int = 50,
    noise: float | tuple[float, ...] = 0.0,
    multiply_by_inputs: bool = True,
    key: jax.Array | None = None,
    chunk_size: int | None = None,
    progress: bool = False,
) -> Any:
    """Expected gradients (GradientSHAP): integrated gradients in the mean over a set of baselines.

    `attribution = mean_s (x_s - b_s) * gradient(b_s + u_s * (x_s - b_s))`, with `b_s` drawn evenly from the baselines, `u_s`
    evenly from [0, 1), and `x_s` the inputs with noise, for each sample and example on its own

    An approximation of SHAP values. In the mean over samples, the attributions of an example sum to
    `score(inputs) - mean_k score(baselines[k])`.

    Args:
        model: the model.
        inputs: as for `gradient`.
        baselines: the set, an array `(k, *inputs.shape[1:])`, from the training data for instance; a tuple of these for several
            inputs, of which each sample takes those of one index.
        target: as for `gradient`.
        samples: number of points per example, at least 1. Each costs one gradient; the error falls with its square root. Without
            noise, the model's first affine stretch is computed once for each baseline, if the values at its end have a batch
            axis and the baselines (batches of them without multiply_by_inputs) are fewer than samples, and no more than a
            chunk's samples.
        noise: standard deviation of normal noise on the inputs, in their units, at least 0; a tuple has one for each of several
            inputs.
        multiply_by_inputs: False leaves out the factor: the mean gradient.
        key: a `jax.random.key`; the same key gives the same bits, whatever chunk_size.
        chunk_size: most model evaluations (samples x examples) in flight, at least one sample; memory grows with it, and not
            with samples. None chooses by the size of the inputs.
        progress: draw a progress bar.

    Returns:
        The attribution, of the structure, shapes and dtypes of inputs.

    Raises:
        TypeError, ValueError: as for `gradient`, and if baselines do not have the shape of one example behind their axis 0, key
            is missing, or samples, noise or chunk_size is out of its range.

    Example:
        >>> import jax, jax.numpy as jnp, jaxviz as jv
        >>> model = jv.Model.from_function(lambda params, inputs: inputs @ params, jnp.array([2.0, -1.0]))
        >>> baselines = jnp.array([[0.0, 0.0], [2.0, 2.0]])
        >>> expected_gradients(model, jnp.array([[1.0, 3.0]]), baselines=baselines, samples=1, key=jax.random.key(0)).shape
        (1, 2)

    Note:
        As Captum's `GradientShap`, whose default is 5 samples, with `noise` for its `stdevs`, and SHAP's `GradientExplainer`,
        with `noise` for its `local_smoothing`. Its `ranked_outputs` are targets, `jnp.argsort(model(inputs))[:, -1]` the largest
        output's. Its `return_variances` are `smooth(expected_gradients, samples=n, noise=0, reduce="variance")` of one sample
        each, divided by the square root of n.

    References:
        G. Erion, J. D. Janizek, P. Sturmfels, S. M. Lundberg, S.-I. Lee. Improving performance of deep learning models with
        axiomatic attribution priors and expected gradients. Nature Machine Intelligence 3, 2021. arXiv:1906.10670.
        S. M. Lundberg, S.-I. Lee. A Unified Approach to Interpreting Model Predictions. NeurIPS 2017. arXiv:1705.07874.
    """
    name = "expected_gradients"
    inputs, prepared = prepare(name, model, inputs, target)
    baselines = jax.tree.map(jnp.asarray, baseline_set(name, baselines, inputs))
    check_count(name, "samples", samples)
    key = check_key(name, key)
    multiplied = check_flag(name, "multiply_by_inputs", multiply_by_inputs)
    chunks.check_chunk_size(name, chunk_size)
    leaves = jax.tree.leaves(inputs)
    levels = _levels(name, noise, len(leaves))
    sizes = chunks.sizes(
        samples, leaves[0].shape[0], chunk_size, values=sum(leaf.size // leaf.shape[0] for leaf in leaves)
    )
    numbers = np.arange(samples, dtype=np.uint32)
    how: dict[str, Any] = {"progress": progress, "label": "expected gradients"}
    # With noise, each sample has a path of its own.
    axes = None if any(levels) else _axes(model, inputs, baselines, sizes, multiplied)
    if axes is not None:
        paths = bundle.ends(model, inputs, baselines, axes)

        def along(total: list[jax.Array], numbers: np.ndarray) -> list[jax.Array]:
            chosen, places = _draws(numbers, key, inputs, baselines)
            return bundle.add(total, chosen, bundle.gradients(chosen, places, model, inputs, paths, prepared, axes))

        count = len(paths.starts[0]) if multiplied else 1
        zeros = [jnp.zeros((count, *leaf.shape), leaf.dtype) for leaf in paths.ends]
        total = chunks.fold(along, zeros, numbers, sizes, **how)
        return _mean(bundle.at_inputs(model, inputs, baselines, total, axes, multiplied), samples)

    def step(total: Any, numbers: np.ndarray) -> Any:
        return _add(total, _shares(numbers, model, inputs, baselines, levels, key, prepared, multiplied))

    return _mean(chunks.fold(step, jax.tree.map(jnp.zeros_like, inputs), numbers, sizes, **how), samples)


def _levels(function: str, noise: Any, count: int) -> list[np.ndarray]:
    """The noise of each input."""
    if not isinstance(noise, tuple | list):
        return [np.asarray(check_number(function, "noise", noise, 0), np.float32)] * count
    if len(noise) != count:
        raise ValueError(f"{function}: there are {count} inputs, but noise has {len(noise)} entries")
    return [np.asarray(check_number(function, f"noise[{i}]", level, 0), np.float32) for i, level in enumerate(noise)]


def _mean(total: Any, samples: int) -> Any:
    return jax.tree.map(lambda leaf: leaf / samples, total)


def _axes(model: Model, inputs: Any, baselines: Any, sizes: tuple[int, ...], multiply_by_inputs: bool) -> Any:
    """How to follow the paths from the first affine stretch's end on; None where that costs more, in time or in memory."""
    batch, count = (jax.tree.leaves(tree)[0].shape[0] for tree in (inputs, baselines))
    if multiply_by_inputs:
        # Each path has a sum of gradients of its own, which goes through the stretch; no more of them than are in flight.
        pays = count < sum(sizes) and count <= sizes[0]
    else:
        pays = -(-count // batch) < sum(sizes) and count <= sizes[0] * batch
    return stretches.batch_axes(model, inputs) if pays else None


def draw(key: jax.Array, number: Any, batch: int, count: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What one sample draws: each example's baseline, `(batch,)`, its place on the path, `(batch,)`, and a key for noise."""
    chosen, place, noise = jax.random.split(jax.random.fold_in(key, number), 3)
    return jax.random.randint(chosen, (batch,), 0, count), jax.random.uniform(place, (batch,)), noise


@jit
def _draws(numbers: jax.Array, key: jax.Array, inputs: Any, baselines: Any) -> tuple[jax.Array, jax.Array]:
    """Baselines and places of some samples, `(samples, batch)` both."""
    batch, count = (jax.tree.leaves(tree)[0].shape[0] for tree in (inputs, baselines))
    return jax.vmap(lambda number: draw(key, number, batch, count)[:2])(numbers)


@jit(static_argnames="multiply_by_inputs")
def _shares(
    numbers: jax.Array,
    model: Model,
    inputs: Any,
    baselines: Any,
    noise: list[jax.Array],
    key: jax.Array,
    target: Target,
    multiply_by_inputs: bool,
) -> Any:
    """What each sample adds, `(samples, *shape)`."""
    leaves, structure = jax.tree.flatten(inputs)
    sets = jax.tree.leaves(baselines)

    def one(number: jax.Array) -> Any:
        chosen, place, noise_key = draw(key, number, leaves[0].shape[0], len(sets[0]))
        keys = jax.random.split(noise_key, len(leaves))
        ends = [
            leaf + level.astype(leaf.dtype) * jax.random.normal(one_key, leaf.shape, leaf.dtype)
            for leaf, level, one_key in zip(leaves, noise, keys, strict=True)
        ]
        starts = [points[chosen] for points in sets]
        ways = [end - start for end, start in zip(ends, starts, strict=True)]
        places = [place.astype(way.dtype).reshape(-1, *[1] * (way.ndim - 1)) for way in ways]
        points = [start + at * way for start, at, way in zip(starts, places, ways, strict=True)]
        gradients = jax.grad(lambda points: select(model(jax.tree.unflatten(structure, points)), target).sum())(points)
        if multiply_by_inputs:
            gradients = [way * leaf for way, leaf in zip(ways, gradients, strict=True)]
        return jax.tree.unflatten(structure, gradients)

    return jax.vmap(one)(numbers)


# A program of its own: within the other one, XLA was up to 80 times slower at it on CPU (jax 0.10).
@jit(donate_argnums=0)
def _add(total: Any, shares: Any) -> Any:
    return jax.tree.map(lambda sum_, leaf: sum_ + leaf.sum(axis=0), total, shares)
