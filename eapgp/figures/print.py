"""Figures as files for print: SVG, PDF and PNG, drawn by matplotlib, without a browser and without the network.

One figure gives the same picture in all three: on white, PDF with its fonts embedded and its text selectable, SVG with
text as text (a generic family where the reader lacks DejaVu Sans), PNG at PRINT_DPI. Equal figures give equal bytes.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eapgp.errors import OptionError
from eapgp.figures.print_style import settings

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from matplotlib.figure import Figure

PRINT_DPI = 300
KINDS = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png"}


def figure_bytes(figure: Figure | go.Figure, kind: str) -> bytes:
    """A figure of matplotlib, or of plotly as this library makes them, as a file; kind: a key of KINDS.

    Errors: OptionError for another kind or a figure with traces that cannot be printed; ModelError without matplotlib.
    """
    if kind not in KINDS:
        raise OptionError(f"figure: expected a file of {', '.join('.' + name for name in KINDS)}, got {kind!r}.")
    dates: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with settings():
        if hasattr(figure, "to_plotly_json"):
            from eapgp.figures.print_chart import chart_figure

            figure = chart_figure(figure)
        file = io.BytesIO()
        figure.savefig(file, format=kind, dpi=PRINT_DPI, facecolor="white", metadata=dates.get(kind))
    return file.getvalue()


def save_figure(figure: Figure | go.Figure, path: str | Path) -> Path:
    """Write a figure to a file whose ending says the format: .svg, .pdf or .png (300 dpi). Returns the path.

    Errors: as `figure_bytes`.
    """
    path = Path(path)
    path.write_bytes(figure_bytes(figure, path.suffix.lower().removeprefix(".")))
    return path


def file_stem(*words: object) -> str:
    """Words joined by `-` as a file name without ending: `ioi-eap-gp-47-edges`."""
    return re.sub(r"[^\w.]+", "-", "-".join(str(word) for word in words if str(word)))[:100].strip("-.") or "figure"
