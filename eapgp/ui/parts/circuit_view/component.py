"""Mounting the circuit view in a page, and what comes back from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import streamlit as st

from eapgp.figures.circuit_view import ViewPayload, view_css, view_js

DEFAULT_HEIGHT = 640
LOWEST = 300
"""px of a view whose height follows the window's, as in view.js."""
NAME = "eapgp_circuit_view"
ABOUT = {
    "title": ".st-key-page-head h1",
    "value": ".st-key-readout [data-testid=stMetric]",
    "style": ".eapgp-pair{",
    "parts": ".st-key-page-head .eapgp-pair, .st-key-page-head .eapgp-finding",
}
"""Where the page says what it is about: shown inside a graph that fills the screen in presenter mode."""
ROWS = ("usual", "all", "used")
"""Rows of layers without a node of the circuit: as the graph's depth asks for, drawn, or folded away."""


@dataclass(frozen=True)
class Selection:
    """A chosen node (`a0.h1`), edge (`m0->a1.h0<v>`) or group of nodes."""

    type: Literal["node", "edge", "group"]
    name: str


@dataclass(frozen=True)
class ViewState:
    """What the user has done in one circuit view; None or empty until they have done it.

    n: committed slider value. selected, kept, shown: edges selected, left after pruning, and left
    after the filters. zoom: `{k, x, y}`, or None while everything is shown. stamp: milliseconds at
    which the selection was made, to tell which of several linked panes was used last. rows: one of
    `ROWS`. added, removed, excluded: edits, as names.
    """

    selection: Selection | None = None
    pins: tuple[str, ...] = ()
    stamp: float = 0.0
    n: int | None = None
    selected: int | None = None
    kept: int | None = None
    shown: int | None = None
    zoom: dict[str, float] | None = None
    filters: dict[str, Any] = field(default_factory=dict)
    groups: tuple[dict[str, Any], ...] = ()
    trace: bool = False
    rows: str = "usual"
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> ViewState:
        """From the component's raw state, which a browser sends and is not trusted to be well formed."""
        select, view, edit = (_mapping(state.get(name)) for name in ("select", "view", "edit"))
        return cls(
            selection=_selection(select.get("selection")),
            pins=_names(select.get("pins")),
            stamp=float(_number(select.get("stamp")) or 0.0),
            n=_whole(view.get("n")),
            selected=_whole(view.get("selected")),
            kept=_whole(view.get("kept")),
            shown=_whole(view.get("shown")),
            zoom=_zoom(view.get("zoom")),
            filters=dict(_mapping(view.get("filters"))),
            groups=tuple(dict(group) for group in _items(view.get("groups")) if isinstance(group, Mapping)),
            trace=view.get("trace") is True,
            rows=view["rows"] if view.get("rows") in ROWS else "usual",
            added=_names(edit.get("added")),
            removed=_names(edit.get("removed")),
            excluded=_names(edit.get("excluded")),
        )


def circuit_view(
    payload: ViewPayload | Sequence[ViewPayload],
    *,
    key: str,
    height: int = DEFAULT_HEIGHT,
    above: int = 0,
    on_select_change: Callable[[], None] | None = None,
    on_view_change: Callable[[], None] | None = None,
    on_edit_change: Callable[[], None] | None = None,
) -> ViewState:
    """Draw a circuit and return what the user has done in it.

    payload: from `build_payload`; several are drawn beside each other, under one toolbar. height: px of the component
    (of each of several, without the toolbar); above: px that stand above it in the window, so that it is as much lower
    where the window is. The callbacks run before the
    page when, respectively, the selection or pins, the slider, filters, groups or zoom, or an edit
    has changed; `st.session_state[key]` then holds the new state.
    """
    size: dict[str, Any] = {"height": int(height), "above": int(above), "about": ABOUT}
    data: dict[str, Any]
    if isinstance(payload, Mapping):
        data = {**payload, **size, "key": key}
    else:
        data = {"panes": [{**pane, **size, "key": f"{key}-{place}"} for place, pane in enumerate(payload)]}
    st.html(_room(key, height, above))
    result = _component()(
        key=key,
        data=data,
        on_select_change=on_select_change or _nothing,
        on_view_change=on_view_change or _nothing,
        on_edit_change=on_edit_change or _nothing,
    )
    return ViewState.of(result)


def _room(key: str, height: int, above: int) -> str:
    """A rule that keeps the component's place free before it is drawn; on phones its height is the drawing's."""
    least = f"max({LOWEST}px, min({height}px, 100dvh - {above}px))" if above else f"{height}px"
    return f"<style>@media (min-width: 641px) {{ .st-key-{key} {{ min-height: {least}; }} }}</style>"


def _nothing() -> None:
    """Streamlit keeps a state only where a callback stands."""


@cache
def _component() -> Callable[..., Any]:
    return st.components.v2.component(NAME, css=view_css(), js=view_js())


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _names(value: Any) -> tuple[str, ...]:
    return tuple(item for item in _items(value) if isinstance(item, str))


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _zoom(value: Any) -> dict[str, float] | None:
    numbers = {name: _number(_mapping(value).get(name)) for name in ("k", "x", "y")}
    return {name: float(v) for name, v in numbers.items() if v is not None} if None not in numbers.values() else None


def _selection(value: Any) -> Selection | None:
    entry = _mapping(value)
    kind, name = entry.get("type"), entry.get("name")
    if isinstance(name, str) and kind in ("node", "edge", "group"):
        return Selection(kind, name)
    return None
