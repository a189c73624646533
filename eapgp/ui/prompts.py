"""The parts of the Prompts page."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

import pandas as pd
import streamlit as st

from eapgp.prompts.pairs import PromptSet
from eapgp.runs.spec import RunSpec
from eapgp.ui import services
from eapgp.ui.draw import plain
from eapgp.ui.jobs import JobView
from eapgp.ui.live import follow
from eapgp.ui.methods import metric_title, variant
from eapgp.ui.panel import FIELDS_OF_RUN
from eapgp.ui.prompts_work import Seen
from eapgp.ui.session import Session
from eapgp.ui.state import choice, integer

MOST_OWN = 5000
COLUMNS = ("clean", "corrupted", "correct", "incorrect")
FIELDS = (
    *FIELDS_OF_RUN,
    choice(
        "source",
        "task",
        ("task", "own"),
        "Prompts that the task's generator makes, or your own pairs typed, pasted or uploaded.",
    ),
    integer("row", 1, 1, 1_000_000, "Which prompt pair is shown token by token."),
)
_EXAMPLE = pd.DataFrame(
    [
        ("When Mary and John went to the store, John gave a drink to",
         "When Mary and John went to the store, Paul gave a drink to", " Mary", " John"),
        ("When Anna and Peter went to the park, Anna gave a book to",
         "When Anna and Peter went to the park, Laura gave a book to", " Peter", " Anna"),
    ],
    columns=list(COLUMNS),
)  # fmt: skip


def about(task: str) -> None:
    """What the task asks of a model, with its metric's formula."""
    from eapgp.metrics import METRICS
    from eapgp.tasks import TASKS

    if task not in TASKS:
        return
    one = TASKS[task]
    metric = METRICS[one.metric]
    st.markdown(plain(one.explanation))
    st.caption(f"Measured by the {metric.title.lower()}: {plain(metric.formula)}. {plain(metric.explanation)}")


def generated(spec: RunSpec) -> PromptSet:
    """The pairs that the settings on the left name."""
    from eapgp.runs.compute import make_prompt_set

    return make_prompt_set(spec)


def table_of(prompts: PromptSet) -> pd.DataFrame:
    """Pairs as a table of texts; answers joined by `|` as prompt files have them."""
    from eapgp.prompts.columns import join_answers

    return pd.DataFrame(
        [
            (
                p.clean,
                p.corrupted,
                join_answers([str(a) for a in p.correct]),
                join_answers([str(a) for a in p.incorrect]),
            )
            for p in prompts
        ],
        columns=list(COLUMNS),
    )


def own_pairs(spec: RunSpec) -> PromptSet | None:
    """An editable table and an upload; the pairs they hold, or None while they hold none that can be read."""
    from eapgp.prompts.files import decode, parse_prompts

    left, right = st.columns([2, 1], gap="large")
    with right:
        st.markdown("**From a file**")
        file = st.file_uploader(
            "CSV with the columns clean, corrupted, correct, incorrect",
            type=["csv", "tsv", "txt"],
            help="Commas, semicolons or tabs. Several right answers are joined by |. The six published formats are "
            f"read too. At most {MOST_OWN:,} pairs are taken.",
            key="own-file",
        )
        st.caption(
            "Clean and corrupted must have the same number of tokens, and each answer must be one token. Words of "
            "GPT-2-like tokenizers start with a space: write “ Mary”, not “Mary”."
        )
    if file is not None:
        text = decode(file.getvalue(), file.name)
        return parse_prompts(text, task=spec.task, limit=MOST_OWN, name=file.name)
    with left:
        st.markdown("**Type or paste** (a block copied from a spreadsheet fits)")
        edited = st.data_editor(
            st.session_state.setdefault("own-start", _EXAMPLE),
            key="own-table",
            num_rows="dynamic",
            hide_index=True,
            width="stretch",
            column_config={
                "clean": st.column_config.TextColumn("Clean", required=True, width="large"),
                "corrupted": st.column_config.TextColumn("Corrupted", required=True, width="large"),
                "correct": st.column_config.TextColumn("Right answers", required=True, help="Joined by |"),
                "incorrect": st.column_config.TextColumn("Wrong answers", required=True, help="Joined by |"),
            },
        )
    rows = [{k: str(v) for k, v in row.items()} for row in edited.dropna().to_dict("records")]
    if not rows:
        st.info("Add a row to begin.", icon=":material/edit:")
        return None
    return parse_prompts(rows[:MOST_OWN], task=spec.task, name="the table")


def inline(spec: RunSpec, prompts: PromptSet) -> RunSpec:
    """The same question about pairs of one's own."""
    pairs = tuple(
        {"clean": p.clean, "corrupted": p.corrupted, "correct": list(p.correct), "incorrect": list(p.incorrect)}
        for p in prompts
    )
    return replace(spec, prompts=pairs, n_pairs=None, task_options={}, task=prompts.task or "custom")


def see(spec: RunSpec, prompts: PromptSet, metric: str) -> str:
    """Start (or join) the running of the model on these pairs; the job's id."""
    from eapgp.ui.prompts_work import see_work

    pairs = json.dumps([asdict(pair) for pair in prompts], sort_keys=True)
    digest = hashlib.sha256(f"{spec.model}|{metric}|{pairs}".encode()).hexdigest()[:20]
    lane = services.live_lane(spec.model)
    work = see_work(services.workshop(), lane, spec.model, prompts, metric)
    return services.manager().submit(f"prompts-{digest}", f"{len(prompts)} prompt pairs", work, lane=lane)


def answers(session: Session, spec: RunSpec, prompts: PromptSet, metric: str) -> None:
    """The pairs; what the model makes of them as soon as that is known; one of them token by token."""
    found: list[Seen] = []
    follow(
        see(spec, prompts, metric),
        lambda job: found.append(job.result),
        waiting="Running the model on these prompts ·",
        cancel=True,
    )
    seen = found[0] if found else None
    if seen is not None:
        _summary(spec, prompts, seen, metric)
    left, right = st.columns([1.5, 1], gap="large")
    with left:
        _pairs(session, prompts, seen)
    with right:
        if seen is not None:
            _one(session, prompts, seen)
        else:
            pair = prompts.pairs[min(session["row"], len(prompts)) - 1]
            st.markdown(f"**Pair {min(session['row'], len(prompts))}**")
            st.markdown(f"Clean: {plain(pair.clean)}  \nCorrupted: {plain(pair.corrupted)}")
            st.caption("Tokens and the model's answers appear when it has run.")
    if seen is not None:
        _keep_right(session, spec, prompts, seen)


def _summary(spec: RunSpec, prompts: PromptSet, seen: Seen, metric: str) -> None:
    with st.container(horizontal=True, gap="medium"):
        st.metric(
            "Right on the clean prompts",
            f"{seen.right.mean():.1%}",
            help="Share of pairs whose right answers are likelier than the wrong ones.",
            width="content",
        )
        title = metric_title(metric)
        st.metric(f"{title}, clean", f"{seen.clean.mean():.3f}", help="Mean over the pairs.", width="content")
        st.metric(f"{title}, corrupted", f"{seen.corrupted.mean():.3f}", help="Mean over the pairs.", width="content")
        st.metric("Pairs", f"{len(seen.used):,}", help="Pairs that this model's tokenizer can use.", width="content")
    if seen.skipped:
        with st.expander(f"{len(seen.skipped)} of {len(prompts)} pairs cannot be used", icon=":material/warning:"):
            for reason in seen.skipped[:20]:
                st.markdown(f"- {plain(reason)}")


def _pairs(session: Session, prompts: PromptSet, seen: Seen | None) -> None:
    used = seen.used if seen is not None else tuple(range(len(prompts)))
    table = table_of(prompts).iloc[list(used)].reset_index(drop=True)
    table.insert(0, "pair", [index + 1 for index in used])
    if seen is not None:
        table["right"], table["metric"] = seen.right, seen.clean
    wanted = ("pair", "clean", "right", "metric", "correct", "incorrect", "corrupted")

    def chosen() -> None:
        rows = st.session_state["pair-table"]["selection"]["rows"]
        if rows:
            session.later(row=int(rows[0]) + 1)

    st.dataframe(
        table,
        key="pair-table",
        hide_index=True,
        height=420,
        on_select=chosen,
        selection_mode="single-row",
        column_order=[name for name in wanted if name in table],
        column_config={
            "pair": st.column_config.NumberColumn("Pair", width=50),
            "clean": st.column_config.TextColumn("Clean", width=330),
            "right": st.column_config.CheckboxColumn("Right", width=60, help="The model prefers a right answer."),
            "metric": st.column_config.NumberColumn("Metric", format="%+.2f", width=70),
            "correct": "Right answers",
            "incorrect": "Wrong answers",
            "corrupted": st.column_config.TextColumn("Corrupted", width="large"),
        },
    )
    st.caption("Select a row to see that pair token by token.")


def _one(session: Session, prompts: PromptSet, seen: Seen) -> None:
    index = min(session["row"], len(seen.used)) - 1
    st.markdown(f"**Pair {seen.used[index] + 1}, token by token**")
    for side, title in ((0, "Clean"), (1, "Corrupted")):
        marks = [
            f":orange-background[{plain(t[side])}]" if t[2] else f":gray-background[{plain(t[side])}]"
            for t in seen.tokens[index]
        ]
        st.markdown(f"{title} " + " ".join(marks))
    differing = sum(token[2] for token in seen.tokens[index])
    st.caption(
        f"{differing} of {len(seen.tokens[index])} positions differ; ␣ marks a space before the word. Below: the "
        "model's likeliest next words with their probability."
    )
    columns = st.columns(2)
    for column, title, top in zip(
        columns, ("Clean", "Corrupted"), (seen.top_clean[index], seen.top_corrupted[index]), strict=True
    ):
        with column:
            frame = pd.DataFrame(top, columns=[f"After {title.lower()}", "probability"])
            st.dataframe(
                frame,
                hide_index=True,
                row_height=28,
                column_config={"probability": st.column_config.NumberColumn("p", format="%.3f", width=60)},
            )


def _keep_right(session: Session, spec: RunSpec, prompts: PromptSet, seen: Seen) -> None:
    good = [prompts.pairs[i] for i, right in zip(seen.used, seen.right, strict=True) if right]
    own = session["source"] == "own"
    name = variant(spec.method, spec.options)
    left, right = st.columns(2)
    with left:
        asked = inline(spec, replace(prompts, pairs=tuple(prompts.pairs[i] for i in seen.used))) if own else spec
        _run(asked, f"Find the circuit with {name}", "run-prompts", session)
    with right:
        if good and len(good) < len(seen.used):
            asked = inline(spec, replace(prompts, pairs=tuple(good)))
            _run(asked, f"… on the {len(good)} pairs it gets right", "run-right", session)


def _run(asked: RunSpec, label: str, key: str, session: Session) -> None:
    job_id = f"run-{asked.key()}"
    job = services.job(job_id)
    if job is not None and (job.live or job.state == "done"):

        def show(done: JobView) -> None:
            st.success("Done.", icon=":material/check:")
            if st.button(
                "Open in Explore", key=f"{key}-open", icon=":material/hub:", help="Show the circuit of these prompts."
            ):
                session.later(run=str(done.result))
                st.switch_page("pages/explore.py")

        follow(job_id, show, waiting="Computing ·", cancel=True)
        return
    pressed = st.button(
        label,
        key=key,
        type="primary" if key == "run-prompts" else "secondary",
        icon=":material/play_arrow:",
        help="Scores every edge on these prompts with the method on the left, in the background.",
    )
    if pressed:
        services.submit_run(
            asked, f"{variant(asked.method, asked.options)} on {len(asked.prompts or ()) or asked.n_pairs} pairs"
        )
        st.rerun()
    if job is not None and job.state == "failed":
        st.error(plain(job.message), icon=":material/error:")


def download(prompts: PromptSet) -> None:
    """The pairs as a CSV that the command line reads."""

    def text() -> bytes:
        return table_of(prompts).to_csv(index=False).encode()

    st.download_button(
        "Download these pairs (CSV)",
        text,
        file_name=f"{prompts.task}-prompts.csv",
        mime="text/csv",
        icon=":material/download:",
        on_click="ignore",
        help="The file works with eapgp attribute --prompts.",
    )
