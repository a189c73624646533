"""Ground truth: do the scores find a circuit that is known?"""

import streamlit as st

from eapgp.ui.base.draw import guard
from eapgp.ui.base.session import Session
from eapgp.ui.ground_truth import candidates, exports, fields, offers, views
from eapgp.ui.parts import head
from eapgp.ui.parts.bound_view import bound_view, picker
from eapgp.ui.parts.circuit_view import circuit_view
from eapgp.ui.shell import frame
from eapgp.ui.sidebar import panel

frame.ensure()

session = Session("ground_truth", fields.FIELDS)
settings = panel.open_panel(session)

say = head.head("Ground truth", session)
with guard("The comparison"):
    choice = st.container(horizontal=True, vertical_alignment="bottom", key="truth-choice")
    figure = st.container()
    rankings = st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="truth-scores")
    with choice:
        truth = candidates.choose_known(session)
        scorings = candidates.candidates(truth)
        if not truth.exact and scorings:
            with st.popover("Add scores", icon=":material/upload_file:", help="Import files of edge scores."):
                offers.importer(session, truth, key="truth-upload")
    with rankings:
        compared = candidates.choose(session, truth, scorings) if scorings else []
        if compared:
            session.widget("mlps", st.toggle, width="content")
            session.widget("signed", st.toggle, width="content")
    if not compared:
        with choice:
            offers.planted_progress(truth, len(scorings))
        say(views.nothing_scored(truth))
        with figure, guard("The known circuit"):
            payload = views.known_payload(session, truth)
            circuit_view(payload, key=f"truth-known-{truth.name}", height=600, above=views.ABOVE)
        offers.say_missing(session, truth, settings.card, loud=True)
        offers.nothing_to_compare(session, truth)
        exports.made(truth, None, 1, signed=False, mlps=True)
    else:
        with choice:
            scored, k = candidates.drawn(session, truth, compared)
            offers.planted_progress(truth, len(scorings))
        how = {"signed": session["signed"], "mlps": session["mlps"]}
        circuit = candidates.circuit_at(scored, k, signed=how["signed"])
        say(views.finding(truth, scored, circuit))
        with figure, guard("The circuit"):
            payload = views.payload_of(session, truth, scored, k)
            bound_view(session, payload, key="truth-circuit", height=640, above=views.ABOVE)
        views.caution(truth, compared)
        offers.say_missing(session, truth, settings.card, loud=False)
        with guard("The numbers"):
            views.readout(truth, scored, circuit, **how)
        opened, tabs = session.tabs("tab", fields.TABS)
        with tabs[opened], guard(fields.TABS[opened]):
            if opened == "roc":
                views.roc_curves(truth, compared, **how)
            elif opened == "recall":
                views.recall_curves(truth, compared, **how)
            elif opened == "edges":
                views.edge_lists(truth, scored, circuit, picker(session), **how)
            elif opened == "roles":
                views.role_table(truth, scored, circuit)
            elif opened == "scores":
                views.every_score(truth, compared, k, **how)
            elif opened == "made":
                exports.made(truth, scored, k, **how)
            else:
                exports.downloads(truth, scored, compared, k, session)
session.write()
