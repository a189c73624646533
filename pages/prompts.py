"""Prompts: what the model reads, and what it answers."""

import streamlit as st

from eapgp.ui import frame, panel, prompts
from eapgp.ui.draw import guard
from eapgp.ui.session import Session
from eapgp.ui.settings import metric_of

frame.ensure()

session = Session("prompts", prompts.FIELDS)
shown = panel.open_panel(session)
spec = shown.spec

st.title("Prompts", anchor=False)
panel.say_problems(session)
session.widget(
    "source",
    st.segmented_control,
    "Prompts",
    options=["task", "own"],
    format_func={"task": "Made by the task", "own": "My own pairs"}.__getitem__,
    required=True,
)
with guard("The prompts"):
    if session["source"] == "task":
        prompts.about(str(spec.task))
        pairs = prompts.generated(spec)
        metric = metric_of({"task": session["task"], "metric": session["metric"]})
    else:
        pairs = prompts.own_pairs(spec)
        metric = pairs.metric if pairs is not None and session["metric"] == "task" else session["metric"]
    if pairs is not None:
        prompts.answers(session, spec, pairs, str(metric))
        prompts.download(pairs)
session.write()
