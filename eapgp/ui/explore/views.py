"""The parts of the Explore page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from eapgp.attribution.registry import variant
from eapgp.attribution.result import Attribution, EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.evaluation.runner import Measured
from eapgp.evaluation.sizes import curve_sizes
from eapgp.figures.adapt import band_line
from eapgp.figures.circuit_view import Pane, Ranking, build_payload
from eapgp.figures.circuit_view.payload import largest
from eapgp.figures.curves import faithfulness_curves
from eapgp.figures.heatmap import score_heatmap
from eapgp.figures.pyvis_view import pyvis_html
from eapgp.figures.scores import cumulative_share, score_by_layer, scores_distribution
from eapgp.figures.style import apply, escape, hover, sign_colour, theme
from eapgp.numerals import decimal, number, score
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import chart, dark, long_form, plain, points_clicked, written
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import follow
from eapgp.ui.jobs.manager import JobView
from eapgp.ui.library import measure
from eapgp.ui.library.circuits import (
    LARGE,
    Rule,
    Selected,
    circuit_of,
    drawn_roles,
    known_roles,
    said_of_heads,
    score_of,
)
from eapgp.ui.library.consent import cost, may_run
from eapgp.ui.parts import edit_panel, exports, primer, roles, sentences
from eapgp.ui.parts.bound_view import bound_view, groups_of, rule_in, shown_edges, whole_view
from eapgp.ui.parts.edge_table import edge_page
from eapgp.ui.parts.edit import Edits, edited
from eapgp.ui.parts.readout import SELECTOR

Pick = Callable[[str], None]
CHECKED_EDGES = 20


def below_picture(session: Session, card: RunInfo, result: Attribution, circuit: Circuit, edits: Edits) -> None:
    """What scores are, for those who see the page for the first time, where they are checked, and the files."""
    left, right = st.columns([1.7, 1], vertical_alignment="center")
    with left:
        st.caption(
            "Scores are first-order estimates of what each edge does: *Check by patching* below changes the strongest "
            "for real. The faithfulness above is measured by running the circuit."
        )
    with right, st.container(horizontal=True, horizontal_alignment="right", gap="small", key="below-picture"):
        about = "The figure for a paper (SVG, PDF, PNG), the circuit and the scores in many formats, and the run."
        menu: dict[str, Any] = {"icon": ":material/download:", "type": "tertiary", "key": "download-menu"}
        with st.popover("Download", help=about, on_change="rerun", **menu) as box:
            if box.open:
                _files(session, card, result, circuit, edits)


def remarks(card: RunInfo) -> None:
    """What has to be known of the run beside its settings."""
    if not card.n_pairs:
        signs = "signs turned against the file's" if card.options.get("negated") else "signs as in the file"
        st.caption(f"Imported scores {plain(card.run.name)} · {plain(card.model_title)} · {signs}")
    for remark in card.remarks:
        st.caption(f":material/warning: {plain(remark)}")


def say_empty(circuit: Circuit) -> None:
    """Why nothing is drawn, where nothing is."""
    if circuit.n_kept == 0:
        st.info(
            f"None of the {circuit.n_selected:,} strongest edges lies on a path from input to logits, so no edge is "
            "drawn. Move the slider to the right until some do; all edges are in the table below.",
            icon=":material/info:",
        )


def circuit_on_screen(card: RunInfo, scores: EdgeScores, n: int, edits: Edits, rule: Rule) -> Circuit:
    """The n edges that the rule selects with the user's edits, pruned."""
    return edited(scores, n, edits, rule) if edits else circuit_of(card, scores, n, rule)


def widths(card: RunInfo) -> tuple[float, float]:
    """Shares of the row above the picture that its controls and the numbers take: each on one line."""
    return (1.42, 1.0) if card.graph.n_edges > LARGE else (1.15, 1.0)


def controls(session: Session, card: RunInfo, edits: Edits) -> None:
    """The row above the picture: which picture, the edit mode, and what it all means."""
    network = session["picture"] == "pyvis"
    alignment: Any = "bottom" if network else "center"
    with st.container(horizontal=True, vertical_alignment=alignment, gap="xsmall", key="view-controls"):
        session.widget("picture", st.segmented_control, label_visibility="collapsed", width="content")
        if session["picture"] == "pyvis":
            session.widget("k", st.number_input, max_value=card.graph.n_edges, width=140)
        else:
            session.widget("edit", st.toggle, width="content")
        large = card.graph.n_edges > LARGE
        if large:
            session.widget("rule", st.selectbox, label_visibility="collapsed", width=116)
        edit_panel.controls(session, edits)
        if not network:
            primer.primer(card, short=large)


def _files(session: Session, card: RunInfo, result: Attribution, circuit: Circuit, edits: Edits) -> None:
    """The menu's content; the figure shows what the filters leave, and says what the circuit keeps."""
    finding = sentences.of_circuit(card, circuit)
    exports.downloads(
        card,
        result,
        circuit,
        edited=bool(edits) or rule_in(session) != "top-n",
        groups=groups_of(session),
        shown=shown_edges(session, result.scores),
        caption="" if finding is None else finding.text,
    )


def picture(
    session: Session, card: RunInfo, scores: EdgeScores, circuit: Circuit, edits: Edits, selected: Selected
) -> None:
    """The circuit, as the interactive view or as a pyvis network."""
    if session["picture"] == "pyvis":
        _pyvis(card, scores, circuit)
        return
    lists = {"added": list(edits.added), "removed": list(edits.removed), "excluded": list(edits.excluded)}
    payload = build_payload(
        scores,
        n=min(session["k"], scores.graph.n_edges),
        ranking=Ranking(rule=rule_in(session)),
        view={**whole_view(session, selected, scores.graph.n_layers), **lists},
        roles=drawn_roles(card, measured=session["roles"]),
        pane=Pane(
            caption=f"{card.title} · {card.task_title} · {card.model_title}",
            filename=f"{card.task}-{card.method}",
            pictures=False,
            depends=SELECTOR,
            edit=session["edit"],
            said=said_of_heads(card),
        ),
    )
    on_edit = edit_panel.on_edit(session)
    bound_view(session, payload, key="explore-circuit", height=HEIGHT, above=ABOVE, on_edit=on_edit)
    if session["roles"]:
        roles.beside_graph(card)


HEIGHT, ABOVE = 700, 288
"""px of the picture at most, and what stands above it in the window: it and the drawer beside it fit."""
DRAWER = f"""<style>@media (min-width: 641px) {{
.st-key-drawer {{ max-height: max(300px, min({HEIGHT}px, 100dvh - {ABOVE}px)); overflow-y: auto; flex-wrap: nowrap; }}
.st-key-drawer > * {{ flex-shrink: 0; }}
}}</style>"""


def _pyvis(card: RunInfo, scores: EdgeScores, circuit: Circuit) -> None:
    """The second view: a network to drag and zoom, drawn by vis.js."""
    title = f"{card.title} on {card.task_title}"
    page = pyvis_html(scores, circuit, title=title, roles=known_roles(card), height=560, dark=dark())
    st.iframe(page, height=660, alt=f"Network of the circuit: {circuit.n_kept} edges of {title}")


def edges_table(session: Session, card: RunInfo, scores: EdgeScores, circuit: Circuit, pick: Pick) -> None:
    """The edges, sortable and searchable; selecting a row selects the edge in the graph."""
    find = session.widget("edge", st.text_input, placeholder="a3.h1, a0.h2->, ->m2 or <q>")
    page = edge_page(card, scores, circuit, find)
    table = page.table
    many = session["edit"]
    st.caption(
        (f"The {len(table):,} strongest of {page.n_found:,} edges: narrow them above. " if page.cut else "")
        + (f"{page.n_found:,} edge{'s fit' if page.n_found != 1 else ' fits'}. " if find and not page.cut else "")
        + (f"All {page.n_found:,} scored edges, strongest first. " if not find and not page.cut else "")
        + "Click a column to sort; "
        + ("select rows to add or remove them. " if many else "select a row to see that edge in the graph. ")
        + "By keyboard: arrows move, Shift+Space selects the row."
    )
    if table.empty:
        return
    state = st.dataframe(
        written(table, {"score": score, "source_layer": partial(decimal, digits=0)}),
        key=f"edge-table{'-edit' if many else ''}",
        hide_index=True,
        height=460,
        on_select="rerun",
        selection_mode="multi-row" if many else "single-row",
        column_order=list(_COLUMNS),
        column_config={
            **_COLUMNS,
            "score": _score(long_form(table, "%+.4g")),
            "magnitude": _magnitude(largest(scores) or 1.0),
        },
    )
    rows = state["selection"]["rows"]
    if many:
        edit_panel.at_rows(session, circuit, [str(table.iloc[row]["edge"]) for row in rows])
        return
    name = str(table.iloc[rows[0]]["edge"]) if rows else ""
    if name != st.session_state.get("table-picked", ""):
        st.session_state["table-picked"] = name
        if name:
            pick(name)
            st.rerun()


_COLUMNS = {
    "rank": st.column_config.NumberColumn("Rank", help="1 is the largest |score|."),
    "edge": st.column_config.TextColumn("Edge", width="medium"),
    "score": None,
    "magnitude": None,
    "type": st.column_config.TextColumn("Enters by", help="Query, key, value, MLP or logits."),
    "source": "Source",
    "destination": "Destination",
    "source_layer": st.column_config.NumberColumn("From layer", help="−1 is the input."),
    "layer": "To layer",
    "in_graph": st.column_config.CheckboxColumn("In circuit", help="Kept in the circuit on screen."),
}


def _score(form: str | None) -> Any:
    return st.column_config.NumberColumn("Score", format=form, width=92, help="Positive: supports the behaviour.")


def _magnitude(largest: float) -> Any:
    return st.column_config.ProgressColumn("|score|", format="%.4g", min_value=0.0, max_value=largest)


def heat_map(card: RunInfo, scores: EdgeScores, pick: Pick) -> None:
    """Source × destination."""
    state = chart(score_heatmap(scores, dark=dark()), "heat-map", select=True)
    edges = [name for name in points_clicked(state) if "->" in name]
    if edges and edges[0] != st.session_state.get("map-picked"):
        st.session_state["map-picked"] = edges[0]
        pick(edges[0])
        st.rerun()


def spread(scores: EdgeScores, n: int) -> None:
    """How the scores are distributed over sizes and layers."""
    left, right = st.columns(2, gap="large")
    with left:
        chart(scores_distribution(scores, dark=dark()), "distribution")
    with right:
        chart(score_by_layer(scores, dark=dark()), "by-layer")
    chart(cumulative_share({"all edges": scores}, current=n, dark=dark()), "cumulative")


def curve(card: RunInfo, scores: EdgeScores, n: int, marked: Circuit | None = None) -> None:
    """Faithfulness over sizes of circuits of the strongest edges, computed when the tab is opened.

    marked: the circuit on screen, where it is none of these (edited, or grown).
    """
    sizes = curve_sizes(card.graph.n_edges)
    circuits = [circuit_of(card, scores, size, "top-n") for size in sizes]
    seconds = len(circuits) * cost(card)
    if measure.known(card, circuits) is None and not may_run(
        card, "Measure the curve", key="curve-run", seconds=seconds
    ):
        return
    job_id = measure.submit_circuits(card, circuits, f"faithfulness curve of {card.task}")

    def show(job: JobView) -> None:
        measured: Measured = job.result
        line = band_line(variant(card.method, card.options), measured.selected, measured.band(), measured.kept)
        figure = faithfulness_curves([line], n_edges=card.graph.n_edges, current=n, dark=dark())
        if marked is not None:
            _mark(figure, card, marked)
        chart(figure, "curve", stem=f"{card.task}-{card.method}-faithfulness")

    follow(job_id, show, waiting="Running circuits of every size ·", cancel=True)


def _mark(figure: Any, card: RunInfo, circuit: Circuit) -> None:
    """The circuit on screen as a star, where it has been measured (the readout asks for it)."""
    job = server.manager().soon(measure.submit_circuits(card, [circuit], "the circuit on screen"))
    if job is None or job.state != "done":
        return
    figure.add_scatter(
        x=[circuit.n_selected],
        y=[job.result.faithfulness[0]],
        mode="markers",
        name="the circuit on screen",
        marker={"symbol": "star", "size": 16, "color": theme(dark()).text},
        hovertext=hover(job.result.faithfulness[:1], decimal),
        hovertemplate="the circuit on screen<br>%{x:,} edges, faithfulness %{hovertext}<extra></extra>",
    )


def check(card: RunInfo, scores: EdgeScores) -> None:
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
    job_id = measure.submit_edges(card, names)

    def show(job: JobView) -> None:
        real = job.result.clean - np.array(job.result.metric)
        _check_figure(names, np.array([score_of(scores, name) for name in names]), real)

    follow(job_id, show, waiting="Patching one edge at a time ·", cancel=True)


def _check_figure(names: Sequence[str], estimates: np.ndarray, real: np.ndarray) -> None:
    figure = go.Figure()
    figure.add_bar(
        x=real,
        y=[escape(name) for name in names],
        orientation="h",
        name="real effect of patching",
        marker={"color": [sign_colour(float(value)) for value in real], "opacity": 0.85},
        hovertext=hover(real),
        hovertemplate="%{y}<br>real effect %{hovertext}<extra></extra>",
    )
    figure.add_scatter(
        x=estimates,
        y=[escape(name) for name in names],
        mode="markers",
        name="score (estimate)",
        marker={"symbol": "diamond-open", "size": 11, "color": theme(dark()).text, "line": {"width": 2}},
        hovertext=hover(estimates),
        hovertemplate="%{y}<br>score %{hovertext}<extra></extra>",
    )
    error = float(np.abs(estimates - real).mean())
    apply(
        figure,
        title="Estimate and real effect of the strongest edges",
        x="change of the metric (positive: the edge supports the behaviour)",
        note=f"mean |score − real effect| = {number(error, 4)} over {len(names)} edges",
        read="A diamond at the end of its bar: the estimate is right; beyond it: the score overstates the edge.",
        dark=dark(),
        height=160 + 24 * len(names),
    )
    figure.update_yaxes(autorange="reversed")
    chart(figure, "check")
