"""The browser code of the circuit view, read from the files beside this one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent

# In the order in which they build on each other; together they are one JavaScript module.
MODULES = (
    "graph.js",
    "layout.js",
    "dom.js",
    "scene.js",
    "camera.js",
    "minimap.js",
    "about.js",
    "groups.js",
    "tooltip.js",
    "legend.js",
    "toolbar.js",
    "keyboard.js",
    "export.js",
    "view.js",
    "highlight.js",
    "actions.js",
    "editing.js",
    "panes.js",
    "bridge.js",
)


@cache
def view_js() -> str:
    """One ES module whose default export draws the view into `parentElement`."""
    return "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in MODULES)


@cache
def view_css() -> str:
    """The style sheet; colours and fonts come from the `--st-*` variables."""
    return (FOLDER / "view.css").read_text(encoding="utf-8")
