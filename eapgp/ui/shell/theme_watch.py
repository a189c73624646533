"""One more run of the script where the browser shows another theme than the script was told of.

A switch of the theme (in the menu, or the system's) makes Streamlit recolour its own parts and send
nothing to the server; `st.context.theme` follows with the next run only. The component here is empty
and takes no space; it compares the two and asks for that run, once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

KEY = "theme-watch"
SCRIPT = Path(__file__).with_suffix(".js")
STYLE = f"<style>[data-testid=stLayoutWrapper]:has(> .st-key-{KEY}) {{ display: none; }}</style>"


def draw() -> None:
    """Keep what Python colours in the theme that the browser shows; once per run of the script."""
    st.html(STYLE)
    with st.container(key=KEY):
        _component()(key=f"{KEY}-script", data={"told": st.context.theme.type}, on_switched_change=_nothing)


def _nothing() -> None:
    """Streamlit knows a trigger only where a callback stands."""


@cache
def _component() -> Callable[..., Any]:
    return st.components.v2.component("eapgp_theme_watch", js=SCRIPT.read_text(encoding="utf-8"))
