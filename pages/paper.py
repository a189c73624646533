"""Paper: the published protocol, run here, beside the published numbers."""

from eapgp.ui.base.draw import guard
from eapgp.ui.base.session import Session
from eapgp.ui.paper import fields, panel, provenance, views
from eapgp.ui.parts import head
from eapgp.ui.shell import frame

frame.ensure()

session = Session("paper", fields.FIELDS)
settings = panel.open_panel(session)
result = settings.result

say = head.head("The paper's protocol", session)
panel.say(settings)
if result is None:
    views.nothing()
else:
    with guard("The outcome"):
        say(views.finding(result))
        with guard("The curves"):
            views.curves(session, result)
        views.whose(result)
        views.verdicts(result)
        with guard("The table of outcomes"):
            views.outcomes(session, result)
        opened, tabs = session.tabs("tab", fields.TABS)
        with tabs[opened], guard(fields.TABS[opened]):
            if opened == "cells":
                views.cells(session, result)
            elif opened == "all":
                views.all_curves(session, result)
            elif opened == "manual":
                views.manual(result)
            elif opened == "protocol":
                views.protocol(result)
            else:
                provenance.made(settings, result)
session.write()
