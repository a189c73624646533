"""Your own sentence: what the model says, its twin, and the circuit of that one pair."""

from eapgp.ui.base.draw import guard
from eapgp.ui.base.session import Session
from eapgp.ui.parts import head
from eapgp.ui.sentence import fields, views
from eapgp.ui.shell import frame

frame.ensure()

session = Session("sentence", fields.FIELDS)
say = head.head("Your own sentence", session)
with guard("The sentence"):
    asked = views.question(session)
    reading = views.reading(asked)
    if reading is not None:
        views.answers(session, reading)
        views.twin(session, reading)
        views.pair(reading)
        if reading.pair is not None:
            card = views.run(session, asked, reading.pair)
            if card is not None:
                say(views.circuit(session, card))
            views.task(session, asked, reading.pair)
session.write()
