"""Faithfulness: do the circuits of the chosen runs do what the model does?"""

import streamlit as st

from eapgp.ui.base.draw import guard, reserved
from eapgp.ui.base.session import Session
from eapgp.ui.faithfulness import controls, fields, measurements, mechanisms, reference, views
from eapgp.ui.library import results
from eapgp.ui.library.circuits import circuit_of
from eapgp.ui.parts import head, measuring, run_choice
from eapgp.ui.parts.bound_view import open_size
from eapgp.ui.parts.empty import nothing_yet
from eapgp.ui.shell import frame
from eapgp.ui.sidebar import panel

frame.ensure()

session = Session("faithfulness", fields.FIELDS)
settings = panel.open_panel(session)
context = settings.card

if context is None:
    nothing_yet()
else:
    say = head.head("Faithfulness", session, settings, card=context, shows="the runs chosen below.")
    with guard("The measurement"):
        controls.follow_context(session, context)
        run_choice.adopt_finished(session)
        run_choice.say_lost(session, context)
        with st.container(horizontal=True, vertical_alignment="bottom", key="faith-choice"):
            runs = run_choice.choose(session, context) or [context]
            run_choice.offer_more(session, settings.spec, context)
        cards = run_choice.named(runs, context)
        open_size(session, runs[0])
        controls.controls(session)
        picture = reserved("faith-picture", views.HEIGHT)
        closely, k = controls.look_closely(session, cards, settings.card, __file__)
        with guard("The circuits of this size"):
            controls.readout(cards, k, closely)
        circuit = circuit_of(cards[closely], results.attribution(cards[closely]).scores, k)
        if session["tab"] == "evidence":
            measuring.obtain(measurements.evidence_task(cards[closely], circuit, closely))  # before the random ones
        drawn, curves = measurements.measured_curves(session, cards)
        main = measurements.curve_name(closely, measurements.LEVELS[session["by"]][0])
        if main in curves:
            say(views.finding(drawn, curves, main))
        base = measurements.baseline(session, cards[closely]) if session["base"] and closely in curves else None
        with picture:
            views.remarks(drawn, curves)
            views.curves_figure(session, drawn, curves, base, k)
        opened, tabs = session.tabs("tab", fields.TABS)
        with tabs[opened], guard(fields.TABS[opened]):
            if opened == "areas":
                views.areas(drawn, curves, base)
            elif opened == "difference":
                views.differences(drawn, curves, main, k)
            elif opened == "evidence":
                evidence = measurements.evidence(cards[closely], circuit, closely)
                if evidence is not None:
                    views.show_evidence(evidence, closely, k)
            elif opened == "mechanisms":
                mechanisms.show(session, cards[closely], closely, k)
            elif opened == "reference":
                reference.show(session, cards[closely], closely, k)
            elif opened == "numbers":
                views.numbers(drawn, curves, base)
            else:
                views.made(cards[closely], k, session["grid"], session["by"])
session.write()
