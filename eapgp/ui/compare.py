"""The parts of the Compare page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import streamlit as st

from eapgp.attribution.result import EdgeScores
from eapgp.runs.spec import RunSpec
from eapgp.training.examples import curve_sizes
from eapgp.ui import panel, services
from eapgp.ui.circuits import circuit_of
from eapgp.ui.draw import chart, dark, plain, points_clicked
from eapgp.ui.explore import curve_figure
from eapgp.ui.inspector import Pick
from eapgp.ui.jobs import JobView
from eapgp.ui.methods import metric_title, variant
from eapgp.ui.panel import FIELDS_OF_RUN, progress_text
from eapgp.ui.session import Session
from eapgp.ui.shelf import Card
from eapgp.ui.state import choice, integer, names, text

MOST_RUNS = 4
TABS = {
    "scatter": "Score against score",
    "overlap": "Overlap by size",
    "sets": "Shared and not",
    "curves": "Faithfulness by size",
    "costs": "Costs",
}
FIELDS = (
    *FIELDS_OF_RUN,
    names("runs", (), "Two to four runs to compare. All must be of the same model size.", most=MOST_RUNS),
    integer("k", 50, 1, 10_000_000, "How many of the strongest edges each circuit takes; the same for all."),
    text("sel", "", "The selected node or edge.", pattern=r"[\w.<>\-]{1,80}", expected="the name of a node or edge"),
    names("pins", (), "Pinned nodes and edges.", most=40),
    choice(
        "picture",
        "panes",
        ("panes", "sets"),
        "One circuit beside the other, or both in one picture with shared edges told apart.",
    ),
    choice(
        "quantity",
        "scores",
        ("scores", "ranks"),
        "Compare the scores themselves, or each edge's place in the ranking (when units differ).",
    ),
    choice("tab", "scatter", tuple(TABS), "Which view is open below the circuits."),
)
# What “compute more” offers: method, options, label.
OFFERS: tuple[tuple[str, dict[str, object]], ...] = (
    ("eap", {}),
    ("eap-ig", {"steps": 5, "points": "left"}),
    ("eap-gp", {"steps": 5, "step": "relative", "objective": "all"}),
    ("eap-gp", {"steps": 5, "step": "unit", "objective": "all"}),
    ("exact", {}),
    ("random", {}),
)


def label_of(card: Card, context: Card) -> str:
    """The variant, with what differs from the context's task, model or pairs."""
    parts = [variant(card.method, card.options)]
    if card.run.name:
        parts.append(card.run.name)
    if card.task != context.task:
        parts.append(card.task)
    if card.model != context.model:
        parts.append(card.model)
    if card.prompts_hash != context.prompts_hash and card.task == context.task:
        parts.append(f"{card.n_pairs} pairs, seed {card.record['request']['seed']}")
    if card.metric != context.metric and card.task == context.task:
        parts.append(metric_title(card.metric).lower())
    return " · ".join(parts)


def default_runs(context: Card) -> tuple[str, ...]:
    """EAP, EAP-IG and EAP-GP (both step rules) on the context's prompts, as far as they exist."""
    found = services.comparable(context)
    usual = [card.id for card in found if card.method in ("eap", "eap-ig", "eap-gp")]
    return tuple((usual if len(usual) > 1 else [card.id for card in found])[:MOST_RUNS])


def choose(session: Session, context: Card) -> list[Card]:
    """The runs to compare, picked from all of the context's graph."""
    candidates = {card.id: card for card in services.shelf().cards() if card.graph == context.graph}
    own = [card for card in services.comparable(context) if card.id in candidates]
    order = [*own, *(card for card in candidates.values() if card.id not in {one.id for one in own})]
    wanted = tuple(run for run in session["runs"] if run in candidates)
    lost = [run for run in session["runs"] if run not in candidates]
    if lost:
        st.warning(
            f"Run {plain(lost[0])} is not here or belongs to a model of another size; it was left out.",
            icon=":material/link_off:",
        )
    session["runs"] = wanted or default_runs(context)
    chosen = session.widget(
        "runs",
        st.multiselect,
        "Runs side by side",
        options=[card.id for card in order],
        format_func=lambda run: label_of(candidates[run], context),
        max_selections=MOST_RUNS,
        placeholder="Pick two to four runs",
    )
    return [candidates[run] for run in chosen]


def offer_more(session: Session, spec: RunSpec, context: Card | None) -> None:
    """Buttons that compute the methods which this context still lacks, and how far those are."""
    have = {variant(card.method, card.options) for card in services.comparable(context)} if context else set()
    missing = [(m, o) for m, o in OFFERS if variant(m, o) not in have]
    live = {job.id: job for job in services.manager().live() if job.id.startswith("run-")}
    if live:
        st.fragment(_live_jobs, run_every=0.5)(frozenset(live))
    if not missing:
        return
    with st.popover(
        "Compute more", icon=":material/add:", help="Methods that have no result yet for the settings on the left."
    ):
        st.caption(f"On {plain(spec.task)}, {spec.n_pairs} pairs, seed {spec.seed}, {plain(spec.model)}:")
        for method, options in missing:
            asked = services.with_method(spec, method, options)
            name = variant(method, options)
            st.button(
                name,
                key=f"add-{name}",
                width="stretch",
                icon=":material/play_arrow:",
                on_click=_start,
                args=(session, asked, name),
                disabled=f"run-{asked.key()}" in live,
                help="Exact patching runs the model once per edge: seconds on the demo model, hours on large ones."
                if method == "exact"
                else "Computed in the background; it joins the comparison when it is done.",
            )


def _start(session: Session, spec: RunSpec, name: str) -> None:
    services.submit_run(spec, f"{name} on {spec.task}")
    st.session_state.setdefault("compare-wanted", []).append(spec)


def _live_jobs(known: frozenset[str]) -> None:
    live = [job for job in services.manager().live() if job.id.startswith("run-")]
    if {job.id for job in live} != known:
        st.rerun(scope="app")
    for job in live:
        left, right = st.columns([6, 1], vertical_alignment="center")
        left.progress(job.fraction, text=f"{plain(job.label)} · {progress_text(job)}")
        if right.button("Cancel", key=f"stop-{job.id}", help=f"Stop {job.label}."):
            services.manager().cancel(job.id)
            st.rerun(scope="app")


def adopt_finished(session: Session) -> None:
    """Runs that were started here join the comparison when they are done; failures are told."""
    left = []
    for spec in st.session_state.get("compare-wanted", []):
        job = services.job(f"run-{spec.key()}")
        if job is not None and job.live:
            left.append(spec)
        elif job is not None and job.state == "done":
            if job.result not in session["runs"] and len(session["runs"]) < MOST_RUNS:
                session["runs"] = (*session["runs"], job.result)
        elif job is not None and job.state == "failed":
            st.error(plain(job.message), icon=":material/error:")
    st.session_state["compare-wanted"] = left


def warn_if_unlike(cards: Sequence[Card]) -> None:
    """Say when the runs' scores are not in the same units or from the same prompts."""
    if len({card.metric for card in cards}) > 1:
        st.info(
            "These runs use different metrics, so their scores are in different units: compare ranks, not sizes.",
            icon=":material/info:",
        )
    elif len({card.prompts_hash for card in cards}) > 1:
        st.info("These runs saw different prompts; part of the difference comes from that.", icon=":material/info:")


def scatter(session: Session, a: Card, b: Card, labels: tuple[str, str], k: int, pick: Pick) -> None:
    """One point per edge of either circuit."""
    from eapgp.figures.compare import rank_scatter

    session.widget(
        "quantity",
        st.segmented_control,
        "Compare",
        options=["scores", "ranks"],
        format_func=str.capitalize,
        required=True,
    )
    first, second = services.attribution(a).scores, services.attribution(b).scores
    figure = rank_scatter(first, second, labels, k, quantity=session["quantity"], dark=dark())
    state = chart(figure, "rank-scatter", select=True)
    found = [name for name in points_clicked(state) if "->" in name]
    if found and found[0] != st.session_state.get("scatter-picked"):
        st.session_state["scatter-picked"] = found[0]
        pick(found[0])
        st.rerun()


def overlap(scores: Mapping[str, EdgeScores], k: int) -> None:
    """Jaccard index over circuit sizes, and correlations of every pair of runs."""
    from eapgp.figures.compare import jaccard_curve
    from eapgp.figures.numbers import edge_values, jaccard_at, pearson, spearman

    listed = list(scores)
    exact = next((name for name in listed if name.startswith("Exact")), listed[0])
    chart(jaccard_curve(scores, reference=exact, current=k, dark=dark()), "jaccard")
    rows = []
    values = {name: np.asarray(edge_values(one), dtype=np.float64) for name, one in scores.items()}
    for i, first in enumerate(listed):
        for second in listed[i + 1 :]:
            a, b = values[first], values[second]
            rows.append(
                (f"{first} and {second}", float(jaccard_at(a, b, np.array([k]))[0]), pearson(a, b), spearman(a, b))
            )
    table = pd.DataFrame(rows, columns=["runs", f"Jaccard at k = {k}", "Pearson", "Spearman"])
    st.dataframe(
        table,
        hide_index=True,
        column_config={name: st.column_config.NumberColumn(format="%.3f") for name in table.columns[1:]},
    )
    st.caption(
        "Agreement with exact single-edge scores is not faithfulness: redundant edges are each worth nothing alone, so "
        "a ranking close to exact can still make a worse circuit. Look at the faithfulness curves too."
    )


def sets(a: Card, b: Card, labels: tuple[str, str], k: int, pick: Pick) -> None:
    """The edges of both circuits by whether they are shared."""
    from eapgp.figures.compare import edge_sets
    from eapgp.figures.numbers import edge_values, ranks

    first, second = (edge_values(services.attribution(card).scores) for card in (a, b))
    found = edge_sets(first, second, ranks(first), ranks(second), k)
    rows, columns = np.nonzero(a.graph.mask)
    titles = {
        "both": "In both",
        "only A": f"Only {labels[0]}",
        "only B": f"Only {labels[1]}",
        "sign flipped": "Sign flipped",
    }
    for column, (which, members) in zip(st.columns(4), found.items(), strict=True):
        with column:
            st.markdown(f"**{plain(titles[which])}** · {len(members)}")
            order = members[np.argsort(-np.maximum(np.abs(first[members]), np.abs(second[members])))]
            table = pd.DataFrame(
                {
                    "edge": [a.graph.edge_name(int(rows[i]), int(columns[i])) for i in order],
                    "A": first[order],
                    "B": second[order],
                }
            )
            _edge_list(table, f"set-{which}", pick)
    st.caption(
        f"A is {plain(labels[0])}, B is {plain(labels[1])}; the {k} strongest edges of each, before pruning. Select a "
        "row to see that edge in the circuits."
    )


def _edge_list(table: pd.DataFrame, key: str, pick: Pick) -> None:
    if table.empty:
        st.caption("none")
        return

    def chosen() -> None:
        cells = st.session_state[key]["selection"]["cells"]
        if cells:
            pick(str(table["edge"].iloc[cells[0][0]]))

    st.dataframe(
        table,
        key=key,
        hide_index=True,
        height=min(38 + 28 * len(table), 360),
        row_height=28,
        on_select=chosen,
        selection_mode="single-cell",
        column_config={name: st.column_config.NumberColumn(format="%+.3f", width="small") for name in "AB"},
    )


def curves(cards: Mapping[str, Card], k: int) -> None:
    """Faithfulness of every run's circuits, measured in the background."""
    jobs: dict[str, tuple[list[int], JobView]] = {}
    waiting = []
    for name, card in cards.items():
        sizes = curve_sizes(card.graph.n_edges)
        scores = services.attribution(card).scores
        circuits = [circuit_of(card, scores, size) for size in sizes]
        job_id = services.submit_circuits(card, circuits, f"faithfulness of {name}")
        job = services.manager().wait(job_id, 0.3)
        if job is not None and job.live:
            waiting.append(job_id)
        elif job is not None and job.state == "done":
            jobs[name] = (sizes, job)
        elif job is not None and job.message:
            st.error(plain(f"{name}: {job.message}"), icon=":material/error:")
    if waiting:
        st.fragment(_waiting, run_every=0.4)(tuple(waiting))
    if jobs:
        chart(curve_figure(jobs, next(iter(cards.values())).graph.n_edges, k), "curves")
        st.caption("Bands: 95 % intervals over prompt pairs drawn with replacement.")


def _waiting(job_ids: tuple[str, ...]) -> None:
    live = [job for job in map(services.job, job_ids) if job is not None and job.live]
    if len(live) < len(job_ids):
        st.rerun(scope="app")
    for job in live:
        st.progress(job.fraction, text=f"{plain(job.label)} · {progress_text(job)}")


def costs(cards: Mapping[str, Card]) -> None:
    """What each run took."""
    rows = []
    for name, card in cards.items():
        record = card.record
        rows.append(
            {
                "run": name,
                "forward passes": record["forward_passes"],
                "backward passes": record["backward_passes"],
                "seconds": record["seconds"],
                "ms per pair": 1000 * record["seconds"] / max(1, card.n_pairs),
                "pairs": card.n_pairs,
                "device": record.get("device", ""),
                "computed": str(record["created"])[:10],
            }
        )
    table = pd.DataFrame(rows)
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "seconds": st.column_config.NumberColumn(format="%.2f", help="Time of scoring, model loading excluded."),
            "ms per pair": st.column_config.NumberColumn(format="%.1f"),
            "forward passes": st.column_config.NumberColumn(format="%.0f", help="With gradient, per prompt pair."),
            "backward passes": st.column_config.NumberColumn(format="%.0f", help="Per prompt pair."),
        },
    )
    st.caption("Times are from the machine and moment of each run; passes do not depend on either.")


def nothing_to_compare(session: Session, shown: panel.Panel) -> None:
    """What the page says when fewer than two runs are chosen."""
    st.info(
        "Pick at least two runs above. Methods without a result yet are one click away under **Compute more**.",
        icon=":material/compare_arrows:",
    )
