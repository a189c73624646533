"""Runs: everything that was computed."""

import streamlit as st

from eapgp.ui import frame, panel, runs, services
from eapgp.ui.draw import guard
from eapgp.ui.session import Session

frame.ensure()

session = Session("runs", runs.FIELDS)

st.title("Runs", anchor=False)
panel.say_problems(session)
with guard("The library"):
    runs.live_jobs()
    runs.undo()
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    with left:
        query = session.widget("find", st.text_input, "Search", placeholder="ioi eap-gp, or method=exact", live=True)
    with right:
        show = session.widget(
            "show",
            st.segmented_control,
            "Show",
            options=["all", "own", "examples"],
            format_func={"all": "All", "own": "Mine", "examples": "Examples"}.__getitem__,
            required=True,
        )
    cards = runs.matching(services.shelf().cards(), query, show)
    if cards:
        picked = runs.listing(session, cards)
        if picked is not None:
            with guard("This run"):
                runs.details(picked)
    else:
        st.info("No run fits. Clear the search, or compute one on the Explore page.", icon=":material/search_off:")
    with guard("The import"):
        runs.bring_in()
    runs.disk()
session.write()
