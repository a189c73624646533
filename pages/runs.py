"""Runs: everything that was computed."""

import streamlit as st

from eapgp.ui.base.draw import guard
from eapgp.ui.base.session import Session
from eapgp.ui.library import results
from eapgp.ui.runs import details as runs_details
from eapgp.ui.runs import page as runs
from eapgp.ui.shell import frame
from eapgp.ui.sidebar import status

frame.ensure()

session = Session("runs", runs.FIELDS)

st.title("Runs", anchor=False)
st.caption("Everything that was computed: by this dashboard, by the command line, and the bundled examples.")
status.say_problems(session)
with guard("The library"):
    runs.live_jobs()
    runs_details.undo()
    query, show = runs.controls(session)
    cards = runs.matching(results.shelf().cards(), query, show)
    runs.listings(session, cards, runs.files_matching(query, show), show, query)
    runs_details.unreadable()
with guard("The selection"):
    runs_details.selection(session)
with guard("The import"):
    runs_details.bring_in()
with guard("The disk"):
    runs_details.disk()
    runs.watch()
session.write()
