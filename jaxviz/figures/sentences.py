"""Sentences as pieces of words with a value each: what is drawn by `token_text` and written by `token_html`."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from jaxviz.figures import checks, palette
from jaxviz.figures.scale import REDUCTIONS, Scale, reduce_channels, shared_scale, signed_part

Pieces: TypeAlias = Literal["auto", "words", "##", "▁", "Ġ", "</w>", "characters"]
PIECES = ("auto", "words", "##", "▁", "Ġ", "</w>", "characters")
MOST_SENTENCES = 24

# What stands close to the word before it, and what to the word after it, where tokens are words.
CLOSING = frozenset(".,;:!?)]}%…»”’") | {"n't", "'s", "'re", "'ve", "'ll", "'d", "'m", "...", "''"}
OPENING = frozenset("([{«“‘$#") | {"``"}
SPECIAL = {"\n": "↵", "\t": "⇥", "Ċ": "↵"}


@dataclasses.dataclass(frozen=True)
class Piece:
    """A token as it is written: its text, and whether a space stands before it."""

    text: str
    space: bool


def colored(
    where: str,
    tokens: Any,
    attributions: Any,
    pieces: str,
    sign: str,
    percentile: float,
    limit: float | None,
    channels: Any,
) -> tuple[list[tuple[list[Piece], np.ndarray]], Scale]:
    """Each sentence's pieces and values (of the chosen sign), and the scale that all share; `where` is the caller's name."""
    checks.check_choice(where, "pieces", pieces, PIECES)
    checks.check_choice(where, "channels", channels, REDUCTIONS)
    if isinstance(tokens, str):
        raise TypeError(f"{where}: tokens must be a sequence of strings, got the string {tokens!r}; tokens.split()?")
    given = list(tokens)
    one = not given or not isinstance(given[0], list | tuple | np.ndarray)
    sentences, values = (
        ([given], [attributions]) if one else ([list(sentence) for sentence in given], list(attributions))
    )
    if not 1 <= len(sentences) <= MOST_SENTENCES or len(values) != len(sentences):
        raise ValueError(
            f"{where}: tokens and attributions must hold as many sentences, 1 to {MOST_SENTENCES}, "
            f"got {len(sentences)} and {len(values)}"
        )
    rows = []
    for i, (sentence, value) in enumerate(zip(sentences, values, strict=True)):
        at = "" if one else f"[{i}]"
        wrong = [token for token in sentence if not isinstance(token, str)]
        if wrong:
            raise TypeError(f"{where}: tokens{at} must be strings, got {wrong[0]!r}; decode the token ids first")
        row = checks.as_numbers(where, f"attributions{at}", value)
        if row.ndim == 2 and row.size:
            row = reduce_channels(row[:, None, :], channels)[:, 0]
        if row.shape != (len(sentence),) or not sentence:
            hint = (
                f"; cut off the padding: attribution[:{len(sentence)}]"
                if row.ndim == 1 and len(row) > len(sentence)
                else ""
            )
            raise ValueError(
                f"{where}: attributions{at} must have shape (tokens,) or (tokens, size) for {len(sentence)} tokens, at least 1, "
                f"got {np.shape(value)}{hint}"
            )
        rows.append(row)
    scale = shared_scale(where, rows, sign=sign, percentile=percentile, limit=limit)
    kinds = [kind_of(sentence) if pieces == "auto" else pieces for sentence in sentences]
    written = [list(spelled(sentence, kind)) for sentence, kind in zip(sentences, kinds, strict=True)]
    return list(zip(written, [signed_part(row, sign) for row in rows], strict=True)), scale


def kind_of(tokens: Sequence[str]) -> str:
    """How the tokens mark the borders of words, by what they look like."""
    for mark in ("##", "▁", "Ġ"):
        if any(token.startswith(mark) and token != mark for token in tokens):
            return mark
    return "</w>" if any(token.endswith("</w>") for token in tokens) else "words"


def spelled(tokens: Sequence[str], kind: str) -> Iterator[Piece]:
    """The tokens as they are written, without the marks of their kind."""
    before = ""
    for i, token in enumerate(tokens):
        text, space = token, i > 0
        if kind == "##":
            space = space and not token.startswith("##")
            text = token.removeprefix("##") if i else token
        elif kind in ("▁", "Ġ"):
            space = space and token.startswith(kind)
            text = token.removeprefix(kind)
        elif kind == "</w>":
            space = space and before.endswith("</w>")
            text = token.removesuffix("</w>")
        elif kind == "characters":
            space = False
        if kind in ("words", "##"):
            space = space and token not in CLOSING and before not in OPENING
        text = checks.clean(text)
        text = "".join(SPECIAL.get(letter, letter) for letter in text)
        yield Piece(text if text.strip() else "␣", space)
        before = token


def color_of(value: float, scale: Scale) -> np.ndarray:
    """The background of a token, `(3,)` in [0, 1]."""
    return palette.paint(scale.unit(np.asarray(value, float)), scale.map)


def legend(scale: Scale) -> str:
    """What the colors mean, in words."""
    words = {
        "all": "orange raises the score, blue lowers it",
        "positive": "what raises the score",
        "negative": "what lowers the score",
        "absolute": "magnitude of the attribution",
    }
    return f"attribution: {words[scale.sign]}" if scale.sign != "absolute" else words["absolute"]
