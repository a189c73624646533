"""The parts of the Explore page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import streamlit as st

from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.figures.circuit_view.payload import largest
from eapgp.ui import services
from eapgp.ui.circuits import DEFAULT_EDGES, circuit_of, score_of
from eapgp.ui.draw import chart, dark, points_clicked
from eapgp.ui.edges import edge_page
from eapgp.ui.jobs import JobView
from eapgp.ui.live import follow, may_run
from eapgp.ui.methods import metric_title, variant
from eapgp.ui.panel import FIELDS_OF_RUN
from eapgp.ui.session import Session
from eapgp.ui.shelf import Card
from eapgp.ui.state import choice, integer, names, text

Pick = Callable[[str], None]
CHECKED_EDGES = 20
TABS = {
    "edges": "Edges",
    "map": "Heat map",
    "spread": "Scores",
    "curve": "Faithfulness by size",
    "check": "Check by patching",
    "made": "How it was made",
    "files": "Download",
}
FIELDS = (
    *FIELDS_OF_RUN,
    integer("k", DEFAULT_EDGES, 1, 10_000_000, "How many of the strongest edges the circuit takes."),
    text("sel", "", "The selected node or edge.", pattern=r"[\w.<>\-]{1,80}", expected="the name of a node or edge"),
    names("pins", (), "Pinned nodes and edges.", most=40),
    text(
        "edge",
        "",
        "Only edges whose ends fit: a node (a3.h1), an input (a3.h1<q>), or a part of a name. "
        "a3.h1-> asks for the source, ->m2 for the destination; several words must all fit.",
        pattern=r"[\w.<>\- ]{0,120}",
        expected="names of nodes, or parts of them",
    ),
    choice("tab", "edges", tuple(TABS), "Which view is open below the circuit."),
)


def nothing_yet() -> None:
    """What the page says when there is no run at all."""
    st.title("Explore a circuit", anchor=False)
    st.info(
        "There is no result to show yet. Press **Run** on the left: the demo model takes a few seconds.",
        icon=":material/play_arrow:",
    )


def heading(card: Card) -> None:
    """What the page shows, in one title and one line."""
    from eapgp.tasks import TASKS

    title = TASKS[card.task].title if card.task in TASKS else card.run.name or card.task
    st.title(title, anchor=False)
    pairs = f"{card.n_pairs:,} prompt pair{'s' if card.n_pairs != 1 else ''}"
    source = "bundled example" if card.example else "your library"
    st.caption(
        f"{variant(card.method, card.options)} · {card.model} · {pairs} · "
        f"{metric_title(card.metric).lower()} · {source}"
    )


def readout(card: Card, circuit: Circuit) -> None:
    """Faithfulness of the circuit on screen, measured by running it in the background."""
    label = f"{circuit.n_kept} edges of {card.task}"
    if services.stored_measure(card, [circuit]) is None and not may_run(
        card, "Measure the faithfulness of this circuit", key="readout-run"
    ):
        return
    slot = services.session_slot("readout")
    job_id = services.submit_circuits(card, [circuit], label, slot=slot)

    def show(job: JobView) -> None:
        result = job.result
        value = result.faithfulness[0]
        with st.container(horizontal=True, gap="medium", key="readout"):
            st.metric(
                "Faithfulness",
                "undefined" if math.isnan(value) else f"{value:.3f}",
                help="How much of the behaviour this circuit alone keeps: (M(circuit) − M(corrupted)) / (M(clean) − "
                "M(corrupted)). Every edge outside it carries the corrupted activation. 1 = all of it, 0 = none; it "
                "can exceed 1 where edges that work against the behaviour are left out.",
                width="content",
            )
            st.metric(
                "Metric of the circuit",
                f"{result.metric[0]:.3f}",
                help=f"{metric_title(card.metric)}, mean over {card.n_pairs} pairs, with only this circuit's edges "
                "carrying the clean run.",
                width="content",
            )
            st.metric(
                "Clean",
                f"{result.clean:.3f}",
                help="The metric of the whole model on the clean prompts.",
                width="content",
            )
            st.metric(
                "Corrupted", f"{result.corrupted:.3f}", help="The same on the corrupted prompts.", width="content"
            )
            st.metric(
                "Edges kept",
                f"{circuit.n_kept:,} of {card.graph.n_edges:,}",
                help=f"{circuit.n_selected:,} edges were selected; those on no path from input to logits were pruned.",
                width="content",
            )

    follow(job_id, show, waiting="Running this circuit on the model ·")


def say_empty(circuit: Circuit) -> None:
    """Why nothing is drawn, where nothing is."""
    if circuit.n_kept == 0:
        st.info(
            f"None of the {circuit.n_selected:,} strongest edges lies on a path from input to logits, so no edge is "
            "drawn. Move the slider to the right until some do; all edges are in the table below.",
            icon=":material/info:",
        )


def edges_table(session: Session, card: Card, scores: EdgeScores, circuit: Circuit, pick: Pick) -> None:
    """The edges, sortable and searchable; selecting a row selects the edge in the graph."""
    find = session.widget("edge", st.text_input, "Find edges", placeholder="a3.h1, a0.h2->, ->m2 or <q>")
    page = edge_page(card, scores, circuit, find)
    table = page.table
    st.caption(
        (f"The {len(table):,} strongest of {page.n_found:,} edges: narrow them above. " if page.cut else "")
        + (f"{page.n_found:,} edges fit. " if find and not page.cut else "")
        + (f"All {page.n_found:,} scored edges, strongest first. " if not find and not page.cut else "")
        + "Click a column to sort; select a row to see that edge in the graph."
    )
    if table.empty:
        return
    state = st.dataframe(
        table,
        key="edge-table",
        hide_index=True,
        height=460,
        on_select="rerun",
        selection_mode="single-row",
        column_order=[
            "rank",
            "edge",
            "score",
            "magnitude",
            "type",
            "source",
            "destination",
            "source_layer",
            "layer",
            "in_graph",
        ],
        column_config={
            "rank": st.column_config.NumberColumn("Rank", help="1 is the largest |score|."),
            "edge": st.column_config.TextColumn("Edge", width="medium"),
            "score": st.column_config.NumberColumn("Score", format="%+.5f", help="Positive: supports the behaviour."),
            "magnitude": st.column_config.ProgressColumn(
                "|score|", format="%.4f", min_value=0.0, max_value=largest(scores) or 1.0
            ),
            "type": st.column_config.TextColumn("Enters by", help="Query, key, value, MLP or logits."),
            "source": "Source",
            "destination": "Destination",
            "source_layer": st.column_config.NumberColumn("From layer", help="−1 is the input."),
            "layer": "To layer",
            "in_graph": st.column_config.CheckboxColumn("In circuit", help="Kept in the circuit on screen."),
        },
    )
    rows = state["selection"]["rows"]
    name = str(table.iloc[rows[0]]["edge"]) if rows else ""
    if name != st.session_state.get("table-picked", ""):
        st.session_state["table-picked"] = name
        if name:
            pick(name)
            st.rerun()


def heat_map(card: Card, scores: EdgeScores, pick: Pick) -> None:
    """Source × destination."""
    from eapgp.figures.heatmap import score_heatmap

    state = chart(score_heatmap(scores, dark=dark()), "heat-map", select=True)
    found = [name for name in points_clicked(state) if "->" in name]
    if found and found[0] != st.session_state.get("map-picked"):
        st.session_state["map-picked"] = found[0]
        pick(found[0])
        st.rerun()


def spread(scores: EdgeScores, n: int) -> None:
    """How the scores are distributed over sizes and layers."""
    from eapgp.figures.scores import cumulative_share, score_by_layer, scores_distribution

    left, right = st.columns(2, gap="large")
    with left:
        chart(scores_distribution(scores, dark=dark()), "distribution")
    with right:
        chart(score_by_layer(scores, dark=dark()), "by-layer")
    chart(cumulative_share({"all edges": scores}, current=n, dark=dark()), "cumulative")


def curve(card: Card, scores: EdgeScores, n: int) -> None:
    """Faithfulness over circuit sizes, computed when the tab is opened."""
    from eapgp.training.examples import curve_sizes

    sizes = curve_sizes(card.graph.n_edges)
    circuits = [circuit_of(card, scores, size) for size in sizes]
    if services.stored_measure(card, circuits) is None and not may_run(card, "Measure the curve", key="curve-run"):
        return
    job_id = services.submit_circuits(card, circuits, f"faithfulness curve of {card.task}")

    def show(job: JobView) -> None:
        chart(curve_figure({variant(card.method, card.options): (sizes, job)}, card.graph.n_edges, n), "curve")

    follow(job_id, show, waiting="Running circuits of every size ·", cancel=True)


def curve_figure(curves: Mapping[str, tuple[Sequence[int], JobView]], n_edges: int, n: int):  # type: ignore[no-untyped-def]
    """Curves of several runs in one figure, with bands over prompt pairs."""
    from eapgp.figures.curves import faithfulness_curves
    from eapgp.figures.inputs import CurveLine

    lines = []
    for name, (sizes, job) in curves.items():
        low, high = services.bootstrap_band(job.result)
        lines.append(
            CurveLine(
                name,
                np.array(sizes),
                np.array(job.result.faithfulness),
                low=low,
                high=high,
                kept=np.array(job.result.kept),
            )
        )
    return faithfulness_curves(lines, n_edges=n_edges, current=n, dark=dark())


def check(card: Card, scores: EdgeScores) -> None:
    """The strongest edges, estimated and really patched."""
    st.markdown(
        "Scores are **first-order estimates** of what corrupting one edge does. Patching runs the model with exactly "
        "that edge corrupted, and so is the truth about single edges. It is not the truth about circuits: redundant "
        "edges are each worth nothing alone."
    )
    asked = st.session_state.setdefault("patched-runs", set())
    if card.id not in asked:
        pressed = st.button(
            f"Patch the {CHECKED_EDGES} strongest edges",
            key="patch-top",
            type="primary",
            icon=":material/science:",
            help="Runs the model once per edge, in the background.",
        )
        if not pressed:
            return
        asked.add(card.id)
    names = [name for name, _ in scores.top(CHECKED_EDGES)]
    job_id = services.submit_edges(card, names)

    def show(job: JobView) -> None:
        real = job.result.clean - np.array(job.result.metric)
        _check_figure(names, np.array([score_of(scores, name) for name in names]), real)

    follow(job_id, show, waiting="Patching one edge at a time ·", cancel=True)


def _check_figure(names: Sequence[str], estimates: np.ndarray, real: np.ndarray) -> None:
    import plotly.graph_objects as go

    from eapgp.figures.style import apply, escape, sign_colour, theme

    figure = go.Figure()
    figure.add_bar(
        x=real,
        y=[escape(name) for name in names],
        orientation="h",
        name="real effect of patching",
        marker={"color": [sign_colour(float(value)) for value in real], "opacity": 0.85},
        hovertemplate="%{y}<br>real effect %{x:+.4f}<extra></extra>",
    )
    figure.add_scatter(
        x=estimates,
        y=[escape(name) for name in names],
        mode="markers",
        name="score (estimate)",
        marker={"symbol": "diamond-open", "size": 11, "color": theme(dark()).text, "line": {"width": 2}},
        hovertemplate="%{y}<br>score %{x:+.4f}<extra></extra>",
    )
    error = float(np.abs(estimates - real).mean())
    apply(
        figure,
        title="Estimate and real effect of the strongest edges",
        x="change of the metric (positive: the edge supports the behaviour)",
        note=f"mean |score − real effect| = {error:.4f} over {len(names)} edges",
        read="A diamond at the end of its bar: the estimate is right; beyond it: the score overstates the edge.",
        dark=dark(),
        height=160 + 24 * len(names),
    )
    figure.update_yaxes(autorange="reversed")
    chart(figure, "check")
