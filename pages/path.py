"""Path: where EAP-GP and EAP-IG take their gradients."""

from eapgp.ui import frame, panel, path, services
from eapgp.ui.draw import guard
from eapgp.ui.explore import nothing_yet
from eapgp.ui.session import Session

frame.ensure()

session = Session("path", path.FIELDS)
shown = panel.open_panel(session)
card = shown.card

if card is None:
    nothing_yet()
elif not card.has_path:
    path.no_path(session, shown)
    panel.say_problems(session, shown)
else:
    with guard("The path"):
        records = services.paths(card)
        path.heading(card, records)
        panel.say_problems(session, shown)
        if "gradpath" in records:
            path.overshoot(session, card, records["gradpath"])
        n_pairs = min(record.output_distance.shape[1] for record in records.values())
        pair = path.choose_pair(session, card, n_pairs)
        with guard("The picture of the path"):
            path.picture(session, card, records, pair)
        opened, tabs = session.tabs("tab", path.TABS)
        with tabs[opened], guard(path.TABS[opened]):
            if opened == "curves":
                path.step_curves(records)
            elif opened == "vanished":
                path.vanished(records, card.graph)
            elif opened == "tokens":
                path.token_moves(card, records, pair)
            else:
                path.numbers(records)
session.write()
