"""The charts of this library, which plotly draws in the browser, drawn by matplotlib for print.

It draws what the figures of `eapgp.figures` are made of: scatter, bar, heatmap and contour traces, shapes, annotations,
panels and second axes. Figures of dark pages turn light. Anything else is refused, so that no print lacks a trace.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from eapgp.errors import OptionError
from eapgp.figures.print_axes import Panel, dress_axis
from eapgp.figures.print_marks import (
    DASHES,
    MARKERS,
    POINT,
    anchor_of,
    borders,
    colour,
    colour_map,
    each,
    faded,
    marker_colours,
    point_texts,
    text_of,
)
from eapgp.figures.print_style import new_figure
from eapgp.figures.style import Theme, theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, DPI = 760.0, 96.0
SCATTER = ("scatter", "scattergl")


def chart_figure(chart: go.Figure) -> Figure:
    """A plotly figure of this library as a figure of matplotlib, on white.

    Errors: OptionError for a trace of another kind than scatter, bar, heatmap or contour.
    """
    for trace in chart.data:
        if trace.type not in (*SCATTER, "bar", "heatmap", "contour"):
            raise OptionError(f"figure: expected traces of scatter, bar, heatmap or contour, got {trace.type!r}.")
    return _Print(_light(chart)).draw()


def _light(chart: go.Figure) -> go.Figure:
    """The figure with the colours of the light page in place of the dark one's."""
    values = chart.to_plotly_json()
    colours = dict(_colour_pairs(theme(True), theme(False)))

    def turn(value: Any) -> Any:
        if isinstance(value, str):
            return colours.get(value.lower(), value)
        if isinstance(value, Mapping):
            if "bdata" in value:
                return _unpacked(value)
            return {key: turn(entry) for key, entry in value.items()}
        return type(value)(map(turn, value)) if isinstance(value, list | tuple) else value

    dark = str(chart.layout.font.color or "").lower() in colours
    return go.Figure(turn({"data": values["data"], "layout": values["layout"]})) if dark else chart


def _unpacked(value: Mapping[str, Any]) -> np.ndarray:
    """An array as plotly packs it for the browser."""
    array = np.frombuffer(base64.b64decode(value["bdata"]), dtype=value["dtype"])
    shape = value.get("shape")
    return array if shape is None else array.reshape([int(n) for n in str(shape).split(",")])


def _colour_pairs(dark: Theme, light: Theme) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for entry in fields(Theme):
        a, b = getattr(dark, entry.name), getattr(light, entry.name)
        pairs += [(a, b)] if isinstance(a, str) else [(x[1], y[1]) for x, y in zip(a, b, strict=True)]
    return [(a.lower(), b) for a, b in pairs]


class _Print:
    """One figure on its way: panels are made as traces ask for them."""

    def __init__(self, chart: go.Figure) -> None:
        self.chart, self.layout = chart, chart.layout
        self.width, self.height = float(self.layout.width or WIDTH), float(self.layout.height or 460)
        entries = [trace for trace in chart.data if self._in_legend(trace)]
        self.rows = -(-len(entries) // self._columns(entries)) if entries else 0
        self.height += max(0, self.rows - 1) * 16
        self.figure = new_figure(self.width / DPI, self.height / DPI)
        self.panels: dict[tuple[str, str], Panel] = {}
        self.before: tuple[np.ndarray, np.ndarray] = (np.zeros(1), np.zeros(1))
        self.stacks: dict[Any, dict[float, float]] = {}

    def draw(self) -> Figure:
        for trace in self.chart.data:
            if trace.visible in (False, "legendonly"):
                continue
            panel = self.panel(trace.xaxis or "x", trace.yaxis or "y")
            kind = "scatter" if trace.type in SCATTER else trace.type
            {"scatter": self.scatter, "bar": self.bar, "heatmap": self.heatmap, "contour": self.contour}[kind](
                panel, trace
            )
        for panel in self.panels.values():
            dress_axis(panel, "x", panel.x)
            dress_axis(panel, "y", panel.y)
        self.tie()
        for shape in self.layout.shapes:
            self.shape(shape)
        for note in self.layout.annotations:
            self.annotation(note)
        self.texts()
        self.fit()
        return self.figure

    def fit(self) -> None:
        """Move the panels in from the borders, as far as their labels reach out of the figure or into the legend."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(self.figure)
        canvas.draw()
        boxes = [axes.get_tightbbox(canvas.get_renderer()) for axes in self.figure.axes]
        reach = [box.transformed(self.figure.transFigure.inverted()) for box in boxes if box is not None]
        if not reach:
            return
        low = (20 + 16 * self.rows) / self.height if self.rows else 8 / self.height
        left = max(0.0, 8 / self.width - min(box.x0 for box in reach))
        right = max(0.0, max(box.x1 for box in reach) - 1 + 8 / self.width)
        bottom = max(0.0, low - min(box.y0 for box in reach))
        for axes in self.figure.axes:
            box = axes.get_position()
            x0, x1 = (left + value * (1 - left - right) for value in (box.x0, box.x1))
            y0, y1 = (1 - (1 - value) * (1 - bottom) for value in (box.y0, box.y1))
            axes.set_position((x0, y0, x1 - x0, y1 - y0))

    # ---- panels ------------------------------------------------------------------------------------

    def tie(self) -> None:
        """Axes that are one in plotly, or match each other, get one range; a second drawing of an axis is hidden."""
        for names, panel in self.panels.items():
            for place, letter in enumerate("xy"):
                wanted = self._axis(names[place]).matches or names[place]
                base = next((p for other, p in self.panels.items() if other[place] == wanted and p is not panel), None)
                if base is None or (wanted == names[place] and not any(self._axis(name).overlaying for name in names)):
                    continue
                read, write = getattr(base.axes, f"get_{letter}lim"), getattr(panel.axes, f"set_{letter}lim")
                if wanted == names[place]:
                    (panel.axes.xaxis if letter == "x" else panel.axes.yaxis).set_visible(False)
                elif self._axis(names[place]).overlaying is None:
                    both = (*read(), *getattr(panel.axes, f"get_{letter}lim")())
                    getattr(base.axes, f"set_{letter}lim")(min(both), max(both))
                write(read())

    def _axis(self, name: str) -> Any:
        return self.layout[f"{name[0]}axis{name[1:]}"]

    def panel(self, x: str, y: str) -> Panel:
        if (x, y) not in self.panels:
            left, right, bottom, top = 74.0, 26.0, 62.0 + 16 * self.rows, float(self.layout.margin.t or 80) + 4
            if any(trace.type in ("heatmap", "contour") and self._stands(trace) for trace in self.chart.data):
                right += 84
            if any(_overlays(self.layout[name], "right") for name in self.layout if name.startswith("yaxis")):
                right += 46
            across, up = self._domain(x), self._domain(y)
            w, h = self.width - left - right, self.height - top - bottom
            rect = ((left + w * across[0]) / self.width, (bottom + h * up[0]) / self.height)
            size = (w * (across[1] - across[0]) / self.width, h * (up[1] - up[0]) / self.height)
            axes = self.figure.add_axes((*rect, *size), label=f"{x}{y}")
            axes.patch.set_visible(False)
            panel = Panel(axes, self._axis(x), self._axis(y))
            base = next((p for (a, b), p in self.panels.items() if (a == x) != (b == y)), None)
            if base is not None:
                panel.categories = base.categories
            self.panels[x, y] = panel
        return self.panels[x, y]

    def _domain(self, name: str) -> tuple[float, float]:
        axis = self._axis(name)
        if axis.overlaying:
            return self._domain(axis.overlaying)
        return tuple(axis.domain) if axis.domain else (0.0, 1.0)

    def _stands(self, trace: Any) -> bool:
        """Whether a colour bar stands beside the panel (it may lie in it, or be left out)."""
        return trace.showscale is not False and trace.colorbar.orientation != "h"

    # ---- traces ------------------------------------------------------------------------------------

    def _label(self, trace: Any) -> str:
        return text_of(trace.name) if self._in_legend(trace) else "_nolegend_"

    def _in_legend(self, trace: Any) -> bool:
        if self.layout.showlegend is False or trace.showlegend is False or trace.type in ("heatmap", "contour"):
            return False
        shown = [t for t in self.chart.data if t.showlegend is not False and t.type not in ("heatmap", "contour")]
        return bool(trace.name) and (len(shown) > 1 or bool(self.layout.showlegend))

    def scatter(self, panel: Panel, trace: Any) -> None:
        x, y = panel.values("x", trace.x), panel.values("y", trace.y)
        mode, label = trace.mode or "lines", self._label(trace)
        line, marker = trace.line, trace.marker
        ink = colour(line.color or marker.color if isinstance(marker.color, str | None) else line.color)
        if trace.fill == "toself":
            panel.axes.fill(x, y, color=colour(trace.fillcolor or line.color), lw=0, label=label, zorder=1.5)
            return
        if trace.fill in ("tonexty", "tozeroy"):
            below = self.before if trace.fill == "tonexty" else (x, np.zeros_like(y))
            low = np.interp(x, *below) if trace.fill == "tonexty" else below[1]
            panel.axes.fill_between(x, low, y, color=colour(trace.fillcolor), lw=0, zorder=1.5)
        self.before = (x, y)
        if "lines" in mode and line.width != 0:
            drawn = "steps-post" if line.shape == "hv" else "default"
            look = {"linestyle": DASHES.get(line.dash or "solid", "-"), "drawstyle": drawn, "alpha": trace.opacity}
            named = "_nolegend_" if "markers" in mode else label
            panel.axes.plot(x, y, color=ink, linewidth=POINT * (line.width or 2), label=named, zorder=2.5, **look)
        if "markers" in mode:
            self._markers(panel, trace, x, y, ink, label)
        if "text" in mode:
            point_texts(panel.axes, trace, x, y)
        for axis, error in (("xerr", trace.error_x), ("yerr", trace.error_y)):
            if error.array is not None:
                low = error.array if error.arrayminus is None else error.arrayminus
                reach = np.abs(np.array([list(low), list(error.array)], dtype=float))
                bar = {"ecolor": colour(error.color) or ink, "elinewidth": POINT * (error.thickness or 1.5)}
                panel.axes.errorbar(x, y, fmt="none", **{axis: reach}, capsize=2.5, **bar)

    def _markers(self, panel: Panel, trace: Any, x: np.ndarray, y: np.ndarray, ink: Any, label: str) -> None:
        """Markers by symbol, of one or of many colours and sizes; the legend shows the line too."""
        marker = trace.marker
        n = len(x)
        symbols = each(marker.symbol or "circle", n)
        sizes = np.array([float(size) for size in each(6 if marker.size is None else marker.size, n)])
        inks = marker_colours(marker, n, ink)
        if (trace.opacity or 1) < 1 or isinstance(marker.opacity, float | int):
            inks = [
                faded(one, (trace.opacity or 1) * (marker.opacity if marker.opacity is not None else 1)) for one in inks
            ]
        edge = colour(marker.line.color) if isinstance(marker.line.color, str) else None
        for symbol in dict.fromkeys(symbols):
            mine = [i for i in range(n) if symbols[i] == symbol]
            hollow = symbol.endswith("-open")
            looks: dict[str, Any] = {"marker": MARKERS.get(symbol.removesuffix("-open").removesuffix("-dot"), "o")}
            mine_inks = [inks[i] for i in mine]
            looks |= {
                "facecolors": "none" if hollow else mine_inks,
                "edgecolors": mine_inks if hollow or edge is None else edge,
            }
            looks |= {
                "linewidths": POINT
                * float(marker.line.width if marker.line.width is not None else 1.5 if hollow else 0)
            }
            panel.axes.scatter(x[mine], y[mine], s=(POINT * sizes[mine]) ** 2, zorder=3, **looks)
        if label != "_nolegend_" and n:
            line = trace.line if "lines" in (trace.mode or "") else None
            look = {"linestyle": DASHES.get(line.dash or "solid", "-") if line else "", "color": ink or inks[0]}
            symbol = symbols[0]
            look |= {"marker": MARKERS.get(symbol.removesuffix("-open"), "o"), "markersize": 5}
            look |= {"markerfacecolor": "white" if symbol.endswith("-open") else inks[0]}
            panel.axes.plot([], [], label=label, **look)

    def bar(self, panel: Panel, trace: Any) -> None:
        lying = trace.orientation == "h"
        places = panel.values("y" if lying else "x", trace.y if lying else trace.x)
        sizes = panel.values("x" if lying else "y", trace.x if lying else trace.y)
        bars = [t for t in self.chart.data if t.type == "bar" and (t.xaxis, t.yaxis) == (trace.xaxis, trace.yaxis)]
        mode, n = self.layout.barmode or "group", len(bars) if (self.layout.barmode or "group") == "group" else 1
        step = float(np.min(np.diff(np.unique(places)))) if len(np.unique(places)) > 1 else 1.0
        thick = step * (1 - (0.2 if self.layout.bargap is None else self.layout.bargap)) / n
        if isinstance(trace.width, float | int):
            thick = float(trace.width)
        shift = (bars.index(trace) - (n - 1) / 2) * thick if n > 1 else 0.0
        base = np.zeros(len(sizes)) if trace.base is None else np.asarray(each(trace.base, len(sizes)), dtype=float)
        if mode in ("stack", "relative"):
            base = base + self._stacked(panel, places, sizes)
        inks = [faded(one, trace.marker.opacity) for one in marker_colours(trace.marker, len(sizes), None)]
        draw = panel.axes.barh if lying else panel.axes.bar
        draw(places + shift, sizes, thick, base, color=inks, label=self._label(trace), zorder=2)
        for axis, error in (("xerr", trace.error_x), ("yerr", trace.error_y)):
            if error.array is not None:
                low = error.array if error.arrayminus is None else error.arrayminus
                reach = np.abs(np.array([list(low), list(error.array)], dtype=float))
                at = (base + sizes, places + shift) if lying else (places + shift, base + sizes)
                panel.axes.errorbar(
                    at[0], at[1], fmt="none", **{axis: reach}, capsize=2.5, ecolor=colour(error.color) or "#333"
                )

    def _stacked(self, panel: Panel, places: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Where each bar begins: at the end of those before it, of its own sign."""
        begin = []
        for place, size in zip(places, np.nan_to_num(sizes), strict=True):
            ends = self.stacks.setdefault((id(panel), float(place)), {1.0: 0.0, -1.0: 0.0})
            sign = 1.0 if size >= 0 else -1.0
            begin.append(ends[sign])
            ends[sign] += float(size)
        return np.array(begin)

    def heatmap(self, panel: Panel, trace: Any) -> None:
        z = np.array(trace.z, dtype=float)
        x = panel.values("x", trace.x) if trace.x is not None else np.arange(z.shape[1], dtype=float)
        y = panel.values("y", trace.y) if trace.y is not None else np.arange(z.shape[0], dtype=float)
        limits = {"vmin": trace.zmin, "vmax": trace.zmax, "cmap": colour_map(trace.colorscale)}
        mesh = panel.axes.pcolormesh(borders(x), borders(y), np.ma.masked_invalid(z), zorder=1, **limits)
        if z.size > 40_000:
            mesh.set_rasterized(True)
        self._colour_bar(panel, trace, mesh)

    def contour(self, panel: Panel, trace: Any) -> None:
        x, y, z = (np.array(values, dtype=float) for values in (trace.x, trace.y, trace.z))
        mesh = panel.axes.pcolormesh(x, y, z, shading="gouraud", cmap=colour_map(trace.colorscale), zorder=0.6)
        mesh.set_rasterized(True)
        if trace.line.width != 0:
            lines: dict[str, Any] = {"colors": [colour(trace.line.color) or "#555"], "linestyles": "solid"}
            lines |= {"levels": trace.ncontours or 12, "linewidths": POINT * (trace.line.width or 0.5)}
            panel.axes.contour(x, y, z, zorder=0.8, **lines)
        self._colour_bar(panel, trace, mesh)

    def _colour_bar(self, panel: Panel, trace: Any, mesh: Any) -> None:
        if trace.showscale is False:
            return
        bar, box = trace.colorbar, panel.axes.get_position()
        if bar.orientation == "h":
            length = float(bar.len or 1.0) * box.width
            left = box.x0 + (
                float(bar.x or 0.0) * box.width if (bar.xanchor or "left") == "left" else (box.width - length) / 2
            )
            above = (bar.yanchor or "bottom") == "bottom"
            place = (left, box.y1 + 0.01 if above else box.y1 - 30 / self.height, length, 9 / self.height)
        else:
            place = (box.x1 + 14 / self.width, box.y0, 13 / self.width, box.height)
        axes = self.figure.add_axes(place)
        drawn = self.figure.colorbar(mesh, cax=axes, orientation="horizontal" if bar.orientation == "h" else "vertical")
        drawn.outline.set_visible(False)
        if bar.tickvals is not None:
            drawn.set_ticks(list(bar.tickvals), labels=[text_of(str(text)) for text in bar.ticktext or bar.tickvals])
        drawn.ax.tick_params(labelsize=8, width=0.5)
        drawn.set_label(text_of(bar.title.text), size=8.5)
        if bar.orientation == "h":
            drawn.ax.xaxis.set_label_position("top")

    # ---- what stands in and around the panels ------------------------------------------------------

    def _place(self, item: Any, letter: str, value: Any) -> tuple[Any, Any]:
        """Transform and value of a coordinate: of an axis, of its domain, or of the paper."""
        ref = getattr(item, f"{letter}ref") or letter
        name = ref.removesuffix(" domain")
        panel = next((p for pair, p in self.panels.items() if name in pair), next(iter(self.panels.values())))
        if ref == "paper" or ref.endswith(" domain"):
            return panel.axes.transAxes, float(value)
        if isinstance(value, str):
            value = panel.categories[letter].get(value, 0)
        axis = panel.x if letter == "x" else panel.y
        power = axis.type == "log" and item.plotly_name == "annotations"
        return panel.axes.transData, 10 ** float(value) if power else value

    def _outside(self, letter: str, transform: Any, value: Any) -> bool:
        """Whether a place in data coordinates lies beyond the range that an axis was given: the browser shows none."""
        for panel in self.panels.values():
            if transform is panel.axes.transData and (panel.x if letter == "x" else panel.y).range is not None:
                low, high = sorted(panel.axes.get_xlim() if letter == "x" else panel.axes.get_ylim())
                return not low <= value <= high
        return False

    def shape(self, shape: Any) -> None:
        from matplotlib.patches import Rectangle
        from matplotlib.transforms import blended_transform_factory

        names = [getattr(shape, ref) or ref[0] for ref in ("xref", "yref")]
        panel = next((p for pair, p in self.panels.items() if any(n.split()[0] in pair for n in names)), None)
        if panel is None:
            return
        across, x0 = self._place(shape, "x", shape.x0)
        up, y0 = self._place(shape, "y", shape.y0)
        x1, y1 = self._place(shape, "x", shape.x1)[1], self._place(shape, "y", shape.y1)[1]
        moved = blended_transform_factory(across, up)
        look: dict[str, Any] = {"linestyle": DASHES.get(shape.line.dash or "solid", "-"), "alpha": shape.opacity}
        look |= {"linewidth": POINT * float(2 if shape.line.width is None else shape.line.width), "transform": moved}
        look |= {"zorder": 0.7 if shape.layer == "below" else 2.2}
        if shape.type == "line":
            panel.axes.plot([x0, x1], [y0, y1], color=colour(shape.line.color) or "#444", **look)
        elif shape.type == "rect":
            fill = colour(shape.fillcolor) or "none"
            frame: dict[str, Any] = {"facecolor": fill, "edgecolor": colour(shape.line.color) or "none"}
            panel.axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, **frame, **look))

    def annotation(self, note: Any) -> None:
        from matplotlib.transforms import blended_transform_factory, offset_copy

        if note.visible is False or not note.text:
            return
        across, x = self._place(note, "x", note.x)
        up, y = self._place(note, "y", note.y)
        if self._outside("x", across, x) or self._outside("y", up, y):
            return
        moved = blended_transform_factory(across, up)
        shift = ((note.xshift or 0) / DPI, (note.yshift or 0) / DPI)
        if note.showarrow is not False and note.ax is not None and not note.axref:
            shift = (
                shift[0] + float(note.ax or 0) / DPI,
                shift[1] - float(note.ay if note.ay is not None else -30) / DPI,
            )
        looks: dict[str, Any] = {
            "size": POINT * float(note.font.size or 13),
            "color": colour(note.font.color) or "#222",
        }
        looks |= {"ha": anchor_of(note.xanchor, note.xref, note.x, ("left", "center", "right"))}
        looks |= {
            "va": anchor_of(note.yanchor, note.yref, note.y, ("bottom", "center", "top")).replace("middle", "center")
        }
        if note.bgcolor and colour(note.bgcolor)[3] > 0:
            looks["bbox"] = {"facecolor": colour(note.bgcolor, note.opacity), "edgecolor": "none", "pad": 1.5}
        at = offset_copy(moved, self.figure, *shift, units="inches")
        panel = next(iter(self.panels.values()))
        angle = -float(note.textangle or 0)
        panel.axes.text(x, y, text_of(note.text), transform=at, rotation=angle, parse_math=False, zorder=5, **looks)

    def _columns(self, entries: Sequence[Any]) -> int:
        longest = max((len(text_of(trace.name)) for trace in entries), default=1)
        return max(1, int((self.width - 40) // (52 + 6.1 * longest)))

    def texts(self) -> None:
        """Title and note above, the legend below."""
        title = self.layout.title
        size = self.height
        y, x = 1 - 14 / size, 12 / self.width
        if title.text:
            text = text_of(title.text)
            self.figure.text(x, y, text, size=13, va="top", color=colour(title.font.color) or "#222", parse_math=False)
            y -= 23 * (text.count("\n") + 1) / size
        if title.subtitle.text:
            note = " ".join(text_of(title.subtitle.text).split("\n"))
            self.figure.text(x, y, note, size=9, va="top", color="#5A6070", parse_math=False, wrap=True)
        handles, labels = [], []
        for panel in self.panels.values():
            more, names = panel.axes.get_legend_handles_labels()
            handles += more
            labels += names
        if self.rows and labels:
            entries = [trace for trace in self.chart.data if self._in_legend(trace)]
            place = {"loc": "lower left", "bbox_to_anchor": (0.0, 0.0), "ncols": self._columns(entries)}
            legend = self.figure.legend(handles, labels, frameon=False, fontsize=9, handlelength=2.6, **place)
            for entry in legend.get_texts():
                entry.set_parse_math(False)


def _overlays(axis: Any, side: str) -> bool:
    return bool(axis.overlaying) and axis.side == side
