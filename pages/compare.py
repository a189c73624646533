"""Compare: two to four runs at the same circuit size."""

import streamlit as st

from eapgp.ui import compare, frame, panel, services
from eapgp.ui.circuit_view import build_payload, largest
from eapgp.ui.circuits import selected
from eapgp.ui.draw import guard
from eapgp.ui.explore import nothing_yet
from eapgp.ui.pane import bound_view, picker, selection_view
from eapgp.ui.session import Session

frame.ensure()

session = Session("compare", compare.FIELDS)
shown = panel.open_panel(session)
context = shown.card

st.title("Compare methods", anchor=False)
panel.say_problems(session, shown)
if context is None:
    nothing_yet()
else:
    with guard("The comparison"):
        compare.adopt_finished(session)
        with st.container(horizontal=True, vertical_alignment="bottom", key="compare-choice"):
            cards = compare.choose(session, context)
            compare.offer_more(session, shown.spec, context)
        if len(cards) < 2:
            compare.nothing_to_compare(session, shown)
        else:
            compare.warn_if_unlike(cards)
            by_name = {compare.label_of(card, context): card for card in cards}
            scores = {name: services.attribution(card).scores for name, card in by_name.items()}
            graph = cards[0].graph
            k = min(session["k"], graph.n_edges)
            chosen, pick = selected(graph, session["sel"]), picker(session)
            names = list(by_name)
            pair = (names[0], names[1])
            session.widget(
                "picture",
                st.segmented_control,
                "Picture",
                options=["panes", "sets"],
                format_func={"panes": "Side by side", "sets": f"{pair[0]} and {pair[1]} in one"}.__getitem__,
                required=True,
            )
            view = selection_view(chosen, session["pins"])
            if session["picture"] == "sets":
                payload = build_payload(
                    scores[pair[0]], n=k, compare=scores[pair[1]], labels=pair, view=view, filename="compare"
                )
                bound_view(session, payload, key="compare-sets", height=640)
            else:
                scale = largest(*scores.values())
                for start in range(0, len(names), 2):
                    for column, name in zip(st.columns(2, gap="small"), names[start : start + 2], strict=False):
                        with column:
                            payload = build_payload(
                                scores[name],
                                n=k,
                                scale_max=scale,
                                view=view,
                                link_group="compare",
                                title=name,
                                legend=False,
                                filename=name,
                            )
                            bound_view(session, payload, key=f"compare-{names.index(name)}", height=520)
                st.caption(
                    "The panes share positions, scale, size, hover, selection and zoom. Blue supports the behaviour, "
                    "dashed vermillion works against it."
                )
            opened, tabs = session.tabs("tab", compare.TABS)
            with tabs[opened], guard(compare.TABS[opened]):
                if opened == "scatter":
                    compare.scatter(session, by_name[pair[0]], by_name[pair[1]], pair, k, pick)
                elif opened == "overlap":
                    compare.overlap(scores, k)
                elif opened == "sets":
                    compare.sets(by_name[pair[0]], by_name[pair[1]], pair, k, pick)
                elif opened == "curves":
                    compare.curves(by_name, k)
                else:
                    compare.costs(by_name)
session.write()
