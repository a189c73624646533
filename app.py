"""The dashboard's entry: `streamlit run app.py`, or `eapgp app`."""

import streamlit as st

from eapgp.ui import brand

dark = st.context.theme.type == "dark"
st.set_page_config(page_title="eapgp", page_icon=brand.mark(dark=dark), layout="wide", initial_sidebar_state=310)
st.logo(brand.wordmark(dark=dark), size="large", icon_image=brand.mark(dark=dark))
st.navigation(
    [
        st.Page("pages/views/explore.py", title="Explore", icon=":material/hub:", default=True),
        st.Page("pages/views/compare.py", title="Compare", icon=":material/compare_arrows:", url_path="compare"),
        st.Page("pages/views/path.py", title="Path", icon=":material/timeline:", url_path="path"),
        st.Page(
            "pages/views/faithfulness.py", title="Faithfulness", icon=":material/monitoring:", url_path="faithfulness"
        ),
        st.Page(
            "pages/views/ground_truth.py", title="Ground truth", icon=":material/fact_check:", url_path="ground_truth"
        ),
        st.Page("pages/views/prompts.py", title="Prompts", icon=":material/notes:", url_path="prompts"),
        st.Page("pages/views/runs.py", title="Runs", icon=":material/inventory_2:", url_path="runs"),
    ],
    position="top",
).run()
