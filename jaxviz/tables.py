"""Tables of text, as plain text and as HTML."""

import html
import io
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

Row = Sequence[str]


def as_text(columns: Row, rows: Iterable[Row], *, left: int = 1) -> list[str]:
    """The lines of a table: columns as wide as their widest cell, the first `left` of them aligned left, the others right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    text = io.StringIO()
    # As wide as any table: rich would fold what is wider than its console.
    Console(file=text, width=10_000, color_system=None, highlight=False, markup=False).print(table)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def as_html(columns: Row, rows: Iterable[Row], *, left: int = 1) -> str:
    """The same table for a notebook."""

    def line(tag: str, cells: Row) -> str:
        styled = (
            f'<{tag} style="text-align:{"left" if index < left else "right"};padding:2px 12px;white-space:pre">'
            f"{html.escape(cell)}</{tag}>"
            for index, cell in enumerate(cells)
        )
        return f"<tr>{''.join(styled)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f"<table><thead>{line('th', columns)}</thead><tbody>{body}</tbody></table>"
