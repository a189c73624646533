"""The dashboard's entry: `streamlit run app.py`, or `eapgp app`."""

from eapgp.ui.shell import frame

frame.run()
