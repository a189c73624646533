"""What an edge does, in the drawer beside the picture: its gradient along the path, and what it adds to the circuit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import streamlit as st

from eapgp.attribution.result import PathRecord
from eapgp.circuits import add_edges, remove_edges
from eapgp.circuits.circuit import Circuit
from eapgp.graph import Graph
from eapgp.numerals import decimal, signed
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import chart, dark
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import follow
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.library import measure, results
from eapgp.ui.library.consent import may_run


def section(card: RunInfo, circuit: Circuit, edge: str) -> None:
    """Everything about one edge that needs room."""
    records = results.paths(card)
    if not records and not card.n_pairs:
        return
    with st.container(key="readings", gap="small"):
        _in_circuit(card, circuit, edge)
        records = {kind: record for kind, record in records.items() if record.has_gradients}
        if records:
            _gradient_along_path(records, card.graph, edge)
        else:
            st.caption("No run on these prompts kept the gradients along a path, so there are none to show.")


def _in_circuit(card: RunInfo, circuit: Circuit, edge: str) -> None:
    """The circuit on screen with and without the edge."""
    if not card.n_pairs or not may_run(card, "Measure what it adds to the circuit", key="adds-run"):
        return
    inside = bool(circuit.edges[circuit.graph.edge_index(edge)])
    other = remove_edges(circuit, [edge]) if inside else add_edges(circuit, [edge])
    st.markdown("**What it adds to the circuit on screen**")
    job_id = measure.submit_circuits(
        card, [circuit, other], f"the circuit with and without {edge}", slot=server.session_slot("with-without")
    )

    def show(job: JobView) -> None:
        here, there = (0, 1) if inside else (1, 0)
        metric, faithful = job.result.metric, job.result.faithfulness
        one, two = st.columns(2)
        one.metric(
            "Faithfulness",
            signed(faithful[here] - faithful[there]),
            delta=f"{decimal(faithful[here])} vs {decimal(faithful[there])}",
            delta_color="off",
            delta_arrow="off",
            help="Faithfulness of the circuit with this edge minus without it, both run on the model.",
        )
        two.metric(
            "Metric",
            signed(metric[here] - metric[there]),
            delta=f"{decimal(metric[here])} vs {decimal(metric[there])}",
            delta_color="off",
            delta_arrow="off",
            help="The metric of the circuit with this edge minus without it.",
        )
        place = "It is in the circuit on screen." if inside else "It is not in the circuit on screen."
        st.caption(
            f"{place} What an edge adds depends on the others: this differs from patching it in the whole model, "
            "where other paths can take over."
        )

    follow(job_id, show, waiting="Running the circuit with and without it ·")


def _gradient_along_path(records: Mapping[str, PathRecord], graph: Graph, edge: str) -> None:
    import plotly.graph_objects as go

    from eapgp.figures.path import name_of, style_of
    from eapgp.figures.style import apply

    column = graph.destination_index(edge.split("->")[1])
    figure = go.Figure()
    for kind, record in records.items():
        style = style_of(kind)
        assert record.destination_gradient is not None
        norms = np.asarray(record.destination_gradient[:, :, column], dtype=np.float64)
        measured = ~np.isnan(norms).all(axis=1)
        figure.add_scatter(
            x=np.arange(record.n_points)[measured],
            y=np.nanmean(norms[measured], axis=1),
            mode="lines+markers",
            name=name_of(kind),
            line={"color": style.colour, "dash": style.dash, "width": 2.5},
            marker={"symbol": style.symbol, "size": 8},
            hovertemplate="step %{x}<br>gradient %{y:.4g}<extra>%{fullData.name}</extra>",
        )
    apply(
        figure,
        title="Gradient along the path",
        x="step on the path (0 = clean prompt)",
        y="‖∂M/∂x‖, mean over pairs",
        read="Where a line is near zero the model is saturated there, and that point adds little to the score. "
        "All edges into one input share its gradient.",
        dark=dark(),
        height=330,
    )
    figure.update_yaxes(rangemode="tozero")
    figure.update_xaxes(dtick=1 if max(record.n_points for record in records.values()) <= 12 else None)
    chart(figure, "edge-gradient")
