"""A small table as HTML: what scores, circuits and results show of themselves in a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence

ROWS = 10
"""Edges that such a table lists."""


def html_table(head: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A line of text over a table, everything escaped; columns that are all empty make no header."""
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    names = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    header = f"<thead><tr>{names}</tr></thead>" if any(columns) else ""
    return f"<p>{html.escape(head)}</p><table>{header}<tbody>{body}</tbody></table>"
