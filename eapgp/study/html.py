"""One HTML file with plotly figures, readable offline: plotly's code is inside, the network is forbidden."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import plotly.graph_objects as go

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"

_STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 28px clamp(14px, 3vw, 40px) 60px; color: #1a1c23; background: #fff;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 8px; } h2 { font-size: 1.25rem; margin: 40px 0 10px; }
p { max-width: 75ch; } .muted { color: #5b6170; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.93rem; }
th { text-align: left; border-bottom: 2px solid #c9cedb; } td { border-bottom: 1px solid #e4e7ee; }
th, td { padding: 5px 18px 5px 0; vertical-align: top; } td.n, th.n { text-align: right; }
.reproduced { color: #00694f; font-weight: 600; } .higher { color: #0b5cab; font-weight: 600; }
.lower { color: #a33b00; font-weight: 600; } .not-run { color: #5b6170; } .failed { color: #a3001b; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 0.92em; }
figure { margin: 14px 0 26px; } figcaption { color: #5b6170; font-size: 0.93rem; }
"""


def page(title: str, parts: Sequence[str], *, figures: bool) -> str:
    """A whole document. parts: HTML made by the functions below, in order."""
    from plotly.offline import get_plotlyjs

    code = f"<script>{get_plotlyjs()}</script>" if figures else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>{code}</head><body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def heading(text: str, level: int = 2) -> str:
    """A heading."""
    return f"<h{level}>{html.escape(text)}</h{level}>"


def paragraph(text: str, *, muted: bool = False) -> str:
    """A paragraph of plain text."""
    return f"<p{' class=muted' if muted else ''}>{html.escape(text)}</p>"


def items(texts: Sequence[str]) -> str:
    """A list of plain texts."""
    return "<ul>" + "".join(f"<li>{html.escape(text)}</li>" for text in texts) + "</ul>"


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, mark: str | None = None) -> str:
    """A table; numbers are set right. mark: the column whose text is also its cell's class."""
    numeric = [bool(rows) and all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(columns))]
    head = "".join(f"<th{' class=n' if n else ''}>{html.escape(c)}</th>" for c, n in zip(columns, numeric, strict=True))
    body = ""
    for row in rows:
        cells = ""
        for column, value, is_number in zip(columns, row, numeric, strict=True):
            kind = "n" if is_number else html.escape(str(value).replace(" ", "-")) if column == mark else ""
            cells += f'<td class="{kind}">{html.escape(cell_text(value))}</td>' if kind else f"<td>{_text(value)}</td>"
        body += f"<tr>{cells}</tr>"
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _text(value: Any) -> str:
    return html.escape(cell_text(value))


def cell_text(value: Any) -> str:
    """A number at reading precision; None and NaN as a dash."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def figure(fig: go.Figure, number: int) -> str:
    """A figure with its sentence on how to read it."""
    text = fig.to_json().replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    read = html.escape(str((fig.layout.meta or {}).get("read", "")))
    name = json.dumps(f"figure-{number}")
    return (
        f"<figure><div id={name}></div><figcaption>{read}</figcaption>"
        f"<script>{{const f = {text}; Plotly.newPlot({name}, f.data, f.layout, "
        "{responsive: true, displaylogo: false});}</script></figure>"
    )
