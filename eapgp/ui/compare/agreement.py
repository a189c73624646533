"""The tab of the Compare page on agreement: overlap of the strongest edges by size, correlations, and by group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from eapgp.attribution.registry import every_edge
from eapgp.evaluation.agreement import Agreement, agreement
from eapgp.figures.numbers import edge_values, jaccard_at
from eapgp.numerals import decimal
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import chart, dark, downloads, plain, written
from eapgp.ui.base.session import Session
from eapgp.ui.compare.choice import answer
from eapgp.ui.compare.views import Pair
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import poll_all, progress_bars, say_failed
from eapgp.ui.jobs.manager import Progress
from eapgp.ui.library import measure, results
from eapgp.ui.parts import run_choice
from eapgp.ui.sidebar import settings

EXACT = "Exact patching"


def overlap(session: Session, cards: Mapping[str, RunInfo], pair: Pair, k: int) -> None:
    """Every run against a reference: exact patching where it was computed, else A."""
    from eapgp.figures.compare import jaccard_curve

    base, everything = _reference(session, cards, pair)
    scores = {name: results.attribution(card).scores for name, card in everything.items()}
    chart(jaccard_curve(scores, reference=base, current=k, dark=dark()), "jaccard")
    agreements = _agreements(base, everything)
    if not agreements:
        return
    _table(agreements, scores, base, k)
    _bars(session, agreements, base)
    st.caption(
        "Agreement with exact single-edge scores is not faithfulness: redundant edges are each worth nothing alone, so "
        "a ranking close to exact can still make a worse circuit. Look at the faithfulness curves too."
    )


def _reference(session: Session, cards: Mapping[str, RunInfo], pair: Pair) -> tuple[str, dict[str, RunInfo]]:
    """What the others are held against, and all that is drawn (the reference among them)."""
    first = pair.cards[0]
    spec = first.run.spec
    exact = next((name for name, card in cards.items() if every_edge(card.method, card.options)), "")
    alike = not any(run_choice.unpaired(first, card) for card in cards.values())
    asked = settings.with_method(spec, "exact", {}) if spec is not None else None
    stored = next((card for card in results.comparable(first) if every_edge(card.method, card.options)), None)
    if stored is None and asked is not None:
        stored = answer(asked, first, results.shelf().answers())
    everything = dict(cards)
    with st.container(horizontal=True, vertical_alignment="bottom", key="compare-reference"):
        session.widget("reference", st.segmented_control, width="content")
        if stored is None and asked is not None:
            _offer_exact(asked, first)
    wanted = session["reference"]
    if wanted == "a" or (wanted == "auto" and not alike):
        return pair.names[0], everything
    if exact and alike:
        return exact, everything
    if stored is not None:
        name = EXACT if alike else f"{EXACT} of A's prompts"
        return name, everything | {name: stored}
    if wanted == "exact":
        st.caption("Exact patching of these prompts was not computed yet; held against A meanwhile.")
    return pair.names[0], everything


def _offer_exact(asked: Any, card: RunInfo) -> None:
    job = server.job(f"run-{asked.job_key()}")
    if job is not None and job.live:
        poll_all((job.id,), progress_bars)
        return
    if job is not None and job.state == "failed":
        say_failed(job)
    st.button(
        f"Compute exact patching ({card.graph.n_edges:,} edges)",
        key="compute-exact",
        icon=":material/play_arrow:",
        on_click=measure.submit_run,
        args=(asked, f"exact patching on {card.task}"),
        help="Patches every edge for real, one at a time, in the background: the real effect that the scores estimate. "
        "Half a minute on the demo model, hours on large ones.",
    )


def _agreements(base: str, cards: Mapping[str, RunInfo]) -> dict[str, Agreement]:
    """Every other run's agreement with the reference; taken in the background, for graphs can be large."""
    agreements, waiting = {}, []
    for name, card in cards.items():
        if name == base:
            continue
        key = f"agree-{card.id}-{cards[base].id}"
        server.manager().submit(key, f"agreement of {name} with {base}", _work(card, cards[base]), lane="numbers")
        job = server.manager().soon(key)
        if job is not None and job.live:
            waiting.append(key)
        elif job is not None and job.state == "done":
            agreements[name] = job.result
        elif job is not None and job.message:
            st.error(plain(f"{name}: {job.message}"), icon=":material/error:")
    if waiting:
        poll_all(waiting, progress_bars)
    return agreements


def _work(a: RunInfo, b: RunInfo) -> Any:
    def work(progress: Progress) -> Agreement:
        progress("comparing scores", 0.0)
        return agreement(results.attribution(a).scores, results.attribution(b).scores, ks=())

    return work


def _table(agreements: Mapping[str, Agreement], scores: Mapping[str, Any], base: str, k: int) -> None:
    from eapgp.figures.compare import edge_sets

    reference, reference_ranks = edge_values(scores[base]), scores[base].ranks
    rows = []
    for name, one in agreements.items():
        ranks = scores[name].ranks
        parts = edge_sets(edge_values(scores[name]), reference, ranks, reference_ranks, k)
        shared, flipped = len(parts["both"]) + len(parts["sign flipped"]), len(parts["sign flipped"])
        rows.append(
            (
                name,
                float(jaccard_at(ranks, reference_ranks, np.array([k]))[0]),
                (shared - flipped) / shared if shared else float("nan"),
                one.overall.pearson,
                one.overall.spearman,
                one.overall.kendall,
                one.overall.sign_agreement,
            )
        )
    jaccard, signs = f"Jaccard at {k:,}", f"equal signs at {k:,}"
    columns = ["run", jaccard, signs, "Pearson", "Spearman", "Kendall", "equal signs"]
    table = pd.DataFrame(rows, columns=columns)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.markdown(f"**Agreement with {plain(base)}**", width="stretch")
        downloads(lambda: table, "agreement")
    helps = {
        jaccard: f"Shared edges over all edges of the two circuits of the {k:,} strongest.",
        signs: "Among the shared edges, the share whose score has the same sign.",
        "Pearson": "Linear correlation of the signed scores over all edges; ruled by the largest.",
        "Spearman": "Correlation of the ranks of the signed scores over all edges.",
        "Kendall": "τ-b of the signed scores: pairs of edges in the same order minus those in the other.",
        "equal signs": "Share of equal signs among all edges that neither scores 0.",
    }
    config = {name: st.column_config.NumberColumn(help=text) for name, text in helps.items()}
    st.dataframe(written(table, dict.fromkeys(helps, decimal)), hide_index=True, column_config=config)


def _bars(session: Session, agreements: Mapping[str, Agreement], base: str) -> None:
    from eapgp.figures.adapt import agreement_bars

    with st.container(horizontal=True, gap="medium", key="compare-groups"):
        session.widget("agree", st.segmented_control, width="content")
        session.widget("group", st.segmented_control, width="content")
    group = session["group"]
    title = f"Agreement with {base} by {'edge type' if group == 'types' else 'layer'}"
    chart(agreement_bars(agreements, measure=session["agree"], by=group, title=title, dark=dark()), "agreement-groups")
