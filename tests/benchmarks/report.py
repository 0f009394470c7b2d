"""The table of ratios: for the terminal, for the README of this folder, and as JSON."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from timing import rounded

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
COLUMNS = ("what", "jaxviz", "peer", "the peer's", "figure", "middle half", "must be", "met")
Record = Mapping[str, Any]


def cells(record: Record) -> tuple[str, ...]:
    """Returns one line of the table."""
    figure = record["figure"]
    pairs = record[figure]
    low, high = pairs.get("lower_quartile", pairs["min"]), pairs.get("upper_quartile", pairs["max"])
    show = SHOW[figure]
    sign = "≥" if figure == "speedup" else "≤"
    return (
        record["what"],
        _amount(record, "jaxviz"),
        record["peer"],
        _amount(record, "peer"),
        show(pairs["median"]),
        f"{show(low)} to {show(high)}",
        "" if record["bound"] is None else f"{sign} {show(record['bound'])}",
        {True: "yes", False: "NO", None: ""}[record["met"]],
    )


SHOW = {
    "speedup": lambda value: f"{rounded(value)} x",
    "overhead": lambda value: f"{100 * value:+.1f} %",
    "difference": lambda value: f"{1000 * value:+.0f} ms",
}


def show(console: Console, title: str, records: Sequence[Record]) -> None:
    """Prints the table of one section."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in ("what", "peer") else "right", overflow="fold")
    for record in records:
        style = "bold red" if record["met"] is False else None
        table.add_row(*cells(record), style=style)
    console.print(table)
    for note in dict.fromkeys(record["note"] for record in records if record["note"]):
        console.print(f"  {note}", highlight=False)


def markdown(results: Mapping[str, Any]) -> str:
    """Returns the whole report as a markdown table with what it was measured on."""
    machine, versions = results["machine"], results["versions"]
    lines = [
        f"{machine['time']}: {machine['processor']}, {machine['usable_cores']} cores, {machine['system']}, load average "
        f"{machine['load_average']} before and {results['load_average_after']} after; "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + (". **Quick run: rough figures.**" if results["quick"] else "."),
        "",
        "| " + " | ".join(("section", *COLUMNS)) + " |",
        "|" + "---|" * (len(COLUMNS) + 1),
    ]
    for section in results["sections"].values():
        lines += ["| " + " | ".join((record["section"], *cells(record))) + " |" for record in section["comparisons"]]
    return "\n".join(lines)


def update_readme(readme: Path, results: Mapping[str, Any]) -> None:
    """Puts the table between the marks of the README."""
    text = readme.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{readme} has no marks {BEGIN} and {END}")
    head, rest = text.split(BEGIN, 1)
    _, tail = rest.split(END, 1)
    write(readme, f"{head}{BEGIN}\n\n{markdown(results)}\n\n{END}{tail}")


def write_json(path: Path, results: Mapping[str, Any]) -> None:
    """Writes all figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, json.dumps(results, indent=1, allow_nan=False) + "\n")


def write(path: Path, text: str) -> None:
    """Writes a text as a whole or not at all."""
    half = path.with_name(path.name + ".part")
    half.write_text(text)
    os.replace(half, path)


def _amount(record: Record, side: str) -> str:
    seconds = record[f"{side}_seconds"]["median"]
    unit = record["seconds_are"]
    time = f"{rounded(seconds)} s" if seconds >= 1 else f"{rounded(1000 * seconds)} ms"
    text = time if unit == "per call" else f"{time} {unit}"
    if "rate_unit" in record:
        text = _rate(record[f"{side}_rate"], record["rate_unit"])
        text = f"{time}, {text}" if record["rate_unit"] == "FLOP/s" else text
    return text


def _rate(rate: float, unit: str) -> str:
    for size, prefix in ((1e9, "G"), (1e6, "M")):
        if unit == "FLOP/s" and rate >= size:
            return f"{rounded(rate / size)} {prefix}{unit}"
    return f"{rounded(rate)} {unit}"
