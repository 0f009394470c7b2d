"""What a diagnosis finds, in words and numbers."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_WIDTH = 110
_LISTED = 6  # examples that are told by number


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        code: what it is, a name that stays the same: `"softmax_saturated"`, for instance; see `diagnose`.
        examples: the indices of the examples that it was found in.
        measured: what was measured, by name. A tuple has one entry for each of these examples.
        meaning: what it means, with the numbers, in words.
        advice: what to do.
    """

    code: str
    examples: tuple[int, ...]
    measured: dict[str, Any]
    meaning: str
    advice: str


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found. It is true if it found something, and prints as text.

    Attributes:
        findings: what was found, causes before what they cause.
        batch: how many examples were looked at.
        seen: what was looked at.
        unseen: what was not looked at, and why.
    """

    findings: tuple[Finding, ...]
    batch: int
    seen: tuple[str, ...]
    unseen: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the findings, in order, each once."""
        return tuple(dict.fromkeys(finding.code for finding in self.findings))

    def __bool__(self) -> bool:
        return bool(self.findings)

    def __str__(self) -> str:
        count = len(self.findings)
        paragraphs = [
            f"{count if count else 'No'} finding{'' if count == 1 else 's'} in {self.batch} "
            f"example{'' if self.batch == 1 else 's'}."
        ]
        for number, finding in enumerate(self.findings, 1):
            head = f"{number}. {finding.code}: {told(finding.examples, self.batch)}"
            paragraphs.append("\n".join([head, _filled(finding.meaning, "   "), _filled(finding.advice, "   → ")]))
        looked = [f"Looked at: {', '.join(self.seen)}."]
        if self.unseen:
            looked.append(f"Not looked at: {'; '.join(self.unseen)}.")
        return "\n\n".join([*paragraphs, "\n".join(_filled(line, "") for line in looked)])

    __repr__ = __str__


def _filled(text: str, first: str) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )


def told(examples: Sequence[int], batch: int) -> str:
    """Some of the examples of a batch, in words."""
    if len(examples) == batch:
        return "the only example" if batch == 1 else "every example"
    if len(examples) == 1:
        return f"example {examples[0]}"
    if len(examples) <= _LISTED:
        return f"examples {', '.join(map(str, examples[:-1]))} and {examples[-1]}"
    return f"examples {', '.join(map(str, examples[:_LISTED]))} and {len(examples) - _LISTED} more"
