"""What the Ground truth page offers where something is missing: the planted model, an import, a run."""

from __future__ import annotations

from typing import Any

import streamlit as st

from eapgp.attribution.usual import COMPARED
from eapgp.errors import EapgpError, one_line
from eapgp.formats import FORMATS
from eapgp.ground_truth.manual import GPT2_SMALL, GROUND_TRUTHS
from eapgp.ground_truth.planted import planted_circuit
from eapgp.runs.info import RunInfo
from eapgp.ui.base.draw import plain
from eapgp.ui.base.session import Session
from eapgp.ui.ground_truth import planted
from eapgp.ui.ground_truth.candidates import KnownCircuit, Scored, files, fitting, of_file
from eapgp.ui.ground_truth.fields import MOST, PLANTED
from eapgp.ui.jobs import server
from eapgp.ui.jobs.follow import progress_row, watch
from eapgp.ui.library import results

PLANTED_JOB = "planted-model"


def say_missing(session: Session, truth: KnownCircuit, context: RunInfo | None, *, loud: bool) -> None:
    """The demo model has no manual circuit: say so, and offer one that is known exactly.

    loud: nothing is compared yet, so this is what the page has to say.
    """
    if context is None or truth.exact or context.graph == GPT2_SMALL:
        return
    model = "The demo model" if context.model == "demo" else plain(context.run.name or context.model)
    say = f"{model} has no manual circuit: the ones here were read out of GPT-2 small by people."
    if loud:
        st.info(
            f"{say} To see how methods do where the truth is known exactly, use the planted circuit: it is built and "
            "scored on this machine, offline and in the background.",
            icon=":material/science:",
        )
    else:
        st.caption(say)
    st.button(
        "Use the planted circuit",
        key="use-planted",
        type="primary" if loud else "secondary",
        icon=":material/potted_plant:",
        on_click=use_planted,
        args=(session,),
        help="Builds a small transformer whose true edges are known, scores it by ten methods in the background, and "
        "compares them with the truth.",
    )


def use_planted(session: Session) -> None:
    """Switch to the planted circuit and start what is not there yet."""
    session.later(known=PLANTED, against=(), overlay="", k=planted_circuit().n_kept)
    start_planted()


def start_planted() -> None:
    """Queue the building and scoring of the planted model."""
    job = server.job(PLANTED_JOB)
    if job is not None and not job.live:
        server.manager().forget(PLANTED_JOB)
    work = planted.planted_work(server.workshop(), "cpu", results.shelf().library)
    server.manager().submit(PLANTED_JOB, "planted circuit", work, lane="cpu")


def planted_progress(truth: KnownCircuit, have: int) -> None:
    """How far the planted model is, where it is the known circuit; a button where it was never started or failed."""
    if not truth.exact:
        return
    job = server.manager().soon(PLANTED_JOB)
    if job is not None and job.live:
        watch(_progress, lambda: _moved_on(have), every=0.5)
        return
    if len(planted.planted_cards(results.shelf().cards())) > have:
        watch(_progress, lambda: True, every=0.5)  # the last ones were stored while this page was being drawn
        return
    if job is not None and job.state == "failed":
        st.error(plain(job.message), icon=":material/error:")
    if have < len(COMPARED):
        st.button(
            "Build and score it" if not have else "Score it with the other methods",
            key="start-planted",
            type="primary",
            icon=":material/play_arrow:",
            on_click=start_planted,
            help="Builds the planted model and scores it by ten methods, in the background and offline.",
        )


def _moved_on(have: int) -> bool:
    """Whether the job has ended or stored another run."""
    job = server.job(PLANTED_JOB)
    return job is None or not job.live or len(planted.planted_cards(results.shelf().cards())) > have


def _progress() -> None:
    job = server.job(PLANTED_JOB)
    if job is not None:
        progress_row(job, key="stop-planted", label="Planted circuit", help="Stop after what is done so far.")


def importer(session: Session, truth: KnownCircuit, *, key: str) -> None:
    """Upload of score files; each that is read is kept and chosen."""
    readable = sorted({suffix for entry in FORMATS.values() for suffix in entry.suffixes})
    uploads = st.file_uploader(
        "Edge scores of GPT-2 small (MIB JSON or PT, GraphML, GEXF, CSV, Parquet)",
        type=[suffix.lstrip(".") for suffix in readable],
        accept_multiple_files=True,
        key=key,
        help="Files of the Mechanistic Interpretability Benchmark's circuit track, or ones exported here. "
        "They stay on this machine. Files that could run code are refused.",
    )
    done: dict[str, str] = st.session_state.setdefault("eapgp-imported", {})  # what was wrong with it, by file
    added = []
    for file in uploads or []:
        if file.file_id not in done:
            scored, done[file.file_id] = _read(truth, file.name, file.getvalue())
            added += [scored] if scored is not None else []
        if done[file.file_id]:  # as long as the file is listed
            st.error(done[file.file_id], icon=":material/error:")
    if added:
        ids = tuple(scored.id for scored in added)
        others = tuple(one for one in session["against"] if one not in ids)
        values: dict[str, Any] = {"against": (*ids, *others)[:MOST], "overlay": (fitting(truth, added) or added)[0].id}
        tasks = {scored.task for scored in added} - {""}
        if len(tasks) == 1 and truth.task not in tasks:
            values["known"] = next(name for name, manual in GROUND_TRUTHS.items() if manual.task in tasks)
            values["against"] = ids
        session.later(**values)
        st.rerun()


def _read(truth: KnownCircuit, name: str, data: bytes) -> tuple[Scored | None, str]:
    """The scores of an uploaded file, which is kept; or why they cannot be held against this circuit, in markdown."""
    try:
        scored = of_file(files().add(name, data))
    except EapgpError as error:
        return None, plain(one_line(error))
    graph = scored.scores.graph
    if graph != truth.graph:
        return None, (
            f"{plain(name)} holds {graph.n_layers} layers × {graph.n_heads} heads; this circuit's model has "
            f"{truth.graph.n_layers} × {truth.graph.n_heads}. It was kept, and is offered where it fits."
        )
    return scored, ""


def nothing_to_compare(session: Session, truth: KnownCircuit) -> None:
    """What to do while there are no scores for a known circuit."""
    if truth.exact:
        st.caption("Above is the planted circuit itself. Scores appear here as they are done.")
        return
    st.markdown(
        "**No scores of GPT-2 small are here yet.** Above is the circuit that people found; to compare with it:"
    )
    left, right = st.columns([1.4, 1], gap="large")
    with left:
        importer(session, truth, key="truth-upload-first")
    with right:
        st.caption("… or compute them: GPT-2 small is fetched from Hugging Face once (about 500 MB).")
        st.button(
            "Set up a run on GPT-2 small",
            key="setup-gpt2",
            icon=":material/tune:",
            on_click=lambda: session.later(model="gpt2", task=truth.task, run=""),
            help="Sets model and task on the left; press Run there to compute it. Some minutes on a laptop.",
        )
