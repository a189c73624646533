"""What the Ground truth page draws: the overlay, ROC, precision and recall, edges, and roles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from eapgp import findings
from eapgp.attribution.result import EdgeScores
from eapgp.circuits.circuit import Circuit
from eapgp.figures.circuit_view import Pane, Ranking, ViewPayload, build_payload
from eapgp.findings import Finding
from eapgp.ground_truth.compare import precision_recall
from eapgp.ground_truth.planted import SATURATED_EDGE, TRUE_EDGES
from eapgp.numerals import count, decimal, score
from eapgp.ui.base.draw import chart, dark, plain, table_to_pick, written
from eapgp.ui.base.session import Session
from eapgp.ui.ground_truth import planted
from eapgp.ui.ground_truth.candidates import KnownCircuit, Scored, circuit_at, roc_of, unlike
from eapgp.ui.parts.bound_view import chosen_in, selection_view
from eapgp.ui.parts.inspector import Pick
from eapgp.ui.sidebar.settings import prompts_title

ABOVE = 262
"""px that stand above the circuit in the window."""


def payload_of(session: Session, truth: KnownCircuit, scored: Scored, k: int) -> ViewPayload:
    """The circuit of the k best edges over the known one: found, missed, extra, with role labels."""
    return build_payload(
        scored.scores,
        n=k,
        ranking=Ranking(absolute=not session["signed"]),
        against=truth.circuit.edge_names(),
        roles={node: role.title for node, role in truth.roles.items()},
        view=selection_view(chosen_in(session, truth.graph), session["pins"]),
        pane=Pane(filename=f"{truth.name.replace('/', '-')}-overlay", caption=f"{scored.label} against {truth.title}"),
    )


def known_payload(session: Session, truth: KnownCircuit) -> ViewPayload:
    """The known circuit alone, for a page without scores: every edge drawn alike."""
    scores = EdgeScores(truth.graph, truth.circuit.edges.astype(np.float64))
    return build_payload(
        scores,
        circuit=truth.circuit,
        roles={node: role.title for node, role in truth.roles.items()},
        view=selection_view(chosen_in(session, truth.graph), session["pins"]),
        pane=Pane(
            title=truth.title,
            filename=truth.name.replace("/", "-"),
            legend_note="All edges of the known circuit, drawn alike: it has no scores.",
        ),
    )


def nothing_scored(truth: KnownCircuit) -> Finding:
    """What a page without scores has to say: how large the known circuit is."""
    n, all_edges = truth.circuit.n_kept, truth.graph.n_edges
    how = "true by construction" if truth.exact else f"what people found for {prompts_title(truth.task).lower()}"
    text = f"{count(n)} of {count(all_edges)} edges are {how}; no scores are held against them yet."
    return Finding(text, {"edges": n})


def finding(truth: KnownCircuit, scored: Scored, circuit: Circuit) -> Finding:
    """Which of the known edges the drawn circuit has, in words."""
    return findings.of_truth(circuit, truth.circuit, name=scored.label, of="planted" if truth.exact else "known")


def readout(truth: KnownCircuit, scored: Scored, circuit: Circuit, *, signed: bool, mlps: bool) -> None:
    """The numbers of the drawn circuit."""
    edges = precision_recall(circuit, truth.circuit, level="edges", mlps=mlps)
    nodes = precision_recall(circuit, truth.circuit, level="nodes", mlps=mlps)
    ranked = {level: roc_of(scored, truth, level, signed=signed, mlps=mlps).auroc for level in ("edges", "nodes")}
    with st.container(horizontal=True, gap="medium", key="truth-readout"):
        for label, value, help in (
            (
                "Edges found",
                f"{edges.hits:,} of {edges.n_true:,}",
                f"Edges of the known circuit among the {edges.n_found:,} that this circuit keeps.",
            ),
            ("Precision", decimal(edges.precision), "Share of this circuit's edges that are in the known one."),
            ("Recall", decimal(edges.recall), "Share of the known circuit's edges that this one has."),
            ("AUROC edges", decimal(ranked["edges"]), _AUROC.format("edge")),
            (
                "Nodes found",
                f"{nodes.hits:,} of {nodes.n_true:,}",
                f"Heads and MLPs of the known circuit among the {nodes.n_found:,} that this circuit touches.",
            ),
            ("AUROC nodes", decimal(ranked["nodes"]), _AUROC.format("head or MLP") + _NODES),
        ):
            st.metric(label, value, help=help, width="content")


_AUROC = "How likely a {} of the known circuit is ranked above one that is not in it; 0.5 is chance. All sizes at once."
_NODES = " A node is ranked by its strongest edge, or by node scores where the file has them."


def caution(truth: KnownCircuit, compared: Sequence[Scored]) -> None:
    """What the comparison cannot say."""
    others = unlike(truth, compared)
    if others:
        st.warning(
            f"{plain(others[0].label)} is about {plain(others[0].task)}, the known circuit about {plain(truth.task)}: "
            "agreement is not to be expected. Choose another known circuit or other scores above.",
            icon=":material/warning:",
        )
    if any(scored.file is not None for scored in compared):
        st.caption("Signs of imported scores are the file's own; in some published files negative means helpful.")


def roc_curves(truth: KnownCircuit, compared: Sequence[Scored], *, signed: bool, mlps: bool) -> None:
    """ROC of every ranking, for edges and for nodes."""
    from eapgp.figures.adapt import roc_line
    from eapgp.figures.curves import roc

    for column, level in zip(st.columns(2, gap="large"), ("edges", "nodes"), strict=True):
        lines = [roc_line(one.label, roc_of(one, truth, level, signed=signed, mlps=mlps)) for one in compared]
        with column:
            chart(roc(lines, title=f"ROC of {level}", dark=dark()), f"roc-{level}")


def recall_curves(truth: KnownCircuit, compared: Sequence[Scored], *, signed: bool, mlps: bool) -> None:
    """Precision against recall of every ranking, for edges and for nodes."""
    from eapgp.figures.adapt import precision_recall_line
    from eapgp.figures.curves import precision_recall as figure

    for column, level in zip(st.columns(2, gap="large"), ("edges", "nodes"), strict=True):
        lines, base = [], float("nan")
        for scored in compared:
            curve = roc_of(scored, truth, level, signed=signed, mlps=mlps)
            lines.append(precision_recall_line(scored.label, curve))
            base = curve.n_true / curve.n
        with column:
            chart(figure(lines, base_rate=base, title=f"Precision and recall of {level}", dark=dark()), f"pr-{level}")


def edge_lists(truth: KnownCircuit, scored: Scored, circuit: Circuit, pick: Pick, *, signed: bool, mlps: bool) -> None:
    """Which edges were found, missed or are extra; a row selects the edge in the circuit."""
    from eapgp.figures.adapt import confusion_row
    from eapgp.figures.evidence import confusion

    rows = []
    for level in ("edges", "nodes"):
        overlap = precision_recall(circuit, truth.circuit, level=level, mlps=mlps)  # type: ignore[arg-type]
        rows.append(confusion_row(level, overlap))
    figure = confusion(rows, unit="edges or nodes", dark=dark())
    figure.update_yaxes(title_text="")
    for bar in figure.data:
        if bar.marker.pattern.shape:
            bar.marker.pattern.bgcolor = bar.marker.color  # without it the pattern stands on the bare page
    chart(figure, "truth-parts")
    table = edge_table(truth, scored, circuit, signed=signed)
    table_to_pick(
        written(table, {"score": score}),
        "truth-edges",
        lambda place: pick(str(table["edge"].iloc[place])),
        height=min(40 + 36 * max(1, len(table)), 430),
        column_config={
            "score": st.column_config.NumberColumn(help="Positive: supports the behaviour."),
            "rank": st.column_config.NumberColumn(help="Place in this ranking of all edges; 1 is the best."),
            "from": st.column_config.TextColumn("role of the source", help="In the known circuit."),
            "to": st.column_config.TextColumn("role of the destination", help="In the known circuit."),
        },
    )
    st.caption(
        "Select a row to see that edge in the circuit above. A missed edge of a low rank number is nearly found."
    )


def edge_table(truth: KnownCircuit, scored: Scored, circuit: Circuit, *, signed: bool) -> pd.DataFrame:
    """The edges of either circuit with their part (found, missed, extra), score, rank and roles, best first."""
    from scipy.stats import rankdata

    graph, values = truth.graph, np.asarray(scored.scores.values, dtype=np.float64)
    key = values if signed else np.abs(values)
    key = np.where(np.isnan(key), -np.inf, key)
    ranks = np.zeros(key.shape)
    ranks[graph.mask] = rankdata(-key[graph.mask], method="min")
    rows, columns = np.nonzero(circuit.edges | truth.circuit.edges)
    rows_of = []
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        inside, true = circuit.edges[row, column], truth.circuit.edges[row, column]
        source, destination = graph.sources[row], graph.nodes[int(graph.destination_nodes[column])]
        rows_of.append(
            {
                "edge": graph.edge_name(row, column),
                "part": "found" if inside and true else "missed" if true else "extra",
                "score": float(values[row, column]),
                "rank": int(ranks[row, column]),
                "from": _role(truth, source),
                "to": _role(truth, destination),
            }
        )
    table = pd.DataFrame(rows_of, columns=["edge", "part", "score", "rank", "from", "to"])
    return table.sort_values("rank", kind="stable", ignore_index=True)


def _role(truth: KnownCircuit, node: str) -> str:
    return truth.roles[node].title if node in truth.roles else ""


def role_table(truth: KnownCircuit, scored: Scored, circuit: Circuit) -> None:
    """What the classes of nodes do, and which of them the drawn circuit has."""
    touched = set(circuit.node_names())
    members: dict[str, list[str]] = {}
    about = {}
    for node, role in truth.roles.items():
        members.setdefault(role.title, []).append(node)
        about[role.title] = role.explanation
    rows = [
        {
            "role": title,
            "found": f"{sum(node in touched for node in nodes)} of {len(nodes)}",
            "share": sum(node in touched for node in nodes) / len(nodes),
            "nodes found": ", ".join(node for node in nodes if node in touched),
            "nodes missed": ", ".join(node for node in nodes if node not in touched),
            "what they do": about[title],
        }
        for title, nodes in members.items()
    ]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        column_config={
            "share": st.column_config.ProgressColumn("share", format="percent", min_value=0.0, max_value=1.0),
            "what they do": st.column_config.TextColumn(width="large"),
        },
    )
    st.caption(
        f"A node counts as found where a kept edge of the top {circuit.n_selected:,} of {plain(scored.label)} touches "
        "it. Roles are labelled in the circuit above."
    )


def every_score(truth: KnownCircuit, compared: Sequence[Scored], k: int, *, signed: bool, mlps: bool) -> None:
    """All rankings side by side, as numbers."""
    table = score_table(truth, compared, k, signed=signed, mlps=mlps)
    forms: dict[str, Callable[[float], str]] = {name: decimal for name in table.columns if table[name].dtype == float}
    config: dict[str, Any] = {}
    if truth.exact:
        config["saturated edge"] = st.column_config.NumberColumn(
            "saturated edge: rank", help=f"Place of {SATURATED_EDGE}; ties take their mean place."
        )
        config["its size"] = st.column_config.NumberColumn(
            help="|score| of the saturated edge over the largest of all."
        )
        forms["saturated edge"] = partial(decimal, digits=1)
    st.dataframe(written(table, forms), hide_index=True, column_config=config)
    if truth.exact:
        st.markdown(planted_sentence(table))
    st.caption(
        "AP: average precision over all thresholds. "
        + (
            "The truth is exact here: a miss is a fact about the method on this model, which is made so that gradients "
            "at the clean prompt cannot see one of the edges."
            if truth.exact
            else "A manual circuit is somebody's reading: heads that it leaves out can matter, and its edges differ "
            "between sources. What is extra here may still be real."
        )
    )


def score_table(truth: KnownCircuit, compared: Sequence[Scored], k: int, *, signed: bool, mlps: bool) -> pd.DataFrame:
    """One row per ranking: areas, precision and recall at k, and what is known of the planted circuit."""
    rows = []
    for scored in compared:
        curves = {level: roc_of(scored, truth, level, signed=signed, mlps=mlps) for level in ("edges", "nodes")}
        circuit = circuit_at(scored, k, signed=signed)
        overlap = precision_recall(circuit, truth.circuit, level="edges", mlps=mlps)
        row: dict[str, Any] = {
            "scores": scored.label,
            "AUROC edges": curves["edges"].auroc,
            "AP edges": curves["edges"].average_precision,
            "AUROC nodes": curves["nodes"].auroc,
            f"precision at {k:,}": overlap.precision,
            f"recall at {k:,}": overlap.recall,
        }
        if truth.exact:
            at = planted.finding(scored.scores)
            row |= {"true in top 8": at.found, "saturated edge": at.rank, "its size": at.share}
        rows.append(row)
    return pd.DataFrame(rows)


def planted_sentence(table: pd.DataFrame) -> str:
    """Which methods see the saturated edge, and which do not."""
    rank = table["saturated edge"]
    seen = [plain(name) for name in table["scores"][rank <= len(TRUE_EDGES)]]
    blind = [plain(name) for name in table["scores"][rank > len(TRUE_EDGES)]]
    words = f"The saturated edge `{SATURATED_EDGE}` is among the {len(TRUE_EDGES)} best of "
    return f"{words}**{', '.join(seen) or 'none'}**, and is missed by **{', '.join(blind) or 'none'}**."
