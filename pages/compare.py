"""Compare: two to four runs at the same circuit size."""

import streamlit as st

from eapgp.ui.base.draw import guard
from eapgp.ui.base.session import Session
from eapgp.ui.compare import agreement as compare_agreement
from eapgp.ui.compare import choice as compare_choice
from eapgp.ui.compare import curves as compare_curves
from eapgp.ui.compare import fields as compare
from eapgp.ui.compare import views as compare_views
from eapgp.ui.parts import head, run_choice, sentences
from eapgp.ui.parts.bound_view import open_size, picker, size_in
from eapgp.ui.parts.empty import nothing_yet
from eapgp.ui.shell import frame
from eapgp.ui.sidebar import panel

frame.ensure()

link = set(st.query_params)
session = Session("compare", compare.FIELDS)
if "runs" in link and "by" not in link:
    session["by"] = "runs"
settings = panel.open_panel(session)
context = settings.card

say = head.head("Compare", session, settings, card=context, shows="the runs chosen below.")
if context is None:
    nothing_yet()
else:
    with guard("The comparison"):
        run_choice.adopt_finished(session)
        cards = compare_choice.choose(session, compare_choice.base(session, settings), context)
        if len(cards) < 2:
            compare.nothing_to_compare()
        else:
            compare.say_unlike(list(cards.values()))
            pair = compare_views.pair_of(session, cards)
            open_size(session, context)
            k = size_in(session, context.graph)
            say(sentences.of_pair(pair.names, pair.cards, k))
            compare_views.pictures(session, cards, pair, k)
            compare_views.choose_pair(session, cards)
            opened, tabs = session.tabs("tab", compare.TABS)
            with tabs[opened], guard(compare.TABS[opened]):
                if opened == "scatter":
                    compare_views.scatter(session, pair, k, picker(session))
                elif opened == "overlap":
                    compare_agreement.overlap(session, cards, pair, k)
                elif opened == "sets":
                    compare_views.sets(pair, k, picker(session))
                elif opened == "curves":
                    compare_curves.curves(session, cards, pair, k)
                else:
                    compare_views.costs(cards)
session.write()
