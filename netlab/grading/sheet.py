"""A small table for a learner to read: counters, evidence, progress."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class Sheet:
    """Rows of text under a heading. The first column names the row; it shows itself as HTML and as text.

    Text stands at the left, numbers at the right (JupyterLab by itself puts all to the right).
    """

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[object, ...]]

    def __str__(self) -> str:
        lines = [self.columns, *([str(cell) for cell in row] for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.columns))]
        padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
        return "\n".join([self.caption, *("  " + line.rstrip() for line in padded)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        numbers = [all(isinstance(row[column], int) for row in self.rows) for column in range(len(self.columns))]
        styles = [f'style="text-align:{"right" if number else "left"}"' for number in numbers]
        head = "".join(
            f'<th scope="col" {style}>{escape(column)}</th>' for column, style in zip(self.columns, styles, strict=True)
        )
        body = "".join(
            f'<tr><th scope="row" {styles[0]}>{escape(str(row[0]))}</th>'
            + "".join(f"<td {style}>{escape(str(cell))}</td>" for cell, style in zip(row[1:], styles[1:], strict=True))
            + "</tr>"
            for row in self.rows
        )
        caption = f'<caption style="text-align:left">{escape(self.caption)}</caption>'
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
