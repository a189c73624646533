"""What the Paper page draws of a reproduction: outcomes beside published numbers, curves, tables, how it was made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from eapgp.findings import Finding
from eapgp.models.catalogue import find_model
from eapgp.numerals import decimal, ends, percent
from eapgp.study.published import (
    ABSTRACT,
    HANNA_2024,
    HANNA_2024_EXACT,
    HEADLINE_SIZE,
    N_EDGES,
    SIZES,
    XL_SIZES,
    ZHANG_2025,
    is_gpt2_small,
    widest_spread,
)
from eapgp.study.reproduce import FEASIBLE_EDGES, GRID
from eapgp.study.reproduce_figures import manual_figure, task_figure
from eapgp.study.reproduce_page import html_page, markdown_page
from eapgp.study.reproduce_result import Reproduction
from eapgp.study.reproduce_rows import (
    HIGHER,
    LOWER,
    MAIN,
    METHODS,
    NOT_RUN,
    REPRODUCED,
    TASKS,
    TOLERANCE,
    UNPUBLISHED,
    VERDICTS,
    Row,
)
from eapgp.tasks import TASKS as KNOWN
from eapgp.ui.base.draw import chart, dark, plain, written
from eapgp.ui.base.routes import page_file
from eapgp.ui.base.session import Session
from eapgp.ui.paper.panel import NOT_YET, headline_size, method_name

_MARKS = {REPRODUCED: "✓", HIGHER: "▲", LOWER: "▼", NOT_RUN: "○", UNPUBLISHED: "–"}
_MEANINGS = {
    REPRODUCED: f"What is published (a value, or the range of two tables) meets our interval widened by {TOLERANCE}.",
    HIGHER: f"Our 95 % interval lies above what is published by more than {TOLERANCE}.",
    LOWER: f"Our 95 % interval lies below what is published by more than {TOLERANCE}.",
    NOT_RUN: "Not computed here: no weights, not asked for, or it failed. No value is shown.",
    UNPUBLISHED: "Computed, but nothing is published for this model, task, method and size.",
}
_CHARTS = "paper-curves"
_TWO = f"Two values: two tables of the same authors, which differ; {HANNA_2024_EXACT}."


def finding(result: Reproduction) -> Finding | None:
    """Which method keeps most on how many tasks at the headline size, in words."""
    names = {method: method_name(method) for method in MAIN}
    return result.finding(headline_size(result), names)


def nothing() -> None:
    """Where not even the bundled reproduction is there."""
    st.info(
        "No outcome is here yet. Press **Run the protocol** on the left; the demo model takes some minutes.",
        icon=":material/play_arrow:",
    )


def whose(result: Reproduction) -> None:
    """Whose numbers stand beside whose, and other remarks that belong to every number."""
    if result.ran:
        few = [remark for remark in result.remarks if remark.startswith("Only ")]
        for remark in few:
            st.warning(plain(remark), icon=":material/warning:")
    if result.is_published or not result.ran:
        if result.ran and find_model(result.model) is None:
            st.caption(plain(result.remarks[0]))
        return
    model = "the demo model" if result.model == "demo" else result.model
    first = f"Nothing is published for {plain(model)}: this shows that the protocol runs and what it gives."
    st.info(
        f"{plain(result.remarks[0]) if is_gpt2_small(result.model) else first} The published "
        "numbers below are **GPT-2 small's, another model's**, at the same share of its edges. They are no target "
        "here, and no verdict rests on them.",
        icon=":material/compare:",
    )


def verdicts(result: Reproduction) -> None:
    """How many cells have each verdict."""
    counts = result.verdicts()
    with st.container(horizontal=True, gap="medium", key="paper-verdicts"):
        for verdict in VERDICTS:
            label = f"{_MARKS[verdict]} {verdict.capitalize()}"
            st.metric(label, counts[verdict], help=_MEANINGS[verdict], width="content")
    reasons = {row.note for row in result.rows if row.verdict == NOT_RUN and row.note}
    if not result.ran:
        _nothing_ran(result, reasons)
    elif reasons:
        st.caption("Not run: " + plain("; ".join(sorted(reasons)[:3])) + ".")


def _nothing_ran(result: Reproduction, reasons: set[str]) -> None:
    why = "; ".join(sorted(reasons)[:2])
    what = (
        "**Run the protocol** needs the model's weights: they are fetched from Hugging Face, or give the path of a "
        "local folder as the model."
        if why == NOT_YET
        else plain(why)
    )
    st.warning(
        f"Nothing of this was run here, so only the published numbers are shown. {what}", icon=":material/cloud_off:"
    )


# -- outcomes at one size ----------------------------------------------------------------------


def outcomes(session: Session, result: Reproduction) -> None:
    """Task by method at one size of circuit: ours with its interval, what is published, and the verdict."""
    sizes = sorted({row.edges for row in result.rows})
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="paper-size"):
        size = _choose_size(session, result, sizes)
        if not result.is_published and any(row.gpt2_small is not None for row in result.rows):
            session.widget("gpt2", st.toggle, width="content")
    rows = [row for row in result.rows if row.edges == size]
    st.dataframe(
        written(outcome_table(result, rows, beside=bool(session["gpt2"])), _FORMS),
        key="paper-outcomes",
        hide_index=True,
        height=38 + 30 * len(rows),
        row_height=30,
        placeholder="–",
        column_config=_columns(result),
    )
    st.caption(
        "Normalised faithfulness: 1 is all of the behaviour, 0 what the corrupted run does. The interval is over "
        "prompt pairs drawn with replacement (95 %). Published values were measured on other prompts and have none."
    )


def _choose_size(session: Session, result: Reproduction, sizes: list[int]) -> int:
    usual = headline_size(result)
    options = [0, *(size for size in sizes if size != usual)]  # 0 is the headline, whatever the model
    session.settle("size", session["size"] if session["size"] in options else 0, "a size that was measured")
    share = max(result.n_edges, 1)

    def name(size: int) -> str:
        edges, word = (size, "") if size else (usual, "Headline: ")
        return f"{word}{edges:,} edges ({percent(edges / share, 2)})" if result.n_edges else f"{word}{edges:,} edges"

    answer = session.widget("size", st.selectbox, options=options, format_func=name, width=280)
    return int(answer) or usual


def outcome_table(result: Reproduction, rows: list[Row], *, beside: bool) -> pd.DataFrame:
    """The rows as the page lists them."""
    values: list[dict[str, Any]] = []
    for row in rows:
        entry = {
            "task": row.task,
            "method": method_name(row.method),
            "edges": row.edges,
            "ours": row.value,
            "interval": ends(row.low, row.high) or "–",
            "published": row.published_text or None,
            "verdict": f"{_MARKS[row.verdict]} {row.verdict}",
        }
        if beside and not result.is_published:
            entry["gpt2_small"] = row.gpt2_small_text or None
        values.append({**entry, "remark": row.note})
    table = pd.DataFrame(values)
    if "ours" in table:
        table["ours"] = table["ours"].astype(float)
    if len({row.edges for row in rows}) == 1:
        table = table.drop(columns="edges")
    if not result.is_published:
        table = table.drop(columns="published")
    return table if result.ran and any(row.note for row in rows) else table.drop(columns="remark")


_FORMS: dict[str, Callable[[float], str]] = {"ours": decimal, "share": partial(percent, digits=2)}


def _columns(result: Reproduction) -> dict[str, Any]:
    number = st.column_config.NumberColumn
    about = f"{HANNA_2024}; at {HEADLINE_SIZE} edges: {ZHANG_2025}."
    model = "the demo model" if result.model == "demo" else result.model
    return {
        "task": st.column_config.TextColumn("Task"),
        "method": st.column_config.TextColumn("Method"),
        "edges": number("Edges", format="localized", help="Edges selected, before dead ends are pruned."),
        "share": number("Share"),
        "ours": number("Ours", help=f"Normalised faithfulness of {model}'s circuits, measured here."),
        "interval": st.column_config.TextColumn("95 % interval"),
        "published": st.column_config.TextColumn(
            "Published",
            help=f"{about} {_TWO} The verdict is against their range.",
        ),
        "verdict": st.column_config.TextColumn("Verdict", help=" ".join(_MEANINGS.values())),
        "gpt2_small": st.column_config.TextColumn(
            "GPT-2 small, published",
            help=f"Another model's, at the same share of its edges; no target for {model}. {about} {_TWO}",
        ),
        "remark": st.column_config.TextColumn("Remark"),
    }


# -- curves ------------------------------------------------------------------------------------


HEIGHT = 420  # px of the curves: they fit a low window


def curves(session: Session, result: Reproduction) -> None:
    """Faithfulness by size on one task."""
    tasks = list(result.tasks)
    task = session.widget("on", st.selectbox, options=tasks, format_func=_task_title, width=300)
    _curve(session, result, str(task), _CHARTS, first=HEIGHT)


def all_curves(session: Session, result: Reproduction) -> None:
    """Every task's curves."""
    for start in range(0, len(result.tasks), 2):
        for column, task in zip(st.columns(2, gap="medium"), result.tasks[start : start + 2], strict=False):
            with column:
                _curve(session, result, task, f"paper-{task}", height=400)


def _curve(session: Session, result: Reproduction, task: str, key: str, *, height: int = 0, first: int = 0) -> None:
    figure = task_figure(
        result.of_task(task), n_edges=result.n_edges, title=_task_title(task), dark=dark(), beside=bool(session["gpt2"])
    )
    if figure is None:
        st.caption(f"{_task_title(task)}: nothing was run, and nothing is published.")
        return
    if height:
        figure.update_layout(height=height)
    chart(figure, key, height=first)


def _task_title(task: str) -> str:
    return KNOWN[task].title if task in KNOWN else task


# -- the tabs ----------------------------------------------------------------------------------


def cells(session: Session, result: Reproduction) -> None:
    """Every cell, and downloads of all of it."""
    rows = list(result.rows)
    table = outcome_table(result, rows, beside=bool(session["gpt2"]))
    table.insert(3, "share", [row.share for row in rows])
    st.dataframe(
        written(table, _FORMS),
        key="paper-cells",
        hide_index=True,
        height=420,
        row_height=28,
        placeholder="–",
        column_config=_columns(result),
    )
    downloads(result)


def downloads(result: Reproduction) -> None:
    """The whole outcome as CSV, JSON, Markdown and one HTML file."""
    stem = result.asked.name
    with st.container(horizontal=True, key="paper-downloads"):
        _download("CSV", f"{stem}.csv", lambda: result.table().to_csv(index=False), "Every cell, one a row.")
        _download(
            "JSON", f"{stem}.json", lambda: json.dumps(result.to_dict()), "Everything, as 'eapgp reproduce' keeps it."
        )
        _download("HTML report", f"{stem}.html", lambda: html_page(result), "One file with figures; needs no network.")
        _download("Markdown report", f"{stem}.md", lambda: markdown_page(result), "The report as text.")


def _download(label: str, file: str, make: Callable[[], str], help: str) -> None:
    st.download_button(
        label,
        lambda: make().encode(),
        file_name=file,
        key=f"paper-download-{label}",
        icon=":material/download:",
        on_click="ignore",
        help=help,
    )


def manual(result: Reproduction) -> None:
    """Precision and recall against the manual circuits of GPT-2 small."""
    if not result.overlaps:
        model = "the demo model" if result.model == "demo" else result.model
        why = "were not scored yet" if result.is_published else "has no manual circuit"
        st.info(
            f"{plain(model[0].upper() + model[1:])} {why}. The manual circuits (IOI and greater-than) were read out of "
            "GPT-2 small by people, so precision and recall against them exist for GPT-2 small only. Run the protocol "
            "on it, or put scores that you already have beside them on the Ground truth page.",
            icon=":material/fact_check:",
        )
        st.page_link(page_file("ground_truth"), label="Ground truth", icon=":material/fact_check:")
        return
    frame = result.manual()
    for task, part in frame.groupby("task", sort=False):
        variant = str(part["circuit"].iloc[0])
        figure = manual_figure(result.overlaps, str(task), variant, dark=dark())
        if figure is not None:
            chart(figure, f"paper-manual-{task}")
    shares = [name for name in frame.columns if name.endswith(("precision", "recall"))]
    st.dataframe(
        written(frame, dict.fromkeys(shares, decimal)),
        key="paper-manual-table",
        hide_index=True,
        height=360,
        placeholder="–",
        column_config={name: st.column_config.NumberColumn(name.replace("_", ": ")) for name in shares},
    )
    st.caption(
        "Precision: share of the circuit that is in the manual one; recall: share of the manual one that was found. "
        "The strongest edges by absolute score, dead ends pruned. The manual circuits are people's reading."
    )


def protocol(result: Reproduction) -> None:
    """What the paper does, and how far it is followed here."""
    sizes = (
        f"{GRID[0]} … {GRID[-1]:,} of {N_EDGES:,} edges ({len(GRID)} sizes); other models: the same shares and larger"
    )
    facts = [
        ("Tasks", ", ".join(_task_title(task) for task in TASKS)),
        ("Methods", "; ".join(f"{one.label}{_options(one.options)}" for one in METHODS.values())),
        (
            "Readings of EAP-GP",
            "the paper leaves open whether a gradient is divided by each pair's norm or by one for all pairs, which "
            "points count, and which logits: beside our reading each of the others, and the step that is usual here",
        ),
        ("Exact patching", f"where feasible: up to {FEASIBLE_EDGES:,} edges, beyond where it is asked for"),
        ("Weights", "raw: no folding, no centring"),
        ("Circuits", "greedy from the logits by absolute score, dead ends pruned, the rest carries the corrupted run"),
        ("Sizes", sizes),
        ("Measure", "normalised faithfulness of each task's metric, 95 % bootstrap interval over prompt pairs"),
        ("Manual circuits", "precision and recall of edges and nodes, GPT-2 small on IOI and greater-than"),
        (
            "Published numbers",
            f"{HANNA_2024}: {', '.join(f'{size:,}' for size in SIZES)} edges, and GPT-2 XL at {len(XL_SIZES)} sizes. "
            f"{HANNA_2024_EXACT}: another protocol, other values; {widest_spread()}. {ZHANG_2025}: {HEADLINE_SIZE}",
        ),
        ("The paper's claim", ABSTRACT),
        ("Prompts", "made by this project's own generators, so published values are of other prompts of the same kind"),
    ]
    table = pd.DataFrame(facts, columns=["", "what"]).set_index("")
    st.table(table.map(plain), border="horizontal", hide_header=True)
    for remark in result.remarks:
        st.caption(plain(remark))


def _options(options: Mapping[str, Any]) -> str:
    steps = options.get("steps")
    return f" (k = {steps})" if steps else ""
