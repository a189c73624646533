"""The settings as one line that opens the sidebar: a small component, since only a browser can open it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

KEY = "settings-chip"
HEIGHT = 32  # px; given beforehand, so that the page does not move when it is drawn
_SCRIPT = Path(__file__).with_suffix(".js")
_STYLE = """
button {
  font: inherit; font-size: 0.86rem; color: var(--st-text-color); background: var(--st-secondary-background-color);
  border: 1px solid var(--st-border-color); border-radius: 999px; padding: 0 0.75rem; height: 28px; max-width: 100%;
  display: inline-flex; gap: 0.6rem; align-items: center; white-space: nowrap; cursor: pointer;
}
span { overflow: hidden; text-overflow: ellipsis; }
button:hover, button:focus-visible { border-color: var(--st-primary-color); outline-color: var(--st-primary-color); }
b { font-weight: 600; color: var(--st-link-color); }
"""


def chip(text: str) -> None:
    """Draw the line; pressing it opens the sidebar and puts the focus on the first setting."""
    _component()(key=KEY, data={"text": text}, height=HEIGHT, width="stretch")


@cache
def _component() -> Callable[..., Any]:
    return st.components.v2.component("eapgp_settings_chip", css=_STYLE, js=_SCRIPT.read_text(encoding="utf-8"))
