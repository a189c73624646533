"""Runs: everything that was computed."""

import streamlit as st

from eapgp.ui.base.draw import guard
from eapgp.ui.base.session import Session
from eapgp.ui.library import results
from eapgp.ui.runs import details, fields, lists
from eapgp.ui.shell import frame
from eapgp.ui.sidebar import status

frame.ensure()

session = Session("runs", fields.FIELDS)

st.title("Runs", anchor=False)
st.caption("Everything that was computed: by this dashboard, by the command line, and the bundled examples.")
status.say_problems(session)
with guard("The library"):
    lists.live_jobs()
    details.undo()
    query, show = lists.controls(session)
    cards = lists.matching(results.shelf().cards(), query, show)
    lists.listings(session, cards, lists.files_matching(query, show), show, query)
    details.unreadable()
with guard("The selection"):
    details.selection(session)
with guard("The import"):
    details.bring_in()
with guard("The disk"):
    details.disk()
    lists.watch()
session.write()
