"""The second view: a circuit drawn by pyvis (vis-network), as one HTML document that opens offline.

Positions are fixed and physics is off: a force layout takes 20 s for 1,000 edges and says nothing.
pyvis inlines its own library but also loads a style framework from the network and prints its
heading twice; both are taken out, and the heading is written once here.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.errors import OptionError
from eapgp.figures.circuit_view import MAX_DRAWN, assign_roles, largest
from eapgp.graph import Graph
from eapgp.numerals import score as written

POSITIVE, NEGATIVE, NEUTRAL = "#0072B2", "#D55E00", "#7A7A7A"
COLUMN, ROW = 90.0, 110.0

_OPTIONS = {
    "physics": {"enabled": False},
    "layout": {"improvedLayout": False},
    "nodes": {"shape": "box", "borderWidth": 1, "margin": 6, "fixed": True},
    "edges": {
        "arrows": {"to": {"enabled": True, "scaleFactor": 0.4}},
        "smooth": {"enabled": True, "type": "cubicBezier", "forceDirection": "vertical", "roundness": 0.5},
    },
    "interaction": {"hover": True, "dragNodes": False, "hideEdgesOnDrag": True, "tooltipDelay": 80, "keyboard": True},
}
_BOOTSTRAP = re.compile(r"<link\b[^>]*bootstrap[^>]*/?>|<script\b[^>]*bootstrap[^>]*>\s*</script>", re.DOTALL)
_HEADING = re.compile(r"<center>\s*<h1>.*?</h1>\s*</center>", re.DOTALL)
_REMARK = re.compile(r"<!--.*?-->", re.DOTALL)


def node_positions(graph: Graph) -> dict[str, tuple[float, float]]:
    """Fixed x, y of every node in px, y downwards: input at the bottom, one column for the MLPs."""
    middle = COLUMN * (graph.n_heads + 0.5) / 2
    top = -ROW * graph.n_layers
    places = {"input": (middle, ROW), "logits": (middle, top - ROW * 0.5)}
    for layer in range(graph.n_layers):
        y = -ROW * layer
        for head in range(graph.n_heads):
            places[f"a{layer}.h{head}"] = (COLUMN * head, y)
        places[f"m{layer}"] = (COLUMN * (graph.n_heads + 0.5), y if graph.parallel else y - ROW / 2)
    return places


def pyvis_html(
    scores: EdgeScores,
    circuit: Circuit,
    *,
    title: str = "Circuit",
    roles: Mapping[str, str] | None = None,
    scale_max: float | None = None,
    height: int = 720,
    dark: bool = False,
    max_drawn: int = MAX_DRAWN,
) -> str:
    """A whole HTML document: the circuit's nodes at fixed places, its strongest edges as curves.

    Width grows with √|score| up to `scale_max` (the largest score where none is given); blue
    supports the behaviour, vermillion and dashed works against it. At most `max_drawn` edges are
    drawn; the document says so. `height`: px that the document has at least; it fills a higher window.

    Errors: OptionError when the circuit belongs to another graph.
    """
    from pyvis.network import Network

    if circuit.graph != scores.graph:
        raise OptionError("the circuit belongs to another graph than the scores. Use a circuit of the same model.")
    ink, paper = ("#e8eaf0", "#12151c") if dark else ("#1a1c23", "#ffffff")
    net = Network(height=f"{height}px", width="100%", directed=True, bgcolor=paper, cdn_resources="in_line")
    net.set_options(json.dumps(_OPTIONS))
    _add_nodes(net, circuit, roles or {}, dark)
    drawn = _add_edges(net, scores, circuit, scale_max or largest(scores), max_drawn)
    note = f"{circuit.n_selected:,} selected, {circuit.n_kept:,} kept"
    if drawn < circuit.n_kept:
        note += f", the strongest {drawn:,} drawn"
    return _document(net.generate_html(notebook=False), title, note, ink, paper, height)


def _add_nodes(net: Any, circuit: Circuit, roles: Mapping[str, str], dark: bool) -> None:
    colors = {node: (role.name, role.color) for role in assign_roles(roles) for node in role.nodes}
    places = node_positions(circuit.graph)
    for name in dict.fromkeys(("input", *circuit.node_names(), "logits")):
        x, y = places[name]
        role, border = colors.get(name, ("", "#9aa0ad" if dark else "#5b6270"))
        fill = "#1d222c" if dark else "#ffffff"
        net.add_node(
            name,
            label=name,
            shape="box",
            title=_tip(f"{name}\n{role}" if role else name),
            x=float(x),
            y=float(y),
            color={"background": fill, "border": border, "highlight": {"background": fill, "border": POSITIVE}},
            borderWidth=3 if role else 1,
            font={"color": "#e8eaf0" if dark else "#1a1c23", "size": 16},
        )


def _add_edges(net: Any, scores: EdgeScores, circuit: Circuit, scale: float, max_drawn: int) -> int:
    graph = scores.graph
    rows, columns = np.nonzero(circuit.edges)
    values = scores.values[rows, columns]
    order = np.argsort(-np.abs(np.nan_to_num(values)), kind="stable")[:max_drawn]
    for i in reversed(order.tolist()):
        score = float(values[i])
        share = min(1.0, abs(score) / scale) if scale > 0 and math.isfinite(score) else 0.0
        name = graph.edge_name(int(rows[i]), int(columns[i]))
        value = written(score) if math.isfinite(score) else "not scored"
        source, _, target = name.partition("->")
        net.add_edge(
            source,
            target.split("<")[0],
            title=_tip(f"{name}\n{value}"),
            width=round(0.5 + 3.5 * math.sqrt(share), 2),
            color=POSITIVE if score > 0 else NEGATIVE if score < 0 else NEUTRAL,
            dashes=score < 0,
        )
    return len(order)


def _tip(text: str) -> str:
    """Tooltip text. pyvis switches to a template that reads markup where it sees `href`."""
    return text.replace("href", "hr\u200bef")


def _document(page: str, title: str, note: str, ink: str, paper: str, height: int) -> str:
    page = _HEADING.sub("", _BOOTSTRAP.sub("", page))
    head, tag, body = page.partition("<body>")
    assert tag, "pyvis wrote no body"
    head = _REMARK.sub("", head) if "node_modules" in head else head
    # The picture takes what the heading leaves of the window, however many lines that has.
    style = (
        f"<style>body{{margin:0;padding:16px;font-family:system-ui,sans-serif;color:{ink};background:{paper};"
        f"box-sizing:border-box;height:max(100vh,{height}px);display:flex;flex-direction:column}}"
        "h1{font-size:1.25rem;margin:0 0 4px}p{font-size:0.9rem;margin:0 0 12px}.card{flex:1;min-height:0;display:flex}"
        "#mynetwork{float:none;flex:1;height:auto;box-sizing:border-box;border-radius:8px}</style>"
    )
    intro = (
        f"<h1>{html.escape(title)}</h1><p>{html.escape(note)}. Blue supports the behaviour, vermillion and dashed "
        "works against it; width grows with √|score|. Drag to move, turn the wheel to zoom.</p>"
    )
    start = head.replace("<head>", f"<head><title>{html.escape(title)}</title>", 1).replace(
        "<html>", '<!doctype html>\n<html lang="en">', 1
    )
    return start.replace("</head>", f"{style}</head>", 1) + "<body>" + intro + body
