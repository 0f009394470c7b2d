"""Grids of images, with what the network answered."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from jaxviz.figures import canvas, checks, palette, panels
from jaxviz.figures.rgb import as_rgb, notes_of_images, to_bytes

LIMIT = 400


def answers(
    labels: npt.ArrayLike,
    predictions: npt.ArrayLike,
    *,
    probabilities: npt.ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
) -> tuple[list[str], list[bool]]:
    """Texts such as "7 → 1 (0.62)" (label, answer, its probability), and which answers are right.

    Args:
        labels: `(n,)` integer classes.
        predictions: `(n,)` integer classes.
        probabilities: of the answers, `(n,)`, in [0, 1]; left out of the texts where None.
        class_names: names for the classes 0, 1, ...

    Returns:
        n texts, and n booleans.

    Raises:
        ValueError: shapes differ, a class has no name, a probability is out of range.
        TypeError: labels or predictions are not integers.

    Example:
        >>> answers([7, 2], [1, 2], probabilities=[0.62, 0.99])
        (['7 → 1 (0.62)', '2 → 2 (0.99)'], [False, True])
    """
    truth, answer = (
        checks.as_integers("answers", "labels", labels),
        checks.as_integers("answers", "predictions", predictions),
    )
    if truth.shape != answer.shape:
        raise ValueError(f"answers: labels and predictions must have one shape, got {truth.shape} and {answer.shape}")
    top = int(max(truth.max(), answer.max()))
    names = [str(i) for i in range(top + 1)] if class_names is None else [str(name) for name in class_names]
    if top >= len(names):
        raise ValueError(f"answers: class_names has {len(names)} names, but there is a class {top}")
    texts = [f"{names[a]} → {names[b]}" for a, b in zip(truth, answer, strict=True)]
    if probabilities is not None:
        sure = checks.as_numbers("answers", "probabilities", probabilities)
        if sure.shape != truth.shape:
            raise ValueError(f"answers: probabilities must have shape {truth.shape}, one per answer, got {sure.shape}")
        if ((sure < 0) | (sure > 1 + 1e-6)).any():
            raise ValueError(f"answers: probabilities must be in [0, 1], got {sure.min():g} to {sure.max():g}")
        texts = [f"{text} ({value:.2f})" for text, value in zip(texts, sure, strict=True)]
    return texts, (truth == answer).tolist()


def image_grid(
    images: npt.ArrayLike | Sequence[npt.ArrayLike],
    *,
    titles: Sequence[str] | None = None,
    correct: Sequence[bool] | None = None,
    columns: int | None = None,
    title: str | None = None,
) -> canvas.Figure:
    """Draws images side by side, each with its title and a frame that tells right answers from wrong ones.

    Right answers have a thin blue frame, wrong ones a thick orange frame: told apart by width, too.

    Args:
        images: a batch `(n, H, W)`, `(n, H, W, 1)`, `(n, H, W, 3)`, `(n, H, W, 4)`, or a sequence of single
            images of any sizes; at most 400. uint8, or floats in [0, 1]; floats beyond are stretched image by image, and a note
            says so.
        titles: one text each, such as `answers` makes.
        correct: whether each answer is right; no colored frames where None.
        columns: how many images in a row; by default at most 8.
        title: a title of the whole figure.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: no image or more than 400, a bad shape, counts that differ.
        TypeError: images are not made of real numbers.

    Example:
        >>> titles, correct = answers([0, 1], [0, 0])
        >>> figure = image_grid([[[0.0, 1.0]], [[1.0, 0.0]]], titles=titles, correct=correct)
        >>> [axes.get_title() for axes in figure.axes]
        ['0 → 0', '1 → 0']
    """
    where = "image_grid"
    given = panels.items(where, "images", images)
    if not 1 <= len(given) <= LIMIT:
        raise ValueError(f"{where}: images must hold 1 to {LIMIT} images, got {len(given)}")
    pictures = [as_rgb(where, item, f"images[{i}]") for i, item in enumerate(given)]
    said = notes_of_images(pictures)
    names = checks.check_names(where, "titles", titles, len(given), "image")
    right = checks.check_correct(where, correct, len(given), "image")
    columns = None if columns is None else checks.check_count(where, "columns", columns)

    rows, columns = canvas.grid_shape(len(given), columns, 8 if len(given) <= 64 else 20)
    side = min(1.6, canvas.WIDTH / columns)
    size = canvas.TICK if side > 0.7 else canvas.TICK * max(side / 0.7, 0.5)
    texts = None if names is None else [canvas.wrap(name, side, size) for name in names]
    lines = 0 if texts is None else max(text.count("\n") + 1 for text in texts)
    ratio = min(max(float(np.median([picture.shape[0] / picture.shape[1] for picture, _ in pictures])), 0.2), 3.0)
    height = (
        rows * (side * ratio * 0.94 + lines * size * 1.25 / 72 + 0.06)
        + (0.45 if title else 0.1)
        + (0.25 if said or right else 0)
    )
    figure = canvas.sheet(max(side * columns, 2.4), height, title=title, layout="compressed")
    if side < 0.7:
        canvas.space(figure, w_pad=0.015, h_pad=0.015)
    for i, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        if i >= len(given):
            axes.set_axis_off()
            continue
        axes.imshow(to_bytes(pictures[i][0]), interpolation="nearest", origin="upper", aspect="equal")
        color, width = (
            (palette.FAINT, 0.8) if right is None else ((palette.RIGHT, 1.2) if right[i] else (palette.WRONG, 3.5))
        )
        canvas.picture_panel(axes, title=None if texts is None else texts[i], size=size, color=color, width=width)
    if right is not None:
        said.append(f"{sum(right)} of {len(right)} right (thin blue frame); wrong: thick orange frame.")
    canvas.add_notes(figure, said)
    return figure
