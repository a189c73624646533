"""Start: what a circuit is, in six scenes."""

import streamlit as st

from eapgp.ui.base.draw import guard
from eapgp.ui.base.fields import ON_EVERY_PAGE
from eapgp.ui.base.routes import page_file
from eapgp.ui.base.session import Session
from eapgp.ui.shell import frame
from eapgp.ui.start import fields, scenes

frame.ensure()

if set(st.query_params) - {
    field.name for field in (*fields.FIELDS, *ON_EVERY_PAGE)
}:  # Explore was at this address before Start
    st.switch_page(page_file("explore"), query_params=dict(st.query_params))
session = Session("start", fields.FIELDS)
session.tell()
with guard("The scene"):
    scenes.turn(session)
    scenes.draw(session)
session.write()
