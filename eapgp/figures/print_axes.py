"""Panels of a printed chart: a pair of axes that look as plotly's do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from eapgp.figures.print_marks import POINT, colour, text_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Letter = Literal["x", "y"]


@dataclass
class Panel:
    """One pair of axes: matplotlib's, plotly's two, and the places of categories."""

    axes: Axes
    x: Any
    y: Any
    categories: dict[str, dict[Any, int]] = field(default_factory=lambda: {"x": {}, "y": {}})

    def values(self, letter: str, data: Any) -> np.ndarray:
        """Coordinates as numbers; names take the next free place."""
        array = np.asarray(list(data), dtype=object)
        axis = self.x if letter == "x" else self.y
        if axis.type == "category" or any(isinstance(value, str) for value in array):
            places = self.categories[letter]
            return np.array([places.setdefault(value, len(places)) for value in array], dtype=float)
        return np.array([np.nan if value is None else float(value) for value in array])


def dress_axis(panel: Panel, letter: Letter, axis: Any) -> None:
    """Scale, range, ticks, grid and title of one axis as plotly's says."""
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator, PercentFormatter

    mine = panel.axes.xaxis if letter == "x" else panel.axes.yaxis
    limits, scale = (getattr(panel.axes, f"set_{letter}{what}") for what in ("lim", "scale"))
    if axis.type == "log":
        scale("log")
        mine.set_minor_formatter(NullFormatter())
        mine.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    if axis.range is not None:
        ends = [10 ** float(end) if axis.type == "log" else end for end in axis.range]
        limits(*(panel.categories[letter].get(end, end) if isinstance(end, str) else end for end in ends))
    elif axis.autorange == "reversed":
        panel.axes.invert_xaxis() if letter == "x" else panel.axes.invert_yaxis()
    places = panel.categories[letter]
    if axis.tickvals is not None:
        values = [places.get(v, v) if isinstance(v, str) else v for v in axis.tickvals]
        labels = axis.ticktext if axis.ticktext is not None else [f"{v:g}" for v in values]
        mine.set_ticks(values, labels=[text_of(str(label)) for label in labels])
        mine.set_minor_locator(NullLocator())
    elif places:
        step = max(1, len(places) // 60)
        names = list(places)[::step]
        mine.set_ticks([places[name] for name in names], labels=[text_of(str(name)) for name in names])
    elif "%" in (axis.tickformat or ""):
        mine.set_major_formatter(PercentFormatter(1.0))
    if axis.side in ("top", "right"):
        mine.set_ticks_position(axis.side)
        mine.set_label_position(axis.side)
    _looks(panel, letter, axis, mine)


def _looks(panel: Panel, letter: Letter, axis: Any, mine: Any) -> None:
    """Grid, frame, title and size of the labels."""
    axes = panel.axes
    for name, spine in axes.spines.items():
        spine.set_visible(bool(axis.showline) and name == ("bottom" if letter == "x" else "left"))
    if axis.visible is False:
        mine.set_visible(False)
        return
    grid = axis.showgrid is not False and not axis.overlaying
    axes.grid(grid, axis=letter, color=colour(axis.gridcolor) or "#DDD", linewidth=0.7) if grid else axes.grid(
        False, axis=letter
    )
    axes.set_axisbelow(True)
    if axis.zeroline is not False and axis.type != "log" and not axis.overlaying and not panel.categories[letter]:
        (axes.axvline if letter == "x" else axes.axhline)(
            0, color=colour(axis.zerolinecolor) or "#CCC", lw=1.0, zorder=0.9
        )
    angle = -float(axis.tickangle) if isinstance(axis.tickangle, float | int) else None
    labels = mine.get_ticklabels()
    crowded = letter == "x" and angle is None and sum(len(label.get_text()) for label in labels) > 90
    axes.tick_params(
        axis=letter, labelsize=POINT * float(axis.tickfont.size or 13), length=0, colors="#1F2430", which="both"
    )
    if crowded or angle:
        axes.tick_params(axis="x", labelrotation=90 if crowded else angle)
    if axis.showticklabels is False:
        axes.tick_params(axis=letter, labelbottom=False, labelleft=False, labeltop=False, labelright=False)
    if axis.title.text:
        pad = POINT * max(4.0, float(axis.title.standoff or 0) - 10)
        getattr(axes, f"set_{letter}label")(text_of(axis.title.text), size=10.5, labelpad=pad, parse_math=False)
    if letter == "y" and axis.scaleanchor:
        axes.set_aspect("equal", adjustable="datalim" if axis.range is None else "box")
