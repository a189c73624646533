"""Path: where EAP-GP and EAP-IG take their gradients."""

from eapgp.ui.base.draw import guard
from eapgp.ui.base.session import Session
from eapgp.ui.library import results
from eapgp.ui.parts import head
from eapgp.ui.parts.empty import nothing_yet
from eapgp.ui.parts.path_step import step_bar
from eapgp.ui.path import edge, fields, opening, picture, views
from eapgp.ui.shell import frame
from eapgp.ui.sidebar import panel

frame.ensure()

session = Session("path", fields.FIELDS)
settings = panel.open_panel(session)
card = settings.card

if card is None:
    nothing_yet()
elif not card.has_path:
    head.head(picture.TITLE, session, settings, card=card)
    picture.no_path(session, card)
else:
    with guard("The path"):
        own, other = card, opening.other_run(session, card)
        card = other if other is not None and session["walk"] == "near" else own
        records = results.paths(card)
        say = head.head(picture.TITLE, session, settings, card=card)
        pair = picture.controls(session, card, records, first=lambda: opening.choice_row(session, own, other))
        say(opening.finding(records, pair, card, own))
        last = max(record.n_points for record in records.values()) - 1
        step_bar(session, last, picture.readings(records, pair))
        with guard("The picture of the path"):
            picture.picture(session, card, records, pair)
        if "gradpath" in records:
            source = results.path_sources(card)["gradpath"]
            picture.approach(session, card, source, records["gradpath"], own=card is own)
        opened, tabs = session.tabs("tab", fields.TABS)
        with tabs[opened], guard(fields.TABS[opened]):
            if opened == "curves":
                views.step_curves(session, card, records, pair)
            elif opened == "vanished":
                views.vanished(session, records, card.graph, pair)
            elif opened == "tokens":
                views.token_moves(session, card, records, pair)
            elif opened == "edge":
                edge.edge(session, card, records, pair)
            else:
                views.numbers(records, pair)
session.write()
