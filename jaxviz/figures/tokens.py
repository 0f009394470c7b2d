"""Sentences whose tokens are colored by their attribution, as a figure and as HTML."""

import html
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle

from jaxviz.figures import canvas, checks, palette
from jaxviz.figures.scale import PERCENTILE, Reduction, Sign
from jaxviz.figures.sentences import Piece, Pieces, color_of, colored, legend

SIZE, LINE = 10.5, 0.27  # of words: points; of lines: inches
SPACE, LETTER = 0.06, 0.02  # room around a piece, and around one that is a letter: inches
EDGE = 0.2  # of the sheet: inches


def token_text(
    tokens: Sequence[str] | Sequence[Sequence[str]],
    attributions: npt.ArrayLike | Sequence[npt.ArrayLike],
    *,
    titles: Sequence[str] | None = None,
    correct: Sequence[bool] | None = None,
    pieces: Pieces = "auto",
    sign: Sign = "all",
    percentile: float = PERCENTILE,
    limit: float | None = None,
    channels: Reduction = "sum",
    title: str | None = None,
) -> canvas.Figure:
    """Draws sentences with each token on the color of its attribution, all on one scale, lines wrapped.

    Args:
        tokens: the tokens of one sentence, or of several; at most 24.
        attributions: `(tokens,)`, one for each token, or `(tokens, size)`, at the embedding, whose last axis is reduced; for
            several sentences a sequence of these. Cut off the padding: `attribution[: len(tokens)]`.
        titles: one text for each sentence, such as `answers` makes, written above it (for one sentence: `title`).
        correct: whether each answer is right, shown by the color of a mark before the title.
        pieces: how tokens make words: "words" (each is one; punctuation closes up), "##" (WordPiece: "##ing" goes on), "▁"
            (SentencePiece: "▁new" begins a word), "Ġ" (byte-level BPE, likewise), "</w>" (ends a word), "characters" (no
            spaces), or "auto", by what the tokens look like. Pieces of a word stand without a gap, each in its own color.
        sign: "all", "positive", "negative" or "absolute"; see `normalize`.
        percentile: the share of the non-zero magnitudes of all tokens together, in %, within the colors' range; see `normalize`.
        limit: the magnitude at which the colors saturate, in place of the percentile: for one scale over several figures.
        channels: how the embedding's axis is taken together: "sum", "mean", "norm" or "largest"; see `reduce_channels`.
        title: a title of the whole figure.

    Returns:
        A matplotlib figure. `token_html` gives the same for a notebook or a page.

    Raises:
        ValueError: no token, more than 24 sentences, counts that differ, a bad shape, sign, percentile or limit.
        TypeError: tokens are not strings, or attributions not made of real numbers.

    Example:
        >>> figure = token_text(["not", "bad", "!"], [1.5, -0.5, 0.0], title="positive (0.81)")
        >>> [text.get_text() for text in figure.axes[0].texts[:4]]
        ['positive (0.81)', 'not', 'bad', '!']
    """
    where = "token_text"
    sentences, scale = colored(where, tokens, attributions, pieces, sign, percentile, limit, channels)
    names = checks.check_names(where, "titles", titles, len(sentences), "sentence")
    right = checks.check_correct(where, correct, len(sentences), "sentence")

    width = canvas.WIDTH
    placed: list[tuple[int, int | None, float, float, float]] = []
    y = 0.0
    for i, (written, _) in enumerate(sentences):
        if names is not None or right is not None:
            y += 0.34 if i else 0.2
            placed.append((i, None, 0.0, y, 0.0))
            y += 0.04
        elif i:
            y += 0.14
        spots = list(wrapped(written, width - 2 * EDGE))
        placed += [(i, k, x, y + LINE * (line + 1), w) for k, (line, x, w) in enumerate(spots)]
        y += LINE * (spots[-1][0] + 1)
    notes = scale.notes()
    text_notes = canvas.wrap(" ".join(notes), width, canvas.NOTE) if notes else ""
    below = 0.62 + (0.16 * (text_notes.count("\n") + 1) if notes else 0.0)
    heading = (
        "" if title is None else canvas.wrap(title, width * 0.88, canvas.TITLE, canvas.HEADING)
    )  # bold letters are wider
    above = 0.12 if title is None else 0.24 + 0.18 * (heading.count("\n") + 1)
    height = above + y + below
    figure = canvas.sheet(width, height, layout=None)
    axes = canvas.blank_panel(figure, width, height)
    top = height - above
    if title is not None:
        settings = {"weight": "bold", "ha": "left", "va": "top"}
        canvas.write(axes, EDGE, height - 0.16, heading, size=canvas.TITLE, **settings)
    for i, k, x, down, w in placed:
        if k is None:
            color = palette.INK if right is None else palette.RIGHT if right[i] else palette.WRONG
            mark = "" if right is None else "✓ " if right[i] else "✗ "
            canvas.write(
                axes,
                EDGE,
                top - down,
                mark + (names[i] if names else ""),
                size=canvas.LABEL,
                color=color,
                weight="bold",
                ha="left",
                va="bottom",
            )
            continue
        written, values = sentences[i]
        background = color_of(values[k], scale)
        axes.add_patch(
            Rectangle(
                (EDGE + x, top - down + 0.02), w, LINE - 0.04, facecolor=background, edgecolor="none", linewidth=0
            )
        )
        canvas.write(
            axes,
            EDGE + x + w / 2,
            top - down + 0.085,
            written[k].text,
            size=SIZE,
            color=palette.ink_on(background),
            va="baseline",
        )
    bar = figure.add_axes(((EDGE + 0.1) / width, (below - 0.27) / height, 2.6 / width, 0.11 / height))
    canvas.color_bar(
        figure,
        axes,
        map=scale.map,
        low=scale.low,
        high=scale.high,
        label="",
        clipped=scale.clipped > 0,
        ticks=[scale.low, scale.high] if scale.sign != "all" else [scale.low, 0.0, scale.high],
        inside=bar,
        horizontal=True,
    )
    canvas.write(axes, EDGE + 2.9, below - 0.215, legend(scale), size=canvas.TICK, color=palette.MUTED, ha="left")
    if notes:
        canvas.write(
            axes,
            EDGE,
            0.08,
            text_notes,
            size=canvas.NOTE,
            color=palette.MUTED,
            ha="left",
            va="bottom",
            linespacing=1.25,
        )
    return figure


class Html(str):
    """A piece of HTML: a string that shows itself in a notebook."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return str(self)


def token_html(
    tokens: Sequence[str] | Sequence[Sequence[str]],
    attributions: npt.ArrayLike | Sequence[npt.ArrayLike],
    *,
    titles: Sequence[str] | None = None,
    correct: Sequence[bool] | None = None,
    pieces: Pieces = "auto",
    sign: Sign = "all",
    percentile: float = PERCENTILE,
    limit: float | None = None,
    channels: Reduction = "sum",
    title: str | None = None,
) -> Html:
    """Writes sentences with each token on the color of its attribution, as HTML that shows itself in a notebook.

    The page that it is put on is free to choose its font; colors and sizes stand in it, without style sheets or scripts. What the
    tokens say is escaped. Pointing at a token tells its attribution.

    Args:
        tokens: as for `token_text`.
        attributions: as for `token_text`.
        titles: as for `token_text`.
        correct: as for `token_text`.
        pieces: as for `token_text`.
        sign: as for `token_text`.
        percentile: as for `token_text`.
        limit: as for `token_text`.
        channels: as for `token_text`.
        title: as for `token_text`.

    Returns:
        The HTML, a string: `pathlib.Path("why.html").write_text(found, encoding="utf-8")` keeps it.

    Raises:
        ValueError, TypeError: as for `token_text`.

    Example:
        >>> found = token_html(["<b>", "bad"], [1.5, -0.5])
        >>> "&lt;b&gt;" in found, "<b>" in found
        (True, False)
    """
    where = "token_html"
    sentences, scale = colored(where, tokens, attributions, pieces, sign, percentile, limit, channels)
    names = checks.check_names(where, "titles", titles, len(sentences), "sentence")
    right = checks.check_correct(where, correct, len(sentences), "sentence")

    box = f"background:{palette.PAPER};color:{palette.INK};padding:0.6em 0.8em;line-height:1.9;text-align:left"
    parts = [f'<div style="{box}">']
    if title is not None:
        parts.append(f'<div style="font-weight:bold">{html.escape(checks.clean(title))}</div>')
    for i, (written, values) in enumerate(sentences):
        if names is not None or right is not None:
            color = palette.INK if right is None else palette.RIGHT if right[i] else palette.WRONG
            mark = "" if right is None else "✓ " if right[i] else "✗ "
            text = html.escape(mark + (names[i] if names else ""))
            parts.append(f'<div style="font-weight:bold;color:{color}">{text}</div>')
        spans: list[str] = []
        for piece, value in zip(written, values, strict=True):
            background = color_of(value, scale)
            style = f"background:{_hex(background)};color:{palette.ink_on(background)};padding:0.15em 0.1em"
            gap = " " if piece.space else "<wbr>" if spans else ""
            spans.append(f'{gap}<span style="{style}" title="{canvas.short(value)}">{html.escape(piece.text)}</span>')
        parts.append(f'<div style="margin-bottom:0.6em">{"".join(spans)}</div>')
    stops = ", ".join(map(_hex, palette.table(scale.map)[::32]))
    strip = "display:inline-block;width:9em;height:0.8em;vertical-align:middle;margin:0 0.4em"
    strip = f"{strip};background:linear-gradient(to right, {stops})"
    ends = canvas.short(scale.low), canvas.short(scale.high)
    said = html.escape(" ".join([legend(scale) + ".", *scale.notes()]))
    bar = f'{ends[0]}<span style="{strip}"></span>{ends[1]}'
    parts.append(f'<div style="font-size:85%;color:{palette.MUTED}">{bar} &nbsp; {said}</div></div>')
    return Html("".join(parts))


def _hex(color: np.ndarray) -> str:
    return "#" + "".join(f"{round(255 * float(part)):02X}" for part in color)


def wrapped(pieces: Sequence[Piece], width: float) -> Iterator[tuple[int, float, float]]:
    """The line of each piece, and its left edge and width in inches. A word goes to the next line as a whole if it fits there."""
    renderer = FigureCanvasAgg(canvas.Figure(dpi=canvas.DPI)).get_renderer()
    font = FontProperties(size=SIZE, weight="normal")
    room = LETTER if all(len(piece.text) == 1 for piece in pieces) else SPACE
    measure = lambda text: renderer.get_text_width_height_descent(text, font, ismath=False)[0] / canvas.DPI
    widths = [measure(piece.text) + room for piece in pieces]
    starts = [i for i, piece in enumerate(pieces) if i == 0 or piece.space] + [len(pieces)]
    line, x = 0, 0.0
    for first, last in itertools.pairwise(starts):
        x += SPACE if x else 0.0
        if x and x + min(sum(widths[first:last]), width) > width:
            line, x = line + 1, 0.0
        for i in range(first, last):
            if x and x + widths[i] > width:  # a word longer than a line
                line, x = line + 1, 0.0
            yield line, x, widths[i]
            x += widths[i]
