"""Paper: the published protocol, run here, beside the published numbers."""

from eapgp.ui import frame, paper, paper_made
from eapgp.ui import paper_views as views
from eapgp.ui.draw import guard
from eapgp.ui.session import Session

frame.ensure()

session = Session("paper", paper.FIELDS)
shown = paper.open_panel(session)
result = shown.result

views.heading(shown)
paper.say(session, shown)
if result is None:
    views.nothing()
else:
    with guard("The outcome"):
        views.whose(result)
        views.verdicts(result)
        with guard("The curves"):
            views.curves(session, result)
        with guard("The table of outcomes"):
            views.outcomes(session, result)
        opened, tabs = session.tabs("tab", paper.TABS)
        with tabs[opened], guard(paper.TABS[opened]):
            if opened == "cells":
                views.cells(session, result)
            elif opened == "all":
                views.all_curves(session, result)
            elif opened == "manual":
                views.manual(result)
            elif opened == "protocol":
                views.protocol(result)
            else:
                paper_made.made(shown, result)
session.write()
