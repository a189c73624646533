"""Whose page this is: on a public server each browser has a library and jobs of its own, by a key in a cookie.

The key is drawn here; a script keeps it in the browser (`eapgp.ui.shell.frame`). On disk stands its hash alone.
Where the server is not public there is one library, and everything is its user's.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from pathlib import Path

import streamlit as st

from eapgp.runs.library import default_home
from eapgp.runs.visitors import mark_used
from eapgp.ui.base.policy import policy, visitors_home

COOKIE = "eapgp-visitor"
_KEY = re.compile(r"[\w\-]{32,64}")
_STATE = "eapgp-visitor-key"
_USED = "eapgp-visitor-used"
MARK_SECONDS = 600.0
"""How often an open page marks its visitor's library as used."""


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
    """The folder of the visitor's library; asking for it counts as use, since old ones are removed."""
    name = owner()
    if not name:
        return default_home()
    folder = visitors_home() / name
    if time.time() - st.session_state.get(_USED, 0.0) > MARK_SECONDS:
        mark_used(folder)
        st.session_state[_USED] = time.time()
    return folder
