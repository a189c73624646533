"""One look for every figure: colours, fonts, axes, and text that cannot inject markup.

Blue means "supports the behaviour", vermillion "works against it" (Okabe & Ito; the pair stays
apart under deuteranopia and keeps 3:1 contrast on light and dark). Methods have fixed colours,
dashes and symbols, the same in every figure. Backgrounds are transparent.
"""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from eapgp.numerals import percent, score

SUPPORTS = "#0072B2"
AGAINST = "#D55E00"
NEUTRAL = "#7F7F7F"
FONT = '"Source Sans 3", "Source Sans Pro", "Segoe UI", system-ui, sans-serif'

SET_COLOURS = {"both": "#009E73", "only A": "#E69F00", "only B": "#56B4E9", "sign flipped": "#CC79A7"}
SET_SYMBOLS = {"both": "circle", "only A": "triangle-up", "only B": "triangle-down", "sign flipped": "x"}
TYPE_COLOURS = {"q": "#E69F00", "k": "#56B4E9", "v": "#009E73", "mlp": "#CC79A7", "logits": NEUTRAL}


@dataclass(frozen=True)
class LineStyle:
    """How one series is drawn: told apart by colour, dash and symbol."""

    colour: str
    dash: str
    symbol: str


METHOD_STYLES: dict[str, LineStyle] = {
    "eap": LineStyle("#56B4E9", "solid", "circle"),
    "eap-ig": LineStyle("#E69F00", "solid", "square"),
    "eap-gp": LineStyle("#009E73", "solid", "diamond"),
    "mask-ig": LineStyle("#CC79A7", "solid", "star"),
    "exact": LineStyle("#7F7F7F", "longdash", "cross"),
    "random": LineStyle("#A6A6A6", "dot", "x"),
    "clean-corrupted": LineStyle("#7B8FD4", "dash", "circle-open"),
    "eap-ig-activations": LineStyle("#B07700", "dash", "square-open"),
    "eap-gp-activations": LineStyle("#4FB58F", "dash", "diamond-open"),
    "eap-gp-conductance": LineStyle("#1F8A8A", "dashdot", "diamond-wide"),
    "ceap": LineStyle("#BFA600", "solid", "triangle-up"),
    "mask-ig-refined": LineStyle("#A8508A", "dash", "star-open"),
    "ifr": LineStyle("#8C8C3A", "dashdot", "hexagon"),
    "atp-graddrop": LineStyle("#9673C0", "dash", "triangle-down"),
    "relp": LineStyle("#B07A5A", "dashdot", "pentagon"),
}
_OTHERS = (
    LineStyle("#009E73", "solid", "circle"),
    LineStyle("#E69F00", "solid", "square"),
    LineStyle("#56B4E9", "solid", "diamond"),
    LineStyle("#CC79A7", "solid", "triangle-up"),
    LineStyle("#7B8FD4", "dash", "star"),
    LineStyle("#BFA600", "dash", "cross"),
    LineStyle("#B07A5A", "dot", "x"),
)
_VARIANT_COLOURS = {
    "eap": ("#2F93C9", "#9AD0F2"),
    "eap-ig": ("#B87F00", "#F2C14E"),
    "eap-gp": ("#7CB342", "#3DBFA0"),
    "mask-ig": ("#A0558A", "#E3A5C8"),
}
_VARIANT_DASHES = ("dash", "dot", "dashdot", "longdash")
_VARIANT_SYMBOLS = ("hexagon2", "diamond-tall", "pentagon", "diamond-wide")
PATH_STYLES = {"gradpath": METHOD_STYLES["eap-gp"], "straight": METHOD_STYLES["eap-ig"]}
PATH_NAMES = {"gradpath": "GradPath", "straight": "Straight line"}


@dataclass(frozen=True)
class Theme:
    """Colours that depend on a light or dark page.

    `zero` is the middle of the diverging scale: visible against the page, so that an edge of
    score 0 differs from no edge.
    """

    text: str
    muted: str
    grid: str
    zero: str
    hover: str
    outline: str
    sequential: tuple[tuple[float, str], ...]
    terrain: tuple[tuple[float, str], ...]

    @property
    def diverging(self) -> list[list[object]]:
        """Zero-centred scale from works-against to supports."""
        return [[0.0, AGAINST], [0.5, self.zero], [1.0, SUPPORTS]]


_LIGHT = Theme(
    text="#1F2430",
    muted="#5A6070",
    grid="rgba(110,118,135,0.22)",
    zero="#EDEEF1",
    hover="#FFFFFF",
    outline="#FFFFFF",
    sequential=((0.0, "#F1EFF6"), (0.5, "#A99AC9"), (1.0, "#4B2E83")),
    terrain=((0.0, "#FFFFFF"), (0.5, "#DDE1EA"), (1.0, "#AAB3C5")),
)
_DARK = Theme(
    text="#ECEEF3",
    muted="#A9B0BF",
    grid="rgba(160,168,185,0.22)",
    zero="#2A2F3A",
    hover="#1B1F29",
    outline="#0E1117",
    sequential=((0.0, "#24212E"), (0.5, "#7562A8"), (1.0, "#E2D6FA")),
    terrain=((0.0, "#0E1117"), (0.5, "#272D3A"), (1.0, "#4D586D")),
)


def theme(dark: bool) -> Theme:
    """The colours of the light or the dark page."""
    return _DARK if dark else _LIGHT


def sign_colour(value: float) -> str:
    """Blue for supports (≥ 0), vermillion for works against."""
    return SUPPORTS if value >= 0 else AGAINST


def fade(colour: str, alpha: float) -> str:
    """`#rrggbb` as rgba with the given opacity."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def method_of(name: str) -> str | None:
    """The known method that a series name starts with (`eap-gp (unit)` → `eap-gp`), or None."""
    lowered = name.strip().lower()
    fits = [key for key in METHOD_STYLES if lowered == key or lowered.startswith((key + " ", key + "(", key + ","))]
    return max(fits, key=len) if fits else None


def line_styles(names: Sequence[str]) -> list[LineStyle]:
    """A style per series. A method always has its own; its second variant in one figure differs.

    `["eap-gp (relative)", "eap-gp (unit)"]`: the first is the colour of `eap-gp`, the second a
    relative of it with another dash and symbol. Names that are no method take the palette in order.
    """
    seen: dict[str, int] = {}
    styles: list[LineStyle] = []
    taken = {METHOD_STYLES[method].colour for name in names if (method := method_of(name))}
    free = [style for style in _OTHERS if style.colour not in taken] or list(_OTHERS)
    for name in names:
        method = method_of(name)
        key = method or ""
        count = seen.get(key, 0)
        seen[key] = count + 1
        if method is None:
            styles.append(free[count % len(free)])
        elif count == 0:
            styles.append(METHOD_STYLES[method])
        else:
            base = METHOD_STYLES[method]
            colours = _VARIANT_COLOURS.get(method, (base.colour,))
            dash, symbol = (row[(count - 1) % len(row)] for row in (_VARIANT_DASHES, _VARIANT_SYMBOLS))
            styles.append(LineStyle(colours[(count - 1) % len(colours)], dash, symbol))
    return styles


def escape(text: object) -> str:
    """Text that plotly draws literally: no tag, no entity, no formula, no template field."""
    plain = html.escape(str(text), quote=False)
    return plain.replace("$", "&#36;").replace("%{", "%&#123;")


def unescape(text: str) -> str:
    """Inverse of `escape`."""
    return html.unescape(text)


def token_label(token: object, *, limit: int = 16) -> str:
    """A token as an escaped label: leading space as `·`, line breaks as `⏎`, long ones cut."""
    text = str(token)
    if text[:1] in ("\u0120", "\u2581"):  # byte-level BPE and sentencepiece marks of a leading space
        text = " " + text[1:]
    text = text.replace("\u010a", "⏎").replace("\n", "⏎").replace("\t", "⇥")
    text = "".join(ch if ch.isprintable() else "\ufffd" for ch in text)
    if text[:1] == " ":
        text = "·" + text[1:]
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return escape(text)


_LEGEND = {
    "orientation": "h",
    "yref": "container",
    "y": 0,
    "yanchor": "bottom",
    "x": 0,
    "xanchor": "left",
    "bgcolor": "rgba(0,0,0,0)",
}


_NOTE_WIDTH = 50  # characters of a line under the title: as many as a phone shows, in wide fonts too


def _wrapped(text: str, width: int) -> str:
    """Escaped text broken into lines that fit a phone."""
    return "<br>".join(escape(line) for line in textwrap.wrap(text, width))


def apply(
    fig: go.Figure,
    *,
    title: str,
    read: str,
    x: str = "",
    y: str = "",
    note: str = "",
    dark: bool = False,
    height: int = 460,
) -> go.Figure:
    """Dress a figure in the common look; returns the same figure.

    title, x, y, note: plain text, escaped here. `note` stands under the title. `read` is one
    sentence on how to read the figure, kept in `fig.layout.meta["read"]`. x and y left empty
    leave the axis titles as they are (for figures with several panels).
    """
    look = theme(dark)
    text = _wrapped(title, 36)
    heading: dict[str, Any] = {"text": text, "x": 0.012, "xref": "container", "xanchor": "left"}
    heading |= {"font": {"size": 19, "color": look.text}, "yref": "container", "y": 0.97, "yanchor": "top"}
    heading["automargin"] = True
    if note:
        heading["subtitle"] = {"text": _wrapped(note, _NOTE_WIDTH), "font": {"size": 13, "color": look.muted}}
    top = 40 + 22 * (text.count("<br>") + 1)
    top += 18 * (_wrapped(note, _NOTE_WIDTH).count("<br>") + 1) if note else 0
    values: dict[str, Any] = {
        "title": heading,
        "meta": {"read": read},
        "height": height,
        "font": {"family": FONT, "size": 14, "color": look.text},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 64, "r": 24, "t": top, "b": 56},
        "hoverlabel": {"bgcolor": look.hover, "font": {"family": FONT, "size": 14, "color": look.text}},
        "legend": dict(_LEGEND),
        "hovermode": "closest",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": look.muted, "activecolor": look.text},
    }
    shared: dict[str, Any] = {"gridcolor": look.grid, "linecolor": look.muted, "tickcolor": look.muted}
    shared |= {"zerolinecolor": look.grid, "zerolinewidth": 1.5, "automargin": True, "tickfont": {"size": 13}}
    for axes, label in ((fig.select_xaxes(), x), (fig.select_yaxes(), y)):
        for axis in axes:
            words = {"text": escape(label)} if label and axis.overlaying is None else {}
            values[axis.plotly_name] = {**shared, "title": {"standoff": 10, "font": {"size": 15}, **words}}
    return set_layout(fig, **values)


def set_layout(fig: go.Figure, **values: Any) -> go.Figure:
    """`fig.update_layout(**values)` for nested plain values, in a fraction of its time; returns the same figure.

    Plotly walks to every leaf of an update by its path and sends each one off; here each value is set once, whole.
    """
    for name, value in values.items():
        before = fig.layout[name] if isinstance(value, Mapping) and name in fig.layout else None
        merge = hasattr(before, "to_plotly_json")
        fig.layout[name] = _merged(before.to_plotly_json(), value) if merge else value  # type: ignore[union-attr]
    return fig


def _merged(before: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """What stands, with the new values over it, at every depth."""
    both = dict(before)
    for name, value in values.items():
        nested = isinstance(value, Mapping) and isinstance(both.get(name), dict)
        both[name] = _merged(both[name], value) if nested else value
    return both


def colour_bar(
    title: str, *, ticks: tuple[Iterable[float], Iterable[str]] | None = None, **extra: Any
) -> dict[str, Any]:
    """A slim colour bar with its title on its side, or over it where it lies."""
    bar: dict[str, Any] = {"title": {"text": escape(title), "side": "right"}, "thickness": 14, "outlinewidth": 0}
    if extra.get("orientation") == "h":
        bar |= {"title": {"text": escape(title), "side": "top", "font": {"size": 12.5}}, "tickfont": {"size": 12.5}}
    if ticks is not None:
        bar |= {"tickmode": "array", "tickvals": list(ticks[0]), "ticktext": list(ticks[1])}
    return bar | extra


CURRENT = "current"
"""Name of shapes and annotations that mark the current step, for a page that moves them itself."""


def hover(values: Any, form: Callable[[float], str] = score) -> Any:
    """Numbers as texts for a hover, in lists of the same shape; NaN is blank.

    Plotly writes the numbers of a hover with a hyphen for a minus sign, whatever their form.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim:
        return [hover(part, form) for part in array]
    return "" if np.isnan(array) else form(float(array))


def shares(values: Any, digits: int = 1) -> Any:
    """Shares as texts for a hover, `61.2 %`."""
    return hover(values, partial(percent, digits=digits))


def rule(fig: go.Figure, axis: Literal["x", "y"], value: float, **looks: Any) -> None:
    """A line across the only panel at a value of an axis: `fig.add_vline` or `add_hline` in a fraction of the time."""
    other = "y" if axis == "x" else "x"
    ends = {f"{axis}0": value, f"{axis}1": value, f"{other}0": 0, f"{other}1": 1}
    fig.add_shape(type="line", **ends, **{f"{axis}ref": axis, f"{other}ref": f"{other} domain"}, **looks)


def mark_x(fig: go.Figure, value: float, label: str, *, dark: bool, log: bool = False, inside: bool = False) -> None:
    """A dotted vertical line with a label: the current size or step.

    The label stands above the panel, or at its foot where the top holds a second axis (`inside`).
    """
    look = theme(dark)
    rule(fig, "x", value, line={"color": look.text, "width": 1.5, "dash": "dot"}, name=CURRENT)
    position = math.log10(value) if log else value
    fig.add_annotation(
        x=position,
        y=0 if inside else 1,
        yref="y domain",
        yanchor="bottom",
        xanchor="left",
        xshift=5 if inside else -4,
        text=escape(label),
        name=CURRENT,
        showarrow=False,
        font={"size": 13, "color": look.text},
        bgcolor=look.hover,
        opacity=0.85,
    )
