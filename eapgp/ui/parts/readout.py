"""The faithfulness of exactly the circuit on screen, measured in the background.

A number is drawn only beside the circuit it belongs to. While a new circuit runs, the row says what
the last one had, and the picture dims the row in the browser from the moment the slider moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import streamlit as st

from eapgp.attribution.registry import carried
from eapgp.circuits.circuit import Circuit
from eapgp.evaluation.runner import Measured
from eapgp.metrics import metric_title
from eapgp.numerals import decimal, signed
from eapgp.runs.info import RunInfo
from eapgp.runs.spec import PATCHING
from eapgp.ui.base.draw import plain
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import end, poll, progress_text
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.library import measure
from eapgp.ui.library.consent import may_run

KEY = "readout"
SELECTOR = f".st-key-{KEY}"
_LAST = "eapgp-readout"
_SMALL = f"""<style>
{SELECTOR} [data-testid="stMetricLabel"] {{ font-size: 0.78rem; min-height: 0; }}
{SELECTOR} [data-testid="stMetricLabel"] p {{ font-size: 0.78rem; }}
{SELECTOR} [data-testid="stMetricValue"] {{ font-size: 1.05rem; line-height: 1.3; padding: 0; }}
{SELECTOR} [data-testid="stMetricDelta"] {{ font-size: 0.76rem; }}
</style>"""
PATIENCE = 0.4  # seconds that the page waits for the number: a quick one comes with this run, not with another


@dataclass(frozen=True)
class Reading:
    """What the row can say about a circuit. faithfulness, unedited: None until they are measured."""

    card: RunInfo
    circuit: Circuit
    measured: Measured | None = None
    unedited: float | None = None

    @property
    def value(self) -> float | None:
        """Faithfulness; NaN where it is undefined."""
        return None if self.measured is None else self.measured.faithfulness[0]


def readout(card: RunInfo, circuit: Circuit, unedited: Circuit | None = None) -> None:
    """Measure the circuit and draw the row. unedited: the circuit before edits, to tell the difference."""
    if not card.n_pairs:
        st.caption("These scores were imported without prompts, so the circuit cannot be run on a model here.")
        return
    if measure.known(card, [circuit]) is not None:
        measure.warm_up(card)
    elif not may_run(card, "Measure the faithfulness of this circuit", key="readout-run"):
        return
    label = f"{circuit.n_kept} edges of {card.task}"
    job_id = measure.submit_circuits(card, [circuit], label, slot=server.session_slot(KEY))
    before = _submit_unedited(card, unedited) if unedited is not None else ""
    job = server.manager().wait(job_id, PATIENCE)
    if job is None:
        st.caption("This result is no longer kept. Change something to ask again.")
    elif job.live:
        poll(job_id, lambda now: _wait(now, card, circuit), every=0.25)
    elif job.state == "done":
        job_before = server.manager().soon(before) if before else None
        base = job_before.result.faithfulness[0] if job_before is not None and job_before.state == "done" else None
        reading = Reading(card, circuit, job.result, base)
        st.session_state[_LAST] = (card.id, reading.value, circuit.n_kept)
        _row(reading)
        if weak := job.result.band().reason:
            st.caption(f":material/warning: {plain(weak)}")
    else:
        end(job, lambda _job: None)


def _submit_unedited(card: RunInfo, circuit: Circuit) -> str:
    label = f"{circuit.n_kept} edges of {card.task}, unedited"
    return measure.submit_circuits(card, [circuit], label, slot=server.session_slot("unedited"))


def _wait(job: JobView, card: RunInfo, circuit: Circuit) -> None:
    _row(Reading(card, circuit))
    st.caption(f"Running this circuit on the model · {plain(progress_text(job))}")


def _row(reading: Reading) -> None:
    card, measured = reading.card, reading.measured
    st.html(_SMALL)
    with st.container(horizontal=True, gap="xsmall", key=KEY):
        _faithfulness(reading)
        st.metric(
            "Metric",
            "…" if measured is None else decimal(measured.metric[0]),
            help=f"{metric_title(card.metric)} of the circuit, mean over {card.n_pairs} pairs, with only its edges "
            "carrying the clean run.",
            width="content",
        )
        st.metric(
            "Clean",
            "…" if measured is None else decimal(measured.clean),
            help="The metric of the whole model on the clean prompts.",
            width="content",
        )
        patched = card.intervention == PATCHING
        st.metric(
            "Corrupted" if patched else "Every edge cut",
            "…" if measured is None else decimal(measured.corrupted),
            help="The same on the corrupted prompts."
            if patched
            else f"The same with every edge carrying {carried(card.intervention)}: the lower end of the scale.",
            width="content",
        )


def _faithfulness(reading: Reading) -> None:
    value, unedited, intervention = reading.value, reading.unedited, reading.card.intervention
    low = "corrupted" if intervention == PATCHING else "every edge cut"
    delta = None
    if value is None:
        card_id, last, last_size = st.session_state.get(_LAST, ("", None, 0))
        if card_id == reading.card.id and last is not None and not math.isnan(last):
            delta = f"was {decimal(last)} with {last_size:,} edges"
    elif unedited is not None and not math.isnan(value) and not math.isnan(unedited):
        delta = f"{signed(value - unedited)} by your edits"
    st.metric(
        "Faithfulness",
        "…" if value is None else decimal(value),
        delta=delta,
        delta_color="off" if value is None else "normal",
        delta_arrow="off",
        help=f"How much of the behaviour this circuit alone keeps: (M(circuit) − M({low})) / (M(clean) − "
        f"M({low})). Every edge outside it carries {carried(intervention)}. 1 = all of it, 0 = none; it can "
        "exceed 1 where edges that work against the behaviour are left out. “…” while a new circuit is measured.",
        width="content",
    )
