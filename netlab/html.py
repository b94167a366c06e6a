"""Tables for notebooks, in which objects of all rooms show themselves."""

from collections.abc import Iterable, Sequence
from html import escape


class Code(str):
    """A cell's text, to be shown as code."""

    __slots__ = ()


def html_table(
    rows: Iterable[Sequence[object]], head: Sequence[str] = (), caption: str = "", *, named: bool = False
) -> str:
    """Rows of cells as HTML. Numbers stand to the right, text to the left, where JupyterLab would not put it.

    Args:
        rows: the cells: whole numbers, `Code`, or what its text says, which is no HTML.
        head: the columns' names.
        caption: the table's, as text or `Code`; empty: it has none.
        named: the first cell of each row is the row's name.
    """
    body = list(rows)
    numbers = [isinstance(cell, int) for cell in body[0]] if body else []
    heads = (
        f'<th scope="col" {_side(number)}>{escape(name)}</th>'
        for name, number in zip(head, numbers or [False] * len(head), strict=True)
    )
    lines = (
        "".join(
            f'<th scope="row" {_side(isinstance(cell, int))}>{_shown(cell)}</th>'
            if named and not at
            else f"<td {_side(isinstance(cell, int))}>{_shown(cell)}</td>"
            for at, cell in enumerate(row)
        )
        for row in body
    )
    return (
        "<table>"
        + (f"<caption {_side(False)}>{_shown(caption)}</caption>" if caption else "")
        + (f"<thead><tr>{''.join(heads)}</tr></thead>" if head else "")
        + f"<tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table>"
    )


def _side(number: bool) -> str:
    return f'style="text-align:{"right" if number else "left"}"'


def _shown(cell: object) -> str:
    text = escape(str(cell))
    return f"<code>{text}</code>" if isinstance(cell, Code) else text
