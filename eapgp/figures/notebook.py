"""What notebooks show inline: small tables for scores, circuits and results, and the circuit view.

Everything is escaped; tables are at most `ROWS` long. No script but in `show`, whose circuit lives in
a sandboxed frame.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eapgp.errors import OptionError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from eapgp.attribution.result import Attribution, EdgeScores
    from eapgp.circuits.circuit import Circuit
    from eapgp.evaluation.curves import Curve

ROWS = 10
FRAME_HEIGHT = 640


class Html:
    """A piece of HTML that a notebook draws."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_html_(self) -> str:
        return self.text


def show(scores: EdgeScores, circuit: Circuit | None = None, *, title: str = "Circuit", n: int = 50) -> Html:
    """The interactive circuit view, inline: the strongest n edges, or exactly `circuit`. Works offline.

    Errors: OptionError if n is negative or above the number of edges.
    """
    from eapgp.attribution.result import EdgeScores
    from eapgp.figures.standalone import circuit_html

    EdgeScores.check(scores)
    page = circuit_html(scores, circuit, title=title, n=n)
    return Html(
        f'<iframe sandbox="allow-scripts allow-downloads" title="{html.escape(title)}" '
        f'style="width:100%;height:{FRAME_HEIGHT}px;border:0" srcdoc="{html.escape(page)}"></iframe>'
    )


def faithfulness_figure(*curves: Curve, title: str = "Faithfulness by circuit size", dark: bool = False) -> go.Figure:
    """Faithfulness against the number of edges, one line per curve, with bands where intervals are known.

    curves: of `faithfulness_curve` or `mib_curve`, on one graph. A curve without a name is numbered.

    Errors: OptionError for no curve, or curves of graphs of different size.
    """
    from eapgp.figures.adapt import curve_line
    from eapgp.figures.curves import faithfulness_curves

    sizes = {curve.n_edges for curve in curves}
    if len(sizes) != 1:
        came = "none" if not sizes else f"graphs of {', '.join(f'{size:,}' for size in sorted(sizes))} edges"
        raise OptionError(f"faithfulness_figure: expected curves of one graph, got {came}; draw one figure per graph.")
    lines = [curve_line(curve, name=curve.name or f"curve {place}") for place, curve in enumerate(curves, 1)]
    return faithfulness_curves(lines, n_edges=sizes.pop(), title=title, dark=dark)


def scores_html(scores: EdgeScores, *, top: int = ROWS) -> str:
    """The strongest edges and their scores."""
    graph = scores.graph
    known = int((graph.mask & ~np.isnan(scores.values)).sum())
    origin = ", ".join(str(scores.provenance[key]) for key in ("method", "task", "model") if key in scores.provenance)
    head = f"Edge scores{': ' + origin if origin else ''}; {known:,} of {graph.n_edges:,} edges scored"
    rows = [(name, f"{value:+.4g}") for name, value in scores.top(top)]
    return _table(head, ("edge", "score"), rows)


def circuit_summary_html(circuit: Circuit, *, top: int = ROWS) -> str:
    """Size of a circuit, and its first edges."""
    graph = circuit.graph
    named = f" {circuit.name}" if circuit.name else ""
    share = circuit.n_kept / graph.n_edges
    head = (
        f"Circuit{named}: {circuit.n_kept:,} of {graph.n_edges:,} edges ({share:.2%}), "
        f"{circuit.n_selected:,} selected before pruning, {len(circuit.node_names())} nodes"
    )
    pairs = zip(*(index[:top] for index in np.nonzero(circuit.edges)), strict=True)
    rows = [(graph.edge_name(int(source), int(destination)),) for source, destination in pairs]
    if circuit.n_kept > len(rows):
        rows.append((f"… and {circuit.n_kept - len(rows):,} more",))
    return _table(head, ("edge",), rows)


def attribution_html(result: Attribution) -> str:
    """Method, metric and cost of a result, and its strongest edges."""
    options = ", ".join(f"{key}={value}" for key, value in result.options.items())
    clean, corrupted = float(np.mean(result.metric_clean)), float(np.mean(result.metric_corrupted))
    facts = (
        ("method", f"{result.method} ({options})" if options else result.method),
        ("metric, clean and corrupted", f"{clean:.4g}, {corrupted:.4g}"),
        ("pairs", f"{len(result.metric_clean):,}"),
        ("passes per pair", f"{result.forward_passes:g} forward, {result.backward_passes:g} backward"),
        ("seconds", f"{result.seconds:.2f}"),
        *(("remark", message) for message in result.messages),
    )
    return _table("Attribution", ("", ""), facts) + scores_html(result.scores)


def _table(head: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(v))}</td>" for v in row) + "</tr>" for row in rows)
    names = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    shown = f"<thead><tr>{names}</tr></thead>" if any(columns) else ""
    return f"<p>{html.escape(head)}</p><table>{shown}<tbody>{body}</tbody></table>"
