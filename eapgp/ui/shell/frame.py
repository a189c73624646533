"""What stands around every page: title, logo and navigation, what is being computed, and the theme.

Streamlit serves the scripts of a folder named `pages` by itself until an app has called
`st.navigation` once. A link to a page that is the very first request of a server therefore runs that
page's script alone, so each page begins with `ensure()`, which then runs the whole app instead.

- At the foot of every page's sidebar stands what is being computed on this server, with ways to stop it.
- A switch of the theme (in the menu, or the system's) makes Streamlit recolour its own parts and send
  nothing to the server; `st.context.theme` follows with the next run only. An empty component, which takes no space,
  compares the two and asks for that run, once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from eapgp.ui.base import visitor
from eapgp.ui.base.draw import curtain, plain
from eapgp.ui.base.fields import PRESENT
from eapgp.ui.base.policy import policy
from eapgp.ui.base.routes import PAGES, page_file
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import progress_text, stop_button, watch
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.shell import brand
from eapgp.ui.sidebar.panel import OWN_JOB

ENTRY = "app.py"
ABOUT = "Finds circuits in language models with EAP, EAP-IG and EAP-GP.\n\n**P** turns presenter mode on and off."
_framed: ContextVar[bool] = ContextVar("eapgp-framed", default=False)


def run() -> None:
    """Draw the frame and the page that the address names."""
    dark = st.context.theme.type == "dark"
    st.set_page_config(
        page_title="eapgp",
        page_icon=brand.mark(dark=dark),
        layout="wide",
        initial_sidebar_state=310,
        menu_items={"About": ABOUT},
    )
    st.html(brand.STYLE)
    st.logo(brand.wordmark(dark=dark), size="large", icon_image=brand.mark(dark=dark))
    pages = [
        st.Page(page_file(name), title=title, default=place == 0, url_path=None if place == 0 else name)
        for place, (name, title, _) in enumerate(PAGES)  # without icons, so that all fit beside the sidebar
    ]
    page = st.navigation(pages, position="top")
    token = _framed.set(True)
    try:
        with curtain("page"):
            page.run()
            _presenter()
        _jobs_bar()
        _watch_theme()  # last: until the browser has what hides it, it takes a line of the page
        if policy().public:
            _keep_visitor()
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


PATIENCE = 1.5  # seconds: what is over sooner needs no line
EVERY = 5.0  # seconds between two looks, of everybody who has a page open
MOST_LISTED = 4
"""Jobs that are listed one by one, the oldest first; the line above them counts all."""


def _jobs_bar() -> None:
    """The list of jobs, where there is something to list; it keeps itself up to date without touching the page."""
    if _listed():
        with st.sidebar, st.container(key="jobs-bar"):
            own = st.session_state.get(OWN_JOB, "")
            watch(lambda: _list(own), lambda: not _listed(), every=EVERY)


def _listed() -> list[JobView]:
    """Live jobs but the quick ones."""
    waiting = [job for job in server.manager().live() if job.state == "queued" or job.seconds > PATIENCE]
    return [job for job in waiting if not job.id.startswith("stored-")]


def _list(own: str) -> None:
    jobs = _listed()
    if not jobs:
        return
    st.markdown(f"**{len(jobs)} job{'s' if len(jobs) != 1 else ''}** · {_in_words(jobs)}")
    others = [job for job in jobs if job.id != own]  # its own progress stands further up
    for job in others[:MOST_LISTED]:
        st.progress(job.fraction, text=f"{plain(job.label)} · {progress_text(job)}")
        help = f"Stop: {plain(job.label)}. It stops for everybody who waits for it."
        stop_button(job, key=f"bar-cancel-{job.id}", help=help, type="tertiary")
    if len(others) > MOST_LISTED:
        st.caption(f"… and {len(others) - MOST_LISTED} more, listed as these end.")


def _in_words(jobs: list[JobView]) -> str:
    running = sum(job.state == "running" for job in jobs)
    parts = [f"{running} running" if running else "", f"{len(jobs) - running} waiting" if running < len(jobs) else ""]
    return ", ".join(part for part in parts if part)


THEME_KEY = "theme-watch"
THEME_SCRIPT = Path(__file__).with_name("theme_watch.js")
PRESENTER_KEY = "presenter-script"
PRESENTER_SCRIPT = Path(__file__).with_name("presenter.js")
PRESENTER_STYLE = """button { padding: 3px 10px; font: inherit; font-size: 0.82rem; white-space: nowrap;
cursor: pointer; color: var(--st-text-color); background: var(--st-background-color); border-radius: 999px;
border: 1px solid color-mix(in srgb, var(--st-text-color) 22%, var(--st-background-color)); }
button:hover, button[aria-pressed="true"] { border-color: var(--st-primary-color); }
button:focus-visible { outline: 2px solid var(--st-primary-color); }"""
VISITOR_KEY = "visitor"
VISITOR_SCRIPT = Path(__file__).with_name("visitor.js")
THEME_STYLE = "".join(
    f"<style>[data-testid=stLayoutWrapper]:has(> .st-key-{key}) {{ display: none; }}</style>"
    for key in (THEME_KEY, VISITOR_KEY)
)


def _watch_theme() -> None:
    """Keep what Python colours in the theme that the browser shows; once per run of the script."""
    st.html(THEME_STYLE)
    data = {"told": st.context.theme.type}
    with st.container(key=THEME_KEY):
        watcher = _component("eapgp_theme_watch", THEME_SCRIPT)
        watcher(key=f"{THEME_KEY}-script", data=data, on_switched_change=_nothing)


def _presenter() -> None:
    """The button and the key of presenter mode."""

    def turned() -> None:
        Session.hand_over(present=bool(st.session_state[PRESENTER_KEY]["turned"]))

    # Of no size until the style sheet is there and puts it into the corner: nothing is seen to move.
    with st.container(key="presenter", width=1, height=1, border=False):
        button = _component("eapgp_presenter", PRESENTER_SCRIPT, PRESENTER_STYLE)
        button(
            key=PRESENTER_KEY,
            data={"on": bool(Session.stored("present", False)), "help": f"{PRESENT} Esc or P leaves."},
            on_turned_change=turned,
        )


def _keep_visitor() -> None:
    """Leave the visitor's key in the browser, which brings it along from now on."""
    with st.container(key=VISITOR_KEY):
        _component("eapgp_visitor", VISITOR_SCRIPT)(
            key=f"{VISITOR_KEY}-script", data={"name": visitor.COOKIE, "key": visitor.key()}
        )


def _nothing() -> None:
    """Streamlit knows a trigger only where a callback stands."""


@cache
def _component(name: str, script: Path, style: str = "") -> Callable[..., Any]:
    return st.components.v2.component(name, css=style or None, js=script.read_text(encoding="utf-8"))
