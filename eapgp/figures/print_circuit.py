"""A circuit as a picture for print: `circuit_figure`, one matplotlib figure that is saved as SVG, PDF or PNG.

Places follow the circuit view (layers from bottom to top, MLPs right of the heads, query, key and value inputs left to
right), but layers without a node of the circuit are folded into one line that names them, and of more than WIDE heads
only the columns in use are drawn. Units are px of 1/96 inch, y upwards.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.errors import OptionError
from eapgp.figures.circuit_view.payload import assign_roles, largest
from eapgp.figures.print_style import new_figure
from eapgp.figures.style import AGAINST, SUPPORTS
from eapgp.graph import QKV, Graph
from eapgp.numerals import count
from eapgp.types import Bools

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI, POINT = 96, 0.75  # px in an inch, points in a px
COLUMN, ROW, BOX_WIDTH, BOX_HEIGHT, PORT, TAB = 54.0, 60.0, 46.0, 22.0, 13.0, 7.0
LEFT, ENDS, GAP = 46.0, 150.0, 26.0  # room for layers' names, width of input and logits, height of a folded line
WIDE = 12
LEAST_WIDTH = 420.0
MOST_EDGES = 5_000
INK, MUTED, FAINT, BAND, SOLID = "#1F2430", "#5A6070", "#D3D6DC", "#F6F7F9", "#E8EAEE"


@dataclass(frozen=True)
class Place:
    """Middle and size of a node's box."""

    x: float
    y: float
    w: float = BOX_WIDTH
    h: float = BOX_HEIGHT


@dataclass(frozen=True)
class Layout:
    """Where everything stands. rows: layers drawn, with the y of their heads; folds: first and last layer of what is
    folded, with its y; arcs: room right of the MLPs for edges between them; inside: the group that a node is in."""

    nodes: Mapping[str, Place]
    inside: Mapping[str, str]
    rows: Mapping[int, float]
    folds: tuple[tuple[int, int, float], ...]
    width: float
    height: float
    arcs: float


def circuit_figure(
    scores: EdgeScores,
    circuit: Circuit,
    *,
    title: str = "",
    caption: str = "",
    roles: Mapping[str, str] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    shown: Bools | None = None,
) -> Figure:
    """The edges of a circuit as a matplotlib figure on white: blue supports the behaviour, dashed vermillion does not.

    Width grows with √|score| against the largest of all scores. roles: names of heads' roles by node; each gets a
    colour. groups: nodes that stand in one box, by its name. shown `[src, dst]`: only these of the circuit's edges are
    drawn. caption stands below the legend. Save it with `save_figure`, or use it as any figure of matplotlib.

    Errors: OptionError for a circuit of another graph, or of more than 5,000 edges; ModelError without matplotlib.
    """
    if circuit.graph != scores.graph:
        raise OptionError("the circuit belongs to another graph than the scores. Use a circuit of the same model.")
    if circuit.n_kept > MOST_EDGES:
        raise OptionError(
            f"circuit: expected at most {MOST_EDGES:,} edges to print, got {circuit.n_kept:,}; take fewer."
        )
    if shown is not None:
        circuit = Circuit(circuit.graph, circuit.edges & shown, circuit.n_selected)
    layout = _grouped(layout_of(circuit), groups or {})
    lines = textwrap.wrap(caption, max(40, int(layout.width / 5.2)))
    entries = 3 + bool(layout.folds) + len(set((roles or {}).values()))
    head, foot = (34.0 if title else 10.0), 30.0 + 14.0 * len(lines) + 17.0 * -(-entries // _columns(layout))
    height = layout.height + head + foot
    figure = new_figure(layout.width / DPI, height / DPI)
    axes = figure.add_axes((0.0, foot / height, 1.0, layout.height / height))
    axes.set(xlim=(0, layout.width), ylim=(0, layout.height))
    axes.axis("off")
    _draw_rows(axes, circuit.graph, layout)
    _draw_edges(axes, scores, circuit, layout)
    _draw_nodes(axes, circuit, layout, roles or {})
    _draw_groups(axes, layout)
    _draw_texts(figure, scores, layout, title, lines, roles or {})
    return figure


def layout_of(circuit: Circuit) -> Layout:
    """Places of the nodes that are drawn: of every layer that the circuit touches, and the two ends."""
    graph, used = circuit.graph, circuit.node_names()
    layers = sorted({graph.node_layer(node) for node in used if node not in ("input", "logits")})
    heads = sorted({int(node.partition(".h")[2]) for node in used if node[0] == "a"})
    columns = heads if graph.n_heads > WIDE else list(range(graph.n_heads))
    parallel = graph.parallel
    mlp_x = LEFT + COLUMN * (len(columns) + 0.6)
    arcs = 24.0 + min(72.0, 9.0 * len(layers))
    width = max(LEAST_WIDTH, mlp_x + BOX_WIDTH / 2 + arcs)
    shift = (width - mlp_x - BOX_WIDTH / 2 - arcs) / 2
    nodes = {"input": Place(width / 2, BOX_HEIGHT / 2 + 6, ENDS)}
    rows, folds = {}, []
    y, before = nodes["input"].y + ROW, -1
    for layer in [*layers, graph.n_layers]:
        if layer > before + 1:
            folds.append((before + 1, layer - 1, y - ROW / 2 + GAP / 2))
            y += GAP
        before = layer
        if layer < graph.n_layers:
            rows[layer] = y
            for place, head in enumerate(columns):
                nodes[f"a{layer}.h{head}"] = Place(shift + LEFT + COLUMN * (place + 0.5), y)
            nodes[f"m{layer}"] = Place(shift + mlp_x, y if parallel else y + ROW / 2)
            y += ROW
    nodes["logits"] = Place(width / 2, y + BOX_HEIGHT / 4, ENDS)
    return Layout(nodes, {}, rows, tuple(folds), width, nodes["logits"].y + BOX_HEIGHT / 2 + 6, arcs)


def _grouped(layout: Layout, groups: Mapping[str, Sequence[str]]) -> Layout:
    """The layout with one box in the middle of each group's nodes, where two of them are drawn."""
    nodes, inside = dict(layout.nodes), dict(layout.inside)
    for name, wanted in groups.items():
        members = [node for node in wanted if node in layout.nodes and node not in inside]
        if len(members) < 2:
            continue
        x, y = (float(np.mean([getattr(layout.nodes[node], part) for node in members])) for part in ("x", "y"))
        box = Place(x, y, max(1.3 * BOX_WIDTH, 6.4 * min(len(name), 22) + 14), 1.5 * BOX_HEIGHT)
        nodes |= dict.fromkeys(members, box)
        inside |= dict.fromkeys(members, name)
    return replace(layout, nodes=nodes, inside=inside)


def _draw_rows(axes: Axes, graph: Graph, layout: Layout) -> None:
    """A shaded band with the layer's name for every second row, and a line for what is folded."""
    low = ROW / 2 if graph.parallel else ROW / 4
    for place, (layer, y) in enumerate(layout.rows.items()):
        if place % 2 == 0:
            axes.axhspan(y - low, y - low + ROW, color=BAND, linewidth=0, zorder=0)
        _text(axes, 10, y - low + ROW / 2, f"L{layer}", size=9, color=MUTED, ha="left")
    for first, last, y in layout.folds:
        axes.plot([10, layout.width - 10], [y, y], color=FAINT, linewidth=0.8, linestyle=(0, (1, 3)), zorder=0)
        name = f"L{first}" if first == last else f"L{first}–L{last}"
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        _text(axes, 10, y, name, size=8, color=MUTED, ha="left", bbox=box, zorder=0.5)


def _draw_edges(axes: Axes, scores: EdgeScores, circuit: Circuit, layout: Layout) -> None:
    """Curves, vertical at both ends; the weakest first."""
    from matplotlib.collections import PathCollection
    from matplotlib.path import Path

    graph, top = circuit.graph, largest(scores)
    rows, columns = np.nonzero(circuit.edges & ~_within(graph, layout))
    values = scores.values[rows, columns]
    order = np.argsort(np.abs(np.nan_to_num(values)), kind="stable")
    codes = [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    for sign, colour, dash in ((1, SUPPORTS, "solid"), (-1, AGAINST, (0, (4.0, 2.2))), (0, MUTED, "solid")):
        mine = [i for i in order if np.sign(np.nan_to_num(values[i])) == sign]
        if not mine:
            continue
        paths = [Path(curve_of(graph, layout, int(rows[i]), int(columns[i])), codes) for i in mine]
        lines = PathCollection(
            paths,
            facecolors="none",
            edgecolors=colour,
            linewidths=[POINT * width_of(float(values[i]), top) for i in mine],
            linestyles=[dash],
            alpha=0.85 if len(order) <= 300 else 0.6,
            zorder=1,
        )
        axes.add_collection(lines, autolim=False)


def _within(graph: Graph, layout: Layout) -> Bools:
    """`[src, dst]`: edges between two nodes of one group."""
    numbers = {name: place for place, name in enumerate(dict.fromkeys(layout.inside.values()))}
    of_node = np.array([numbers.get(layout.inside.get(node, ""), -1 - place) for place, node in enumerate(graph.nodes)])
    return of_node[: graph.n_sources, None] == of_node[graph.destination_nodes][None, :]


def width_of(score: float, top: float) -> float:
    """Width in px: 0.5 to 4, by √|score| against the largest."""
    share = min(1.0, abs(score) / top) if top > 0 and np.isfinite(score) else 0.0
    return 0.5 + 3.5 * share**0.5


def curve_of(graph: Graph, layout: Layout, source: int, destination: int) -> list[tuple[float, float]]:
    """Four points of one edge's curve; between boxes of one column it bows, so that it does not run behind them."""
    start = graph.sources[source]
    end, kind = graph.nodes[graph.destination_nodes[destination]], graph.destination_types[destination]
    a, b = layout.nodes[start], layout.nodes[end]
    x0 = a.x + (_spread(layout, b.x - a.x) if start == "input" else 0.0)
    tab = kind in QKV and end not in layout.inside
    x1 = b.x + (PORT * QKV.index(kind) - PORT if tab else 0.0)
    x1 += _spread(layout, a.x - b.x) if end == "logits" else 0.0
    y0, y1 = a.y + a.h / 2, b.y - b.h / 2 - (TAB - 1 if tab else 0.0)
    half, bow = (y1 - y0) / 2, _bow(layout, start, end, kind)
    return [(x0, y0), (x0 + bow, y0 + half), (x1 + bow, y1 - half), (x1, y1)]


def _spread(layout: Layout, distance: float) -> float:
    """Where along the wide boxes of both ends an edge starts or arrives: towards its other end."""
    return float(np.clip(distance / layout.width, -0.5, 0.5)) * (ENDS - 24.0)


def _bow(layout: Layout, start: str, end: str, kind: str) -> float:
    a, b = layout.nodes[start], layout.nodes[end]
    rows = round((b.y - a.y) / ROW)
    if start == "input" or end == "logits" or rows < 2 or abs(a.x - b.x) > 0.3 * COLUMN:
        return 0.0
    if start[0] == end[0] == "m":
        return min((layout.arcs - 8) / 0.75 + 0.4 * BOX_WIDTH, 26.0 + 9.0 * rows)
    return (-1.0 if kind == "q" or (kind != "v" and rows % 2) else 1.0) * COLUMN / 1.5


def _draw_nodes(axes: Axes, circuit: Circuit, layout: Layout, roles: Mapping[str, str]) -> None:
    from matplotlib.patches import FancyBboxPatch

    used = set(circuit.node_names()) | {"input", "logits"}
    colours = {role.name: role.color for role in assign_roles(roles)}
    into = np.asarray(circuit.edges.any(axis=0))
    for node, place in layout.nodes.items():
        if node in layout.inside:
            continue
        rounding = 4.0 if node[0] == "a" else place.h / 2 - 0.1
        style = f"round,pad=0,rounding_size={rounding}"
        fill = SOLID if node in ("input", "logits") else BAND if node[0] == "m" else "white"
        look: dict[str, Any] = {"facecolor": fill, "edgecolor": MUTED, "linewidth": 0.9, "zorder": 3}
        if node not in used:
            look |= {"facecolor": "none", "edgecolor": FAINT, "linewidth": 0.6, "zorder": 0.5}
        corner = (place.x - place.w / 2, place.y - place.h / 2)
        axes.add_patch(FancyBboxPatch(corner, place.w, place.h, boxstyle=style, mutation_aspect=1, **look))
        if node not in used:
            continue
        _draw_ports(axes, circuit.graph, node, place, into)
        lift = 1.5 if node in roles else 0.0
        _text(axes, place.x, place.y + lift, node, size=8.5 if place.w > BOX_WIDTH else 7.5, zorder=4)
        if node in roles:
            chip = (place.x - place.w / 2 + 6, place.y - place.h / 2 + 2.5)
            chip_style = "round,pad=0,rounding_size=1.1"
            colour = colours[roles[node]]
            axes.add_patch(FancyBboxPatch(chip, place.w - 12, 2.4, boxstyle=chip_style, color=colour, lw=0, zorder=4))


def _draw_groups(axes: Axes, layout: Layout) -> None:
    from matplotlib.patches import FancyBboxPatch

    for name in dict.fromkeys(layout.inside.values()):
        members = [node for node, group in layout.inside.items() if group == name]
        place = layout.nodes[members[0]]
        corner = (place.x - place.w / 2, place.y - place.h / 2)
        look: dict[str, Any] = {
            "boxstyle": "round,pad=0,rounding_size=6",
            "facecolor": "#EAF0FB",
            "edgecolor": "#3454D1",
        }
        axes.add_patch(FancyBboxPatch(corner, place.w, place.h, linewidth=1.0, zorder=3.5, **look))
        title = name if len(name) <= 22 else name[:21] + "…"
        _text(axes, place.x, place.y + 5, title, size=7.5, weight="bold", zorder=4)
        _text(axes, place.x, place.y - 8, f"{len(members)} nodes", size=6.5, color=MUTED, zorder=4)


def _draw_ports(axes: Axes, graph: Graph, node: str, place: Place, into: Bools) -> None:
    """Tabs below a head for those of its three inputs that an edge enters."""
    from matplotlib.patches import Rectangle

    if node[0] != "a":
        return
    for shift, kind in enumerate("qkv"):
        if into[graph.destination_index(f"{node}<{kind}>")]:
            x, y = place.x + PORT * (shift - 1), place.y - place.h / 2 - TAB
            axes.add_patch(Rectangle((x - 4.5, y), 9, TAB, color="#6A7080", lw=0, zorder=2))
            _text(axes, x, y + TAB / 2, kind, size=5.2, color="white", zorder=4)


def _draw_texts(
    figure: Figure, scores: EdgeScores, layout: Layout, title: str, caption: list[str], roles: Mapping[str, str]
) -> None:
    """Title above; legend and caption below."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    width, height = figure.get_size_inches() * DPI
    margin = 12 / width
    if title:
        figure.text(margin, 1 - 12 / height, title, size=11.5, weight="bold", color=INK, va="top", parse_math=False)
    entries: list[Any] = [
        Line2D([], [], color=SUPPORTS, lw=1.8, label="supports (+)"),
        Line2D([], [], color=AGAINST, lw=1.8, linestyle=(0, (4.0, 2.2)), label="works against (−)"),
        Line2D([], [], color=MUTED, lw=3.0, label=f"widest: |score| {largest(scores):.3g} (√ scale)"),
        *(
            [Line2D([], [], color=MUTED, lw=0.8, ls=(0, (1, 3)), label="layers without a node of it")]
            if layout.folds
            else []
        ),
        *(Patch(facecolor=role.color, label=f"{role.name} ({count(len(role.nodes))})") for role in assign_roles(roles)),
    ]
    foot = (14 + 14 * len(caption)) / height
    legend = figure.legend(
        handles=entries,
        loc="lower left",
        bbox_to_anchor=(0.0, foot),
        ncols=_columns(layout),
        frameon=False,
        fontsize=8,
        labelcolor=INK,
        handlelength=2.4,
        handleheight=0.5,
        columnspacing=1.4,
        borderaxespad=0.4,
    )
    for entry in legend.get_texts():
        entry.set_parse_math(False)
    for place, line in enumerate(reversed(caption)):
        figure.text(margin, (12 + 14 * place) / height, line, size=7.5, color=MUTED, va="bottom", parse_math=False)


def _columns(layout: Layout) -> int:
    """How many entries of the legend stand in a row."""
    return int(layout.width // 205)


def _text(axes: Axes, x: float, y: float, text: str, *, size: float, color: str = INK, **looks: Any) -> None:
    looks = {"ha": "center", "va": "center_baseline", **looks}
    axes.text(x, y, text, size=size, color=color, parse_math=False, **looks)
