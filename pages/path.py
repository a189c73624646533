"""Path: where EAP-GP and EAP-IG take their gradients."""

from eapgp.ui.base.draw import guard
from eapgp.ui.base.session import Session
from eapgp.ui.library import results
from eapgp.ui.parts.empty import nothing_yet
from eapgp.ui.path import edge as path_edge
from eapgp.ui.path import page as path
from eapgp.ui.path import views as path_views
from eapgp.ui.shell import frame
from eapgp.ui.sidebar import panel, status

frame.ensure()

session = Session("path", path.FIELDS)
shown = panel.open_panel(session)
card = shown.card

if card is None:
    nothing_yet()
elif not card.has_path:
    path.no_path(session, shown)
    status.say_problems(session, shown)
else:
    with guard("The path"):
        records = results.paths(card)
        path.heading(card, records)
        status.say_problems(session, shown)
        if "gradpath" in records:
            path.overshoot(session, card, results.path_sources(card)["gradpath"], records["gradpath"])
        pair = path.choose_pair(session, card, records)
        with guard("The picture of the path"):
            path.picture(session, card, records, pair)
        opened, tabs = session.tabs("tab", path.TABS)
        with tabs[opened], guard(path.TABS[opened]):
            if opened == "curves":
                path_views.step_curves(session, records, card.graph, pair)
            elif opened == "vanished":
                path_views.vanished(session, records, card.graph, pair)
            elif opened == "tokens":
                path_views.token_moves(session, card, records, pair)
            elif opened == "edge":
                path_edge.edge(session, card, records, pair)
            else:
                path_views.numbers(records, pair)
session.write()
