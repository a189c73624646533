"""Prompts: what the model reads, and what it answers."""

import streamlit as st

from eapgp.ui.base.draw import guard
from eapgp.ui.base.session import Session
from eapgp.ui.prompts import own as prompts_own
from eapgp.ui.prompts import page as prompts
from eapgp.ui.prompts import views
from eapgp.ui.shell import frame
from eapgp.ui.sidebar import panel, status

frame.ensure()

session = Session("prompts", prompts.FIELDS)
prompts.couple(session)
spec = panel.open_panel(session).spec

st.title("Prompts", anchor=False)
st.caption("Pairs of a clean prompt and a corrupted twin: what the model reads, and what it answers.")
status.say_problems(session)
session.widget(
    "source",
    st.segmented_control,
    "Prompts",
    options=list(prompts.SOURCES),
    format_func=prompts.SOURCES.__getitem__,
    required=True,
)
shown = None
with guard("The prompts"):
    if session["source"] == "task":
        prompts.about(str(session["task"]))
        prompts.kept_sets(session)
        shown = prompts.pairs_on_the_left(session, spec)
    else:
        pairs = prompts_own.own_pairs()
        shown = prompts.own(session, spec, pairs) if pairs is not None else prompts.no_own_pairs()
if shown is not None:
    with guard("What the model makes of these prompts"):
        prompts.metric_line(shown.metric)
        seen = prompts.seen_by_the_model(shown)
        if seen is not None:
            prompts.readout(seen, shown.metric, len(shown.prompts))
            prompts.use(session, shown, seen)
            prompts.hand_to_run(session, shown, seen)
        opened, tabs = session.tabs("tab", prompts.tab_labels(seen))
        with tabs[opened], guard(prompts.TABS[opened]):
            if opened == "word":
                views.word(session, spec.model)
            elif opened == "metrics":
                views.metrics(shown.metric)
            elif opened == "pairs":
                views.pairs_and_one(session, shown, seen)
            elif seen is None:
                st.caption("Appears when the model has run.")
            elif opened == "problems":
                views.problems(session, seen, own=shown.own)
            else:
                views.made(shown, seen)
session.write()
