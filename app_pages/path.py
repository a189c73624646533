import streamlit as st

st.title("path")
with st.sidebar:
    st.selectbox("Model", ["a", "b"], key="m")
    st.query_params["a"] = "path"
