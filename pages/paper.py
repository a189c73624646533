"""Paper: the published protocol, run here, beside the published numbers."""

from eapgp.ui.base.draw import guard
from eapgp.ui.base.session import Session
from eapgp.ui.paper import page as paper
from eapgp.ui.paper import provenance as paper_made
from eapgp.ui.paper import views
from eapgp.ui.shell import frame

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
