"""Explore: one circuit, from the picture down to a single edge."""

import streamlit as st

from eapgp.ui.base.draw import guard
from eapgp.ui.base.session import Session
from eapgp.ui.explore import fields, spans, views
from eapgp.ui.library import results
from eapgp.ui.library.circuits import circuit_of
from eapgp.ui.parts import edit_panel, exports, head, inspector, provenance, roles, sentences
from eapgp.ui.parts.bound_view import chosen_in, open_usual, picker, rule_in, size_in
from eapgp.ui.parts.empty import nothing_yet
from eapgp.ui.parts.readout import readout
from eapgp.ui.shell import frame
from eapgp.ui.sidebar import panel

frame.ensure()

session = Session("explore", fields.FIELDS)
settings = panel.open_panel(session)
card = settings.card

if card is None:
    nothing_yet()
else:
    with guard("This run"):
        result = results.attribution(card)
        graph = result.graph
        open_usual(session, card, result.scores)
        rule = rule_in(session)
        k, part, pick = size_in(session, graph), chosen_in(session, graph), picker(session)

        say = head.head(card.task_title, session, settings, card=card)
        edits = edit_panel.current(session, graph)
        unedited = circuit_of(card, result.scores, k, rule)
        circuit = views.circuit_on_screen(card, result.scores, k, edits, rule)
        by_hand = bool(edits) or rule != "top-n"  # no circuit that its size alone names
        bar, numbers = st.columns(views.widths(card), gap="xsmall", vertical_alignment="bottom")
        with bar:
            views.controls(session, card, edits)
        with numbers, guard("The faithfulness of this circuit"):
            readout(card, circuit, unedited if edits else None)
            say(sentences.of_circuit(card, circuit))
        views.say_empty(circuit)
        st.html(views.DRAWER)
        left, right = st.columns([1.95, 1], gap="small")
        with left, guard("The circuit"):
            views.picture(session, card, result.scores, circuit, edits, part)
        with right, st.container(key="drawer", gap="small"), guard("The details"):
            inspector.inspector(session, card, result, circuit, part, pick)
        views.below_picture(session, card, result, circuit, edits)
        views.remarks(card)
        opened, tabs = session.tabs("tab", fields.TABS)
        with tabs[opened], guard(fields.TABS[opened]):
            if opened == "edges":
                views.edges_table(session, card, result.scores, circuit, pick)
            elif opened == "roles":
                roles.tab(session, card, circuit, pick)
            elif opened == "words":
                spans.show(session, card, pick)
            elif opened == "map":
                views.spread(result.scores, k)
                views.heat_map(card, result.scores, pick)
            elif opened == "curve":
                views.curve(card, result.scores, k, circuit if by_hand else None)
            elif opened == "check":
                views.check(card, result.scores)
            else:
                exports.circuit_code(card, circuit, edited=by_hand)
                provenance.block(card)
session.write()
