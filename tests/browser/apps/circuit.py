"""One circuit view on random scores; the query says which (`layers`, `heads`, `n`, `seed`, …)."""

from __future__ import annotations

import time

import numpy as np
import streamlit as st

from eapgp.attribution.result import EdgeScores
from eapgp.figures.circuit_view import Compared, Pane, build_payload
from eapgp.graph import Graph
from eapgp.ui.parts.circuit_view import circuit_view

st.set_page_config(page_title="circuit", layout="wide")
query = st.query_params
layers, heads = int(query.get("layers", 12)), int(query.get("heads", 12))


@st.cache_data(max_entries=4)
def random_scores(layers: int, heads: int, seed: int) -> EdgeScores:
    """Seeded scores in which few nodes matter, so that the strongest edges join up."""
    graph = Graph(layers, heads)
    rng = np.random.default_rng(seed)
    weight = np.exp(rng.normal(0, 1.6, len(graph.nodes)))
    weight[0] = weight[-1] = weight.max()
    values = rng.normal(0, 1e-3, graph.mask.shape) * weight[:-1, None] * weight[graph.destination_nodes][None, :]
    return EdgeScores(graph, np.where(graph.mask, values, 0.0))


scores = random_scores(layers, heads, int(query.get("seed", 0)))
options: dict = {}
around: dict = {"link_group": "pair"} if "pair" in query else {}
if "roles" in query:
    options["roles"] = {
        "a0.h0": "Duplicate Token",
        "a1.h1": "Duplicate Token",
        "a2.h2": "Induction",
        "a3.h3": "S-Inhibition",
    }
if "hostile" in query:
    text = "<img src=x onerror=document.title='hacked'>"
    options["roles"] = {"a0.h0": text, "m1": text}
    options["view"] = {"groups": [{"name": text, "nodes": ["a0.h1", "a0.h2"]}]}
    around |= {"title": text, "caption": text, "legend_note": text}
if "compare" in query:
    mixed = 0.7 * scores.values + 0.3 * random_scores(layers, heads, 1).values
    second = EdgeScores(scores.graph, float(query.get("units", 1)) * mixed)
    options["against"] = Compared(second, ("EAP", "EAP-GP"), own_scales="units" in query)
if "truth" in query:
    options["against"] = [name for name, _ in scores.top(40)[::2]] + [name for name, _ in scores.top(400)[300:310]]
if "edit" in query:
    around["edit"] = True
if "title" in query:
    around["title"] = query["title"]

state = circuit_view(
    build_payload(scores, n=int(query.get("n", 100)), pane=Pane(**around), **options),
    key="circuit",
    height=int(query.get("height", 640)),
)
if "pair" in query:
    other = random_scores(layers, heads, 1)
    circuit_view(build_payload(other, n=int(query.get("n", 100)), pane=Pane(**around)), key="second")
st.session_state["runs"] = st.session_state.get("runs", 0) + 1
st.text(f"runs: {st.session_state['runs']}")
st.text(f"selection: {state.selection.name if state.selection else 'none'}")
st.text(f"pins: {', '.join(state.pins) or 'none'}")
st.text(f"n: {state.n}; selected: {state.selected}; kept: {state.kept}; shown: {state.shown}")
st.text(f"edits: added {list(state.added)}, removed {list(state.removed)}, excluded {list(state.excluded)}")
st.text(f"groups: {[group['name'] for group in state.groups]}; zoom: {state.zoom}")
st.text(f"drawn at {time.time():.3f}")
st.text(f"rows: {state.rows}")
