"""Whose page this is: on a public server each browser has a library and jobs of its own, by a key in a cookie.

The key is drawn here; a script keeps it in the browser (`eapgp.ui.shell.frame`). On disk stands its hash alone.
Where the server is not public there is one library, and everything is its user's.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path

import streamlit as st

from eapgp.runs.library import default_home
from eapgp.ui.base.policy import policy, visitors_home

COOKIE = "eapgp-visitor"
_KEY = re.compile(r"[\w\-]{32,64}")
_STATE = "eapgp-visitor-key"


def key() -> str:
    """The browser's key; a new one where it brought none."""
    if _STATE not in st.session_state:
        brought = st.context.cookies.get(COOKIE, "")
        st.session_state[_STATE] = brought if _KEY.fullmatch(brought) else secrets.token_urlsafe(24)
    return str(st.session_state[_STATE])


def owner() -> str:
    """A name for the visitor that says nothing of the key; "" where the server is not public."""
    return hashlib.sha256(key().encode()).hexdigest()[:24] if policy().public else ""


def home() -> Path:
    """The folder of the visitor's library."""
    name = owner()
    return visitors_home() / name if name else default_home()
