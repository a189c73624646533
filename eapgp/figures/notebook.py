"""What notebooks show inline: the circuit view, in a sandboxed frame, and faithfulness by size."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from eapgp.attribution.result import EdgeScores
from eapgp.errors import OptionError
from eapgp.figures.standalone import circuit_html

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from eapgp.circuits.circuit import Circuit
    from eapgp.evaluation.curves import Curve

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
