"""Explore: one circuit, from the picture down to a single edge."""

import streamlit as st

from eapgp.ui import explore, frame, inspector, panel, provenance, services
from eapgp.ui.circuit_view import build_payload
from eapgp.ui.circuits import circuit_of, selected
from eapgp.ui.draw import guard
from eapgp.ui.exports import downloads
from eapgp.ui.methods import variant
from eapgp.ui.pane import bound_view, picker, selection_view
from eapgp.ui.session import Session

frame.ensure()

session = Session("explore", explore.FIELDS)
shown = panel.open_panel(session)
card = shown.card

if card is None:
    explore.nothing_yet()
else:
    with guard("This run"):
        result = services.attribution(card)
        graph = result.graph
        k = min(session["k"], graph.n_edges)
        chosen, pick = selected(graph, session["sel"]), picker(session)
        circuit = circuit_of(card, result.scores, k)

        explore.heading(card)
        panel.say_problems(session, shown)
        with guard("The faithfulness of this circuit"):
            explore.readout(card, circuit)
        explore.say_empty(circuit)
        left, right = st.columns([2.7, 1], gap="medium")
        with left, guard("The circuit"):
            payload = build_payload(
                result.scores,
                n=k,
                view=selection_view(chosen, session["pins"]),
                title="",
                filename=f"{card.task}-{card.method}",
                caption=f"{variant(card.method, card.options)} · {card.task} · {card.model}",
            )
            bound_view(session, payload, key="explore-circuit", height=660)
        with right, guard("The details"):
            inspector.inspector(card, result, chosen, pick)
        opened, tabs = session.tabs("tab", explore.TABS)
        with tabs[opened], guard(explore.TABS[opened]):
            if opened == "edges":
                explore.edges_table(session, card, result.scores, circuit, pick)
            elif opened == "map":
                explore.heat_map(card, result.scores, pick)
            elif opened == "spread":
                explore.spread(result.scores, k)
            elif opened == "curve":
                explore.curve(card, result.scores, k)
            elif opened == "check":
                explore.check(card, result.scores)
            elif opened == "made":
                provenance.block(card)
            else:
                downloads(card, result, circuit)
session.write()
