"""One HTML file that shows a circuit offline: the circuit view itself, its data and how it was made.

The file asks the network for nothing (its Content-Security-Policy forbids it), needs no Streamlit,
and carries a table of the strongest edges for readers without JavaScript.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.circuits.select import select
from eapgp.figures.circuit_view import DEFAULT_EDGES, ViewPayload, build_payload, view_css, view_js
from eapgp.numerals import score as written

TABLE_ROWS = 200
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"

_STYLE = """
:root { color-scheme: light dark; --st-text-color: #1a1c23; --st-background-color: #ffffff;
  --st-secondary-background-color: #f2f4f8; --st-primary-color: #3454d1; --st-base-radius: 10px;
  --st-font: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
@media (prefers-color-scheme: dark) { :root { --st-text-color: #e8eaf0; --st-background-color: #12151c;
  --st-secondary-background-color: #1d222c; --st-primary-color: #8ea6ff; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 20px clamp(12px, 3vw, 40px) 40px; font: 15px/1.5 var(--st-font);
  color: var(--st-text-color); background: var(--st-background-color); }
h1 { margin: 0 0 12px; font-size: 1.35rem; line-height: 1.25; overflow-wrap: anywhere; }
details { margin-top: 18px; }
summary { cursor: pointer; font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; margin: 10px 0; }
dt { opacity: 0.75; } dd { margin: 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; max-height: 60vh; margin-top: 10px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 18px 3px 0; text-align: left; }
td:nth-child(1), td:nth-child(3) { text-align: right; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: 0.93em; }
"""

_START = """
const host = document.getElementById("circuit");
const parentElement = host.attachShadow({ mode: "open" });
const sheet = document.createElement("style");
sheet.textContent = document.getElementById("view-css").textContent;
parentElement.append(sheet);
const data = JSON.parse(document.getElementById("circuit-data").textContent);
data.height = Math.max(420, Math.min(1100, window.innerHeight - 150));
show({ data, parentElement, setStateValue: null, setTriggerValue: null });
"""


def circuit_html(
    source: EdgeScores | ViewPayload,
    circuit: Circuit | None = None,
    *,
    title: str = "Circuit",
    provenance: Mapping[str, Any] | None = None,
    n: int = DEFAULT_EDGES,
    **options: Any,
) -> str:
    """A whole HTML document as text.

    source: scores (the slider then starts at n, or shows exactly `circuit`), or a payload of
    `build_payload`. provenance: what is listed under "How this was made"; the scores' own where
    none is given. options: further options of `build_payload`, such as `roles`.
    """
    rows: list[tuple[str, float]] = []
    if isinstance(source, EdgeScores):
        selection = circuit if circuit is not None else select(source, n=min(n, source.graph.n_edges))
        rows = _strongest(source, selection)
        provenance = source.provenance if provenance is None else provenance
        payload = build_payload(source, n=n, circuit=circuit, **options)
    else:
        payload = source
    data = {
        **payload,
        "title": "",
        "edit": False,
        "depends": "",
        "filename": payload.get("filename") or title,
        "key": "standalone",
    }
    data.setdefault("caption", title)
    parts = (
        _head(title),
        f"<h1>{html.escape(title)}</h1>",
        '<main><div id="circuit"></div>',
        "<noscript><p>The picture needs JavaScript; the table below does not.</p></noscript>",
        _table(rows),
        _how(provenance or {}),
        "</main>",
        f'<script type="application/json" id="circuit-data">{_script_json(data)}</script>',
        f'<style id="view-css" media="not all">{view_css()}</style>',
        f'<script type="module">{_script_text(view_js() + _START)}</script>',
        "</body></html>\n",
    )
    return "\n".join(part for part in parts if part)


def _head(title: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>"
    )


def _strongest(scores: EdgeScores, circuit: Circuit) -> list[tuple[str, float]]:
    """The circuit's edges with their scores, largest |score| first, at most TABLE_ROWS."""
    named = [(name, float(scores.values[scores.graph.edge_index(name)])) for name in circuit.edge_names()]
    named.sort(key=lambda row: -abs(row[1]) if row[1] == row[1] else 0.0)
    return named[:TABLE_ROWS]


def _table(rows: list[tuple[str, float]]) -> str:
    if not rows:
        return ""
    body = "".join(
        f"<tr><td>{place}</td><td><code>{html.escape(name)}</code></td><td>{written(score)}</td></tr>"
        for place, (name, score) in enumerate(rows, 1)
    )
    return (
        f"<details><summary>The {len(rows)} strongest edges as a table</summary>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Edges"><table><thead><tr>'
        f"<th>#</th><th>Edge</th><th>Score</th></tr></thead><tbody>{body}</tbody></table></div></details>"
    )


def _how(provenance: Mapping[str, Any]) -> str:
    if not provenance:
        return ""
    items = "".join(f"<dt>{html.escape(str(k))}</dt><dd>{html.escape(_plain(v))}</dd>" for k, v in provenance.items())
    return f"<details><summary>How this was made</summary><dl>{items}</dl></details>"


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(entry) for entry in value)
    return str(value)


def _script_json(data: Mapping[str, Any]) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _script_text(text: str) -> str:
    assert "</script" not in text.lower(), "the view's code would end its own script element"
    assert "<!--" not in text
    return text
