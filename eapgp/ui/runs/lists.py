"""The lists of runs and imported files, and what is being computed."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from eapgp.numerals import decimal
from eapgp.runs.info import RunInfo
from eapgp.runs.run import META_FILE
from eapgp.ui.base.draw import written
from eapgp.ui.base.policy import policy
from eapgp.ui.base.session import Session
from eapgp.ui.jobs import follow, server
from eapgp.ui.library import results
from eapgp.ui.library.score_files import ScoreFile, ScoreFiles
from eapgp.ui.parts.run_choice import watch_runs
from eapgp.ui.runs.fields import MOST_PICKED

POLL = 4.0  # seconds between two looks for runs that other processes made


def score_files() -> ScoreFiles:
    """The files of scores that were imported."""
    return ScoreFiles(results.shelf().library.home)


def controls(session: Session) -> tuple[str, str]:
    """Search and filter."""
    left, right = st.columns([3, 1.2], vertical_alignment="bottom")
    with left:
        query = session.widget("find", st.text_input, placeholder="ioi eap-gp, or method=exact", live=True)
    with right:
        show = session.widget("show", st.segmented_control)
    return str(query or ""), str(show)


def matching(cards: Sequence[RunInfo], query: str, show: str) -> list[RunInfo]:
    """The runs that the search and the filter leave."""
    rows = [card for card in cards if show == "all" or card.example == (show == "examples")]
    if not query.strip():
        return rows
    return [card for card in rows if card.matches(query)]


def files_matching(query: str, show: str) -> list[ScoreFile]:
    """The imported files that the search and the filter leave."""
    if show == "examples":
        return []
    words = query.lower().split()
    return [file for file in score_files().all() if all(word in f"{file.name} {file.id}".lower() for word in words)]


def table(cards: Sequence[RunInfo]) -> pd.DataFrame:
    """One line per run."""
    rows = []
    for card in cards:
        meta, computed = card.run.meta, not card.imported
        rows.append(
            {
                "model": card.model_title,
                "task": ", ".join((card.task, *card.prompt_conditions)),
                "method": card.title,
                "name": meta["name"],
                "pairs": card.n_pairs if computed else None,
                "seed": card.seed if computed else None,
                "clean": card.metric_clean,
                "corrupted": card.metric_corrupted,
                "edges": card.n_edges,
                "seconds": card.seconds if computed else None,
                "created": card.created[:16].replace("T", " "),
                "size": card.run.size() / 1e6,
                "note": meta["note"],
                "id": card.id[:8],
            }
        )
    frame = pd.DataFrame(rows)
    empty = [name for name in ("name", "note") if not frame[name].any()]
    return frame.drop(columns=empty)


def listings(session: Session, cards: Sequence[RunInfo], files: Sequence[ScoreFile], show: str, query: str) -> None:
    """The lists: the user's runs, imported scores, and apart from them the bundled examples."""
    own = [card for card in cards if not card.example]
    examples = [card for card in cards if card.example]
    lists: list[tuple[str, list[str]]] = [
        ("own", [card.id for card in own]),
        ("files", [file.id for file in files]),
        ("examples", [card.id for card in examples]),
    ]
    if show != "examples":
        st.subheader(f"Your runs · {len(own)}", anchor=False)
        if own:
            _runs(session, own, "own", lists)
        else:
            _nothing_of_ones_own(query)
        if files:
            st.subheader(f"Imported scores · {len(files)}", anchor=False)
            _files(session, files, lists)
    if show != "own":
        st.subheader(
            f"{'Bundled and published' if policy().public else 'Bundled examples'} · {len(examples)}", anchor=False
        )
        if examples:
            _runs(session, examples, "examples", lists)
        else:
            st.caption("No example fits the search. Clear it to see them all.")


def _nothing_of_ones_own(query: str) -> None:
    if query.strip():
        st.info("No run of your own fits. Clear the search to see them all.", icon=":material/search_off:")
        return
    st.info(
        "You have computed nothing yet. Open **Explore**, change a setting on the left and press **Run**; or import "
        "runs and scores below. Runs of the command line (eapgp attribute) appear here too.",
        icon=":material/play_arrow:",
    )


def list_key(kind: str, ids: Sequence[str]) -> str:
    """Key of a list's table. Ticks stand for places, so a list of other rows is another table."""
    return f"runs-{kind}-{hashlib.sha256(' '.join(ids).encode()).hexdigest()[:12]}"


def _picked(session: Session, kind: str, lists: Sequence[tuple[str, list[str]]]) -> Any:
    """A callback for one list's selection: what is selected in all of them becomes the field."""

    def chosen() -> None:
        picked: list[str] = []
        for name, ids in lists:
            state = st.session_state.get(list_key(name, ids))
            rows = state["selection"]["rows"] if state else []
            picked += [ids[row] for row in rows if row < len(ids)]
        session.later(picked=tuple(picked[:MOST_PICKED]))

    return chosen


def _preset(session: Session, ids: Sequence[str]) -> Any:
    """What is selected in a list when the page is opened by a link, or when its rows have changed."""
    rows = [place for place, one in enumerate(ids) if any(one.startswith(picked) for picked in session["picked"])]
    return {"selection": {"rows": rows, "columns": [], "cells": []}}


def _runs(session: Session, cards: Sequence[RunInfo], kind: str, lists: Sequence[tuple[str, list[str]]]) -> None:
    frame = table(cards)
    st.dataframe(
        written(frame, _FORMS),
        key=list_key(kind, [card.id for card in cards]),
        hide_index=True,
        height=min(40 + 36 * len(cards), 290),
        on_select=_picked(session, kind, lists),
        selection_mode="multi-row",
        selection_default=_preset(session, [card.id for card in cards]),
        column_config={
            "name": st.column_config.TextColumn("Name", width=_width(frame.get("name"), most=200)),
            "model": st.column_config.TextColumn("Model", width=_width(frame["model"], most=150)),
            "task": "Task",
            "method": st.column_config.TextColumn("Method", width=_width(frame["method"], most=270)),
            "pairs": "Pairs",
            "seed": "Seed",
            "edges": "Edges",
            "note": "Note",
            "id": "Id",
            "clean": st.column_config.NumberColumn("M clean", help="The metric on the clean prompts."),
            "corrupted": st.column_config.NumberColumn("M corrupted", help="The metric on the corrupted prompts."),
            "seconds": st.column_config.NumberColumn("Seconds", format="%.2f", help="Time of scoring."),
            "size": st.column_config.NumberColumn("MB", format="%.2f", help="Space on the disk."),
            "created": st.column_config.TextColumn("Computed", help="Date and time, UTC."),
        },
    )


_FORMS = {"clean": decimal, "corrupted": decimal}


def _width(texts: pd.Series[str] | None, *, most: int) -> int:
    """Pixels that the longest of the texts needs in a table, within bounds."""
    longest = 0 if texts is None else int(texts.str.len().max())
    return min(max(75, 20 + 8 * longest), most)


def _files(session: Session, files: Sequence[ScoreFile], lists: Sequence[tuple[str, list[str]]]) -> None:
    rows = [
        {"name": file.title, "task": file.task or "not told by its name", "size": file.path.stat().st_size / 1e6}
        for file in files
    ]
    st.dataframe(
        pd.DataFrame(rows),
        key=list_key("files", [file.id for file in files]),
        hide_index=True,
        height=min(40 + 36 * len(files), 260),
        on_select=_picked(session, "files", lists),
        selection_mode="multi-row",
        selection_default=_preset(session, [file.id for file in files]),
        column_config={
            "name": st.column_config.TextColumn("Scores", width="large"),
            "task": "Task",
            "size": st.column_config.NumberColumn("MB", format="%.2f"),
        },
    )


def live_jobs() -> None:
    """What is being computed now, with progress and cancel."""
    if any(job.id.startswith("run-") for job in server.manager().live()):
        st.markdown("**Being computed**")
        watch_runs()


def watch() -> None:
    """Show what another process adds, takes away, names or notes, without a click."""
    library = results.shelf().library
    before = listing(library.runs)
    follow.watch(lambda: None, lambda: listing(library.runs) != before, every=POLL)


def listing(folder: Path) -> frozenset[tuple[str, int]]:
    """The runs of a library's folder, and when each was last named or noted (0: never)."""
    with contextlib.suppress(OSError):
        return frozenset((path.name, _changed(path / META_FILE)) for path in folder.iterdir())
    return frozenset()


def _changed(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime_ns
    return 0
