"""Colours, symbols, dashes and texts of plotly's figures as matplotlib takes them."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from eapgp.figures.style import unescape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINT = 0.72
"""Points of print for a pixel of the browser's."""
DASHES: dict[str, Any] = {"solid": "-", "dot": (0, (1, 2)), "dash": (0, (5, 2.5)), "longdash": (0, (9, 3))}
DASHES |= {"dashdot": (0, (5, 2, 1, 2)), "longdashdot": (0, (9, 2, 1, 2))}
MARKERS = {"circle": "o", "square": "s", "diamond": "D", "diamond-wide": "D", "star": "*", "cross": "P", "x": "X"}
MARKERS |= {"triangle-up": "^", "triangle-down": "v", "triangle-left": "<", "triangle-right": ">", "hexagon": "h"}
MARKERS |= {"hexagon2": "H", "diamond-tall": "d", "pentagon": "p", "line-ew": "_", "line-ns": "|"}
MARKERS |= {"cross-thin": "+", "x-thin": "x"}
_TAG = re.compile(r"<[^>]*>")


def colour(value: Any, opacity: float | None = None) -> Any:
    """A CSS colour as matplotlib takes it, with the opacity multiplied in."""
    from matplotlib.colors import to_rgba

    if value is None:
        return None
    text = str(value)
    numbers = re.fullmatch(r"rgba?\(([^)]*)\)", text.replace(" ", ""))
    if numbers:
        parts = [float(part) for part in numbers[1].split(",")]
        red, green, blue, alpha = (*(part / 255 for part in parts[:3]), parts[3] if len(parts) > 3 else 1.0)
    else:
        red, green, blue, alpha = to_rgba(text)
    return red, green, blue, alpha * (1.0 if opacity is None else opacity)


def text_of(markup: str | None) -> str:
    """Plotly's markup as plain text with line breaks."""
    return unescape(_TAG.sub("", re.sub(r"<br\s*/?>", "\n", markup or "")))


def each(value: Any, n: int) -> list[Any]:
    """A value for each of n points: its own, or the one that all share."""
    return list(value) if isinstance(value, list | tuple | np.ndarray) else [value] * n


def marker_colours(marker: Any, n: int, ink: Any) -> list[Any]:
    """A colour per marker: names, or numbers on a scale."""
    values = each(marker.color, n)
    if values and isinstance(values[0], int | float | np.number):
        numbers = np.array(values, dtype=float)
        low = float(np.nanmin(numbers)) if marker.cmin is None else marker.cmin
        high = float(np.nanmax(numbers)) if marker.cmax is None else marker.cmax
        return [tuple(c) for c in colour_map(marker.colorscale)((numbers - low) / ((high - low) or 1.0))]
    return [colour(value) if value is not None else ink or colour("#636EFA") for value in values]


def faded(rgba: Any, opacity: float | None) -> Any:
    """A colour with an opacity multiplied in."""
    return rgba if opacity is None else (*rgba[:3], rgba[3] * float(opacity))


def colour_map(scale: Any) -> Any:
    """Plotly's colour scale as a colour map; no value is transparent."""
    from matplotlib.colors import LinearSegmentedColormap

    stops = [(float(stop[0]), colour(stop[1])) for stop in scale] if scale is not None else [(0, "#fff"), (1, "#333")]
    made = LinearSegmentedColormap.from_list("eapgp", stops)
    return made.with_extremes(bad=(0, 0, 0, 0))


def borders(centres: np.ndarray) -> np.ndarray:
    """Borders of cells around their middles."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = [(a + b) / 2 for a, b in pairwise(centres)]
    return np.array([2 * centres[0] - middle[0], *middle, 2 * centres[-1] - middle[-1]])


def anchor_of(anchor: str | None, ref: str | None, value: Any, names: tuple[str, str, str]) -> str:
    """Plotly's rule for "auto": by thirds of the paper, else the middle."""
    if anchor and anchor != "auto":
        return anchor
    if ref != "paper" or not isinstance(value, float | int):
        return "center"
    return names[0] if value < 1 / 3 else names[2] if value > 2 / 3 else names[1]


_BESIDE = {"left": ("right", -6), "right": ("left", 6), "center": ("center", 0)}


def point_texts(axes: Axes, trace: Any, x: np.ndarray, y: np.ndarray) -> None:
    """The texts beside points, where plotly puts them."""
    places, texts = each(trace.textposition or "middle center", len(x)), each(trace.text, len(x))
    for i, (place, text) in enumerate(zip(places, texts, strict=True)):
        if text is None or text == "" or not np.isfinite(x[i] + y[i]):
            continue
        up, across = place.split(" ")
        ha, dx = _BESIDE[across]
        va, dy = {"top": ("bottom", 6), "bottom": ("top", -6), "middle": ("center", 0)}[up]
        size, ink = POINT * float(trace.textfont.size or 12), colour(trace.textfont.color) or "#222"
        look: dict[str, Any] = {"ha": ha, "va": va, "size": size, "color": ink, "textcoords": "offset points"}
        axes.annotate(
            text_of(str(text)), (x[i], y[i]), (dx, dy), zorder=4, annotation_clip=True, parse_math=False, **look
        )
