"""A small table for a learner to read: counters, evidence, progress."""

from collections.abc import Sequence
from dataclasses import dataclass

from netlab.html import html_table


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
        return html_table(self.rows, self.columns, self.caption, named=True)
