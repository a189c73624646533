"""Which run the Path page shows where nobody has chosen one: a bundled one whose GradPath approaches what it heads for.

The settings stay as they are; a choice beside the picture leads back to their own run. Nothing is computed.
"""

from __future__ import annotations

import numpy as np
import streamlit as st

from eapgp import findings
from eapgp.findings import Finding
from eapgp.runs.info import RunInfo
from eapgp.ui.base.session import Session
from eapgp.ui.library import results
from eapgp.ui.path.picture import Records
from eapgp.ui.sidebar.settings import FIELDS, NAMES, prompts_title

HALF = 0.5  # a GradPath that comes nearer on no more of its pairs is not opened on
METHOD = "eap-gp"


def other_run(session: Session, own: RunInfo) -> RunInfo | None:
    """The run to show in place of the settings' own, where nobody has chosen and their path moves away; else None.

    A link that names settings chooses them.
    """
    if any(session.linked(name) for name in NAMES if name != "model"):
        session["walk"] = "own"
    changed = any(session[field.name] != field.default for field in FIELDS if field.name != "model")
    if changed or session["run"] or nearer(own) > HALF:
        return None
    bundled = [one for one in results.shelf().cards() if one.example and one.method == METHOD and one.has_path]
    same = [one for one in bundled if one.model == own.model and one.untrained == own.untrained]
    best = max(same, key=nearer, default=None)
    return best if best is not None and nearer(best) > HALF else None


@st.cache_resource(max_entries=256, show_spinner=False)
def _nearer(content: str, _card: RunInfo) -> float:
    record = results.attribution(_card).paths.get("gradpath")
    return 0.0 if record is None else float(np.mean(record.descended()))


def nearer(card: RunInfo) -> float:
    """The share of a run's pairs on which its GradPath came nearer to the corrupted output."""
    return _nearer(card.run.content, card)


def choice_row(session: Session, own: RunInfo, other: RunInfo | None) -> None:
    """The choice between the two, where there is one."""
    if other is None:
        return
    titles = {"near": prompts_title(other.task), "own": prompts_title(own.task)}
    session.widget("walk", st.selectbox, format_func=titles.__getitem__, width=250)


def finding(records: Records, pair: int | None, shown: RunInfo, own: RunInfo) -> Finding:
    """What the path did, and on what where that is not what the settings name."""
    said = findings.of_path(records["gradpath"] if "gradpath" in records else records["straight"], pair)
    if shown is own:
        return said
    on = round(nearer(own) * own.n_pairs)
    here, there = prompts_title(shown.task), prompts_title(own.task)
    remark = f"On {here.lower()}; on {there.lower()} it came nearer on {on} of {own.n_pairs}."
    return Finding(said.text, said.numbers, remark)
