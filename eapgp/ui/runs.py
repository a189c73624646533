"""The parts of the Runs page."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from eapgp.ui import provenance, services
from eapgp.ui.draw import plain
from eapgp.ui.exports import folder_zip
from eapgp.ui.methods import metric_title, variant
from eapgp.ui.session import Session
from eapgp.ui.shelf import Card
from eapgp.ui.state import choice, text

FIELDS = (
    text(
        "find", "", "Every word must occur in the run's name, note, model, task or method; method=eap asks one field."
    ),
    choice("show", "all", ("all", "own", "examples"), "Your own runs, the bundled examples, or both."),
    text("picked", "", "The run whose details are open.", pattern=r"[0-9a-f]{4,64}", expected="a run's id"),
)


def table(cards: Sequence[Card]) -> pd.DataFrame:
    """One line per run."""
    rows = []
    for card in cards:
        meta, record = card.run.meta, card.record
        rows.append(
            {
                "name": meta["name"],
                "model": card.model,
                "task": card.task,
                "method": variant(card.method, card.options),
                "pairs": card.n_pairs,
                "seed": record["request"]["seed"],
                "clean": record["metric_clean"]["mean"],
                "corrupted": record["metric_corrupted"]["mean"],
                "edges": record["n_edges"],
                "seconds": record["seconds"],
                "created": str(record["created"])[:16].replace("T", " "),
                "kind": "example" if card.example else "yours",
                "note": meta["note"],
            }
        )
    frame = pd.DataFrame(rows)
    empty = [name for name in ("name", "note") if not frame[name].any()]
    return frame.drop(columns=empty)


def matching(cards: Sequence[Card], query: str, show: str) -> list[Card]:
    """The runs that the search and the filter leave."""
    from eapgp.runs.summary import summarise

    kept = [card for card in cards if show == "all" or card.example == (show == "examples")]
    if not query.strip():
        return kept
    return [card for card in kept if summarise(card.run.path).matches(query)]


def listing(session: Session, cards: Sequence[Card]) -> Card | None:
    """The list; the selected run, or the one that the URL names."""

    def chosen() -> None:
        rows = st.session_state["runs-table"]["selection"]["rows"]
        session.later(picked=cards[rows[0]].id if rows and rows[0] < len(cards) else "")

    st.dataframe(
        table(cards),
        key="runs-table",
        hide_index=True,
        height=min(40 + 36 * len(cards), 430),
        on_select=chosen,
        selection_mode="single-row",
        column_config={
            "name": st.column_config.TextColumn("Name", width="medium"),
            "model": "Model",
            "task": "Task",
            "method": st.column_config.TextColumn("Method", width="medium"),
            "pairs": "Pairs",
            "seed": "Seed",
            "edges": "Edges",
            "note": "Note",
            "clean": st.column_config.NumberColumn("M clean", format="%.3f"),
            "corrupted": st.column_config.NumberColumn("M corrupted", format="%.3f"),
            "seconds": st.column_config.NumberColumn("Seconds", format="%.2f"),
            "created": "Computed",
            "kind": "From",
        },
    )
    st.caption(f"{len(cards)} runs. Select one for its details; click a column to sort.")
    return next((card for card in cards if card.id == session["picked"]), None)


def details(card: Card) -> None:
    """One run: where to look at it, its name and note, and how it was made."""
    st.subheader(f"{plain(card.run.name or card.task)} · {variant(card.method, card.options)}", anchor=False)
    st.caption(
        f"{metric_title(card.metric)} · {card.n_pairs} pairs · {card.run.size() / 1e6:.1f} MB on disk · {card.id}"
    )
    with st.container(horizontal=True):
        for page, title, icon in (
            ("explore", "Explore", "hub"),
            ("path", "Path", "timeline"),
        ):
            if page == "path" and not card.has_path:
                continue
            if st.button(
                f"Open in {title}", key=f"open-{page}", icon=f":material/{icon}:", help=f"Show this run on {title}."
            ):
                Session.hand_over(run=card.id)
                st.switch_page(f"pages/{page}.py")
        if st.button(
            "Add to Compare",
            key="open-compare",
            icon=":material/compare_arrows:",
            help="Put this run beside the ones that are compared (at most four).",
        ):
            Session.hand_over(run=card.id, runs=_with(card))
            st.switch_page("pages/compare.py")
        st.download_button(
            "Download (zip)",
            lambda: folder_zip(card),
            file_name=f"{card.task}-{card.method}-{card.id[:8]}.zip",
            icon=":material/download:",
            key="run-zip",
            on_click="ignore",
            help="The run's folder. Import it here or on another machine.",
        )
        if not card.example and st.button(
            "Delete", key="run-delete", icon=":material/delete:", help="Move to the trash; can be undone."
        ):
            services.shelf().library.delete(card.id)
            st.session_state["runs-deleted"] = card.id
            st.rerun()
    if not card.example:
        _name_and_note(card)
    provenance.block(card)


def _with(card: Card) -> tuple[str, ...]:
    """The runs that are compared now, if of the same graph, and this one."""
    from eapgp.ui.compare import MOST_RUNS

    shelf = services.shelf()
    others = [run for run in Session.stored("runs", ()) if (known := shelf.get(run)) and known.graph == card.graph]
    return (*[run for run in others if run != card.id][: MOST_RUNS - 1], card.id)


def _name_and_note(card: Card) -> None:
    meta = card.run.meta
    with st.form(f"meta-{card.id}", border=False):
        left, right, last = st.columns([2, 4, 1], vertical_alignment="bottom")
        name = left.text_input("Name", meta["name"], help="Shown in lists in place of the task.", max_chars=120)
        note = right.text_input("Note", meta["note"], help="Anything you want to remember; it is searched too.")
        if last.form_submit_button("Save", width="stretch"):
            card.run.set_meta(name=name, note=note)
            st.rerun()


def undo() -> None:
    """After a deletion: say so, and offer to bring the run back."""
    gone = st.session_state.get("runs-deleted")
    if not gone:
        return
    left, right = st.columns([4, 1], vertical_alignment="center")
    left.info(f"Run {gone[:8]} was moved to the trash.", icon=":material/delete:")
    if right.button("Undo", key="run-undo", icon=":material/undo:", width="stretch", help="Bring the run back."):
        services.shelf().library.undelete(gone)
        del st.session_state["runs-deleted"]
        st.rerun()


def bring_in() -> None:
    """Import of runs (zip)."""
    with st.expander("Import runs", icon=":material/upload:"):
        file = st.file_uploader(
            "A zip file of runs",
            type=["zip"],
            key="runs-import",
            help="Made by Download (zip) here or by eapgp runs export. Hashes are checked; nothing in it is executed.",
        )
        if file is not None and st.session_state.get("runs-imported") != file.file_id:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "runs.zip"
                path.write_bytes(file.getvalue())
                found = services.shelf().library.import_(path)
            st.session_state["runs-imported"] = file.file_id
            st.toast(f"{len(list(found))} runs imported.", icon=":material/check:")
            st.rerun()


def disk() -> None:
    """How much the library takes."""
    use = services.shelf().library.disk_use()
    st.caption(
        f"Library: {services.shelf().library.home} · {use['runs']} runs, {use['bytes'] / 1e6:.1f} MB · trash "
        f"{use['trash_bytes'] / 1e6:.1f} MB · {use['free_bytes'] / 1e9:.0f} GB free on the disk"
    )


def live_jobs() -> None:
    """What is being computed now, with progress and cancel."""
    from eapgp.ui.compare import _live_jobs

    live = [job for job in services.manager().live() if job.id.startswith("run-")]
    if live:
        st.markdown("**Being computed**")
        st.fragment(_live_jobs, run_every=0.5)(frozenset(job.id for job in live))
