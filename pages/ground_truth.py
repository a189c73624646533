"""Ground truth: do the scores find a circuit that is known?"""

import streamlit as st

from eapgp.ui.base.draw import guard
from eapgp.ui.base.session import Session
from eapgp.ui.ground_truth import candidates, exports, fields, offers, views
from eapgp.ui.parts.bound_view import bound_view, picker
from eapgp.ui.parts.circuit_view import circuit_view
from eapgp.ui.shell import frame
from eapgp.ui.sidebar import panel, status

frame.ensure()

session = Session("ground_truth", fields.FIELDS)
shown = panel.open_panel(session)

st.title("Ground truth", anchor=False)
st.caption("How well scores find a circuit that is known: by hand in GPT-2 small, or by construction.")
status.say_problems(session)
with guard("The comparison"):
    with st.container(horizontal=True, vertical_alignment="bottom", key="truth-choice"):
        known = candidates.choose_known(session)
        found = candidates.candidates(known)
        if not known.exact and found:
            with st.popover("Add scores", icon=":material/upload_file:", help="Import files of edge scores."):
                offers.importer(session, known, key="truth-upload")
    chosen = candidates.choose(session, known, found) if found else []
    offers.say_missing(session, known, shown.card, loud=not chosen)
    if known.exact:
        offers.planted_progress(len(found))
    if not chosen:
        offers.nothing_to_compare(session, known)
        with guard("The known circuit"):
            circuit_view(views.known_payload(session, known), key=f"truth-known-{known.name}", height=600)
        exports.made(known, None, 1, signed=False, mlps=True)
    else:
        scored, k = candidates.drawn(session, known, chosen)
        how = {"signed": session["signed"], "mlps": session["mlps"]}
        circuit = candidates.circuit_at(scored, k, signed=how["signed"])
        views.caution(known, chosen)
        with guard("The numbers"):
            views.readout(known, scored, circuit, **how)
        with guard("The circuit"):
            bound_view(session, views.payload_of(session, known, scored, k), key="truth-circuit", height=640)
        opened, tabs = session.tabs("tab", fields.TABS)
        with tabs[opened], guard(fields.TABS[opened]):
            if opened == "roc":
                views.roc_curves(known, chosen, **how)
            elif opened == "recall":
                views.recall_curves(known, chosen, **how)
            elif opened == "edges":
                views.edge_lists(known, scored, circuit, picker(session), **how)
            elif opened == "roles":
                views.role_table(known, scored, circuit)
            elif opened == "scores":
                views.every_score(known, chosen, k, **how)
            elif opened == "made":
                exports.made(known, scored, k, **how)
            else:
                exports.downloads(known, scored, chosen, k, session)
session.write()
