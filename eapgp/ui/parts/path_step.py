"""The step that is marked in the page's pictures: a small component, since the mark moves in the browser.

The server hears of a step a moment after it rests, within a fragment: the link follows, and no figure is sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from eapgp.ui.base.session import Session

KEY = "path-step"
HEIGHT, GAUGE_HEIGHT, LINE = 54, 26, 17  # px; given beforehand, so that the page does not move when it is drawn
_NARROW = ((1150, 1), (640, 2))  # px of a window below which the readings take so many more lines
_SCRIPT = Path(__file__).with_suffix(".js")
_HELP = "The step that is ringed in the picture and marked in the views below."
_STYLE = """
.row { display: flex; align-items: center; gap: 12px; font-size: 0.9rem; }
input { flex: 1; min-width: 80px; margin: 0; height: 24px; accent-color: var(--st-primary-color); cursor: pointer; }
output { min-width: 6.5em; text-align: right; font-variant-numeric: tabular-nums; }
button { font: inherit; color: var(--st-text-color); background: var(--st-secondary-background-color); cursor: pointer;
  border: 1px solid var(--st-border-color); border-radius: 6px; height: 28px; min-width: 76px; }
:is(button, input):focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }
p { margin: 2px 0 0; font-size: 0.82rem; line-height: 1.3; opacity: 0.75; min-height: 1.3em; }
.gauge { display: grid; grid-template-columns: 7em 1fr 9em; gap: 12px; align-items: center; height: 26px;
  font-size: 0.9rem; }
.gauge i { height: 14px; border: 1px solid var(--st-border-color); border-radius: 4px; overflow: hidden; }
.gauge i::before { content: ""; display: block; height: 100%; width: var(--share); background: var(--colour);
  transition: width 0.3s; }
.gauge span:last-child { text-align: right; font-variant-numeric: tabular-nums; }
@media (prefers-reduced-motion: reduce) { .gauge i::before { transition: none; } }
"""


@dataclass(frozen=True)
class Gauge:
    """A bar below the slider that fills as one walks. shares: by step, of the bar's length; texts: by step."""

    label: str
    colour: str
    shares: Sequence[float]
    texts: Sequence[str]


def step_bar(
    session: Session, last: int, readings: Sequence[str] = (), *, field: str = "at", gauges: Sequence[Gauge] = ()
) -> None:
    """Draw the slider. readings: what was measured at each step, shown below it; field: where the step is kept."""
    session.settle(field, min(session[field], last), f"a step from 0 to {last}")

    @st.fragment
    def bar() -> None:
        def moved() -> None:
            session[field] = min(max(int(st.session_state[KEY]["at"]), 0), last)

        data = {"at": session[field], "last": last, "readings": list(readings), "help": _HELP}
        bars = [asdict(gauge) for gauge in gauges]
        height = HEIGHT + GAUGE_HEIGHT * len(bars)
        if readings:
            st.html(_room(height))
        _component()(key=KEY, data={**data, "gauges": bars}, on_at_change=moved, height=height)
        session.write()

    bar()


def _room(height: int) -> str:
    """The style sheet that leaves readings as many lines as they take in a narrow window."""
    rules = (
        f"@media (max-width:{width}px){{.st-key-{KEY},.st-key-{KEY}>*{{min-height:{height + lines * LINE}px}}}}"
        for width, lines in _NARROW
    )
    return f"<style>{''.join(rules)}</style>"


@cache
def _component() -> Callable[..., Any]:
    return st.components.v2.component("eapgp_path_step", css=_STYLE, js=_SCRIPT.read_text(encoding="utf-8"))
