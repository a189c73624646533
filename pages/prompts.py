"""Prompts: what the model reads, and what it answers."""

import streamlit as st

from eapgp.ui.base.draw import guard, reserved
from eapgp.ui.base.session import Session
from eapgp.ui.parts import head
from eapgp.ui.prompts import fields, own, pairs, views
from eapgp.ui.shell import frame
from eapgp.ui.sidebar import panel

frame.ensure()

session = Session("prompts", fields.FIELDS)
pairs.couple(session)
spec = panel.open_panel(session).spec

say = head.head("Prompts", session)
session.widget(
    "source",
    st.segmented_control,
    "Prompts",
    options=list(fields.SOURCES),
    format_func=fields.SOURCES.__getitem__,
    required=True,
)
selection = None
with guard("The prompts"):
    if session["source"] == "task":
        pairs.kept_sets(session)
        selection = pairs.pairs_on_the_left(session, spec)
    else:
        own_pairs = own.own_pairs()
        selection = pairs.own(session, spec, own_pairs) if own_pairs is not None else pairs.no_own_pairs()
if selection is not None:
    with guard("What the model makes of these prompts"):
        with reserved("prompts-seen", pairs.READOUT_HEIGHT):
            seen = pairs.seen_by_the_model(selection)
            if seen is not None:
                say(pairs.finding(selection, seen))
                pairs.readout(seen, selection.metric, len(selection.prompts))
                pairs.use(session, selection, seen)
                pairs.hand_to_run(session, selection, seen)
        opened, tabs = session.tabs("tab", pairs.tab_labels(seen))
        with tabs[opened], guard(fields.TABS[opened]):
            if opened == "word":
                views.word(session, spec.model)
            elif opened == "metrics":
                views.metrics(selection.metric)
            elif opened == "pairs":
                views.pairs_and_one(session, selection, seen)
            elif seen is None:
                st.caption("Appears when the model has run.")
            elif opened == "problems":
                views.problems(session, seen, own=selection.own)
            else:
                views.made(selection, seen)
        if session["source"] == "task":
            pairs.about(str(session["task"]))
        pairs.metric_line(selection.metric)
session.write()
