"""What stands around every page: title, logo and navigation.

Streamlit serves the scripts of a folder named `pages` by itself until an app has called
`st.navigation` once. A link to a page that is the very first request of a server therefore runs that
page's script alone, so each page begins with `ensure()`, which then runs the whole app instead.
"""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from eapgp.ui.base.routes import PAGES, page_file
from eapgp.ui.shell import brand, jobs_bar, theme_watch

ENTRY = "app.py"
_framed: ContextVar[bool] = ContextVar("eapgp-framed", default=False)


def run() -> None:
    """Draw the frame and the page that the address names."""
    dark = st.context.theme.type == "dark"
    st.set_page_config(page_title="eapgp", page_icon=brand.mark(dark=dark), layout="wide", initial_sidebar_state=310)
    st.html(brand.STYLE)
    st.logo(brand.wordmark(dark=dark), size="large", icon_image=brand.mark(dark=dark))
    pages = [
        st.Page(page_file(name), title=title, icon=icon, default=place == 0, url_path=None if place == 0 else name)
        for place, (name, title, icon) in enumerate(PAGES)
    ]
    page = st.navigation(pages, position="top")
    token = _framed.set(True)
    try:
        theme_watch.draw()
        page.run()
        jobs_bar.draw()
    finally:
        _framed.reset(token)


def ensure() -> None:
    """Run the whole app in place of a page's script that was started without it."""
    if _framed.get() or not _entered_by_app():
        return
    run()
    st.stop()


def _entered_by_app() -> bool:
    context = get_script_run_ctx()
    return context is not None and Path(context.main_script_path).name == ENTRY
