"""What a page says where there is no run at all."""

from __future__ import annotations

import streamlit as st


def nothing_yet() -> None:
    """What the page says when there is no run at all."""
    st.title("Explore a circuit", anchor=False)
    st.info(
        "There is no result to show yet. Press **Run** on the left: the demo model takes a few seconds.",
        icon=":material/play_arrow:",
    )
