"""The charts of this library, which plotly draws in the browser, drawn by matplotlib for print.

It draws what the figures of `eapgp.figures` are made of: scatter, bar, heatmap and contour traces, shapes, annotations,
panels and second axes. Figures of dark pages turn light. Anything else is refused, so that no print lacks a trace.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import plotly.graph_objects as go

from eapgp.errors import OptionError
from eapgp.figures.print_style import new_figure
from eapgp.figures.style import Theme, theme, unescape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, DPI, POINT = 760.0, 96.0, 0.72
Letter = Literal["x", "y"]
SCATTER = ("scatter", "scattergl")
_DASHES: dict[str, Any] = {"solid": "-", "dot": (0, (1, 2)), "dash": (0, (5, 2.5)), "longdash": (0, (9, 3))}
_DASHES |= {"dashdot": (0, (5, 2, 1, 2)), "longdashdot": (0, (9, 2, 1, 2))}
_MARKERS = {"circle": "o", "square": "s", "diamond": "D", "diamond-wide": "D", "star": "*", "cross": "P", "x": "X"}
_MARKERS |= {"triangle-up": "^", "triangle-down": "v", "triangle-left": "<", "triangle-right": ">", "hexagon": "h"}
_MARKERS |= {
    "hexagon2": "H",
    "diamond-tall": "d",
    "pentagon": "p",
    "line-ew": "_",
    "line-ns": "|",
    "cross-thin": "+",
    "x-thin": "x",
}
_TAG = re.compile(r"<[^>]*>")


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
            _dress_axis(panel, "x", panel.x)
            _dress_axis(panel, "y", panel.y)
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
            look = {"linestyle": _DASHES.get(line.dash or "solid", "-"), "drawstyle": drawn, "alpha": trace.opacity}
            named = "_nolegend_" if "markers" in mode else label
            panel.axes.plot(x, y, color=ink, linewidth=POINT * (line.width or 2), label=named, zorder=2.5, **look)
        if "markers" in mode:
            self._markers(panel, trace, x, y, ink, label)
        if "text" in mode:
            _point_texts(panel.axes, trace, x, y)
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
        symbols = _each(marker.symbol or "circle", n)
        sizes = np.array([float(size) for size in _each(6 if marker.size is None else marker.size, n)])
        inks = _marker_colours(marker, n, ink)
        if (trace.opacity or 1) < 1 or isinstance(marker.opacity, float | int):
            inks = [
                _fade(one, (trace.opacity or 1) * (marker.opacity if marker.opacity is not None else 1)) for one in inks
            ]
        edge = colour(marker.line.color) if isinstance(marker.line.color, str) else None
        for symbol in dict.fromkeys(symbols):
            mine = [i for i in range(n) if symbols[i] == symbol]
            hollow = symbol.endswith("-open")
            looks: dict[str, Any] = {"marker": _MARKERS.get(symbol.removesuffix("-open").removesuffix("-dot"), "o")}
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
            look = {"linestyle": _DASHES.get(line.dash or "solid", "-") if line else "", "color": ink or inks[0]}
            symbol = symbols[0]
            look |= {"marker": _MARKERS.get(symbol.removesuffix("-open"), "o"), "markersize": 5}
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
        base = np.zeros(len(sizes)) if trace.base is None else np.asarray(_each(trace.base, len(sizes)), dtype=float)
        if mode in ("stack", "relative"):
            base = base + self._stacked(panel, places, sizes)
        inks = [_fade(one, trace.marker.opacity) for one in _marker_colours(trace.marker, len(sizes), None)]
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
        limits = {"vmin": trace.zmin, "vmax": trace.zmax, "cmap": _colour_map(trace.colorscale)}
        mesh = panel.axes.pcolormesh(_borders(x), _borders(y), np.ma.masked_invalid(z), zorder=1, **limits)
        if z.size > 40_000:
            mesh.set_rasterized(True)
        self._colour_bar(panel, trace, mesh)

    def contour(self, panel: Panel, trace: Any) -> None:
        x, y, z = (np.array(values, dtype=float) for values in (trace.x, trace.y, trace.z))
        mesh = panel.axes.pcolormesh(x, y, z, shading="gouraud", cmap=_colour_map(trace.colorscale), zorder=0.6)
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
        look: dict[str, Any] = {"linestyle": _DASHES.get(shape.line.dash or "solid", "-"), "alpha": shape.opacity}
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
        looks |= {"ha": _anchor(note.xanchor, note.xref, note.x, ("left", "center", "right"))}
        looks |= {
            "va": _anchor(note.yanchor, note.yref, note.y, ("bottom", "center", "top")).replace("middle", "center")
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


def _dress_axis(panel: Panel, letter: Letter, axis: Any) -> None:
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


def _each(value: Any, n: int) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | np.ndarray) else [value] * n


def _marker_colours(marker: Any, n: int, ink: Any) -> list[Any]:
    """A colour per marker: names, or numbers on a scale."""
    values = _each(marker.color, n)
    if values and isinstance(values[0], int | float | np.number):
        numbers = np.array(values, dtype=float)
        low = float(np.nanmin(numbers)) if marker.cmin is None else marker.cmin
        high = float(np.nanmax(numbers)) if marker.cmax is None else marker.cmax
        return [tuple(c) for c in _colour_map(marker.colorscale)((numbers - low) / ((high - low) or 1.0))]
    return [colour(value) if value is not None else ink or colour("#636EFA") for value in values]


def _fade(rgba: Any, opacity: float | None) -> Any:
    return rgba if opacity is None else (*rgba[:3], rgba[3] * float(opacity))


def _colour_map(scale: Any) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    stops = [(float(stop[0]), colour(stop[1])) for stop in scale] if scale is not None else [(0, "#fff"), (1, "#333")]
    made = LinearSegmentedColormap.from_list("eapgp", stops)
    return made.with_extremes(bad=(0, 0, 0, 0))


def _borders(centres: np.ndarray) -> np.ndarray:
    """Borders of cells around their middles."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = [(a + b) / 2 for a, b in pairwise(centres)]
    return np.array([2 * centres[0] - middle[0], *middle, 2 * centres[-1] - middle[-1]])


def _anchor(anchor: str | None, ref: str | None, value: Any, names: tuple[str, str, str]) -> str:
    """Plotly's rule for "auto": by thirds of the paper, else the middle."""
    if anchor and anchor != "auto":
        return anchor
    if ref != "paper" or not isinstance(value, float | int):
        return "center"
    return names[0] if value < 1 / 3 else names[2] if value > 2 / 3 else names[1]


_BESIDE = {"left": ("right", -6), "right": ("left", 6), "center": ("center", 0)}


def _point_texts(axes: Axes, trace: Any, x: np.ndarray, y: np.ndarray) -> None:
    """The texts beside points, where plotly puts them."""
    places, texts = _each(trace.textposition or "middle center", len(x)), _each(trace.text, len(x))
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
