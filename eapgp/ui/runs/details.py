"""What the Runs page does with what is selected: open, name, compare, download, delete, bring back, import."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from eapgp.attribution.registry import variant
from eapgp.errors import EapgpError, one_line
from eapgp.formats import FORMATS, read_scores
from eapgp.graph import Graph
from eapgp.metrics import metric_title
from eapgp.models.catalogue import CATALOGUE
from eapgp.runs.files import folder_size
from eapgp.runs.imported import keep_scores
from eapgp.runs.info import RunInfo, info_of
from eapgp.runs.kept_files import file_name
from eapgp.runs.run import open_run
from eapgp.ui.base.draw import code, plain
from eapgp.ui.base.policy import policy
from eapgp.ui.base.routes import page_file
from eapgp.ui.base.session import Session
from eapgp.ui.jobs.untrusted import import_runs
from eapgp.ui.library import results
from eapgp.ui.library.circuits import circuit_of, usual_rule, usual_size_of
from eapgp.ui.library.own_prompts import PromptStore
from eapgp.ui.library.score_files import PREFIX, ScoreFile
from eapgp.ui.parts import provenance
from eapgp.ui.parts.exports import downloads, folder_zip
from eapgp.ui.parts.run_choice import MOST_RUNS
from eapgp.ui.runs.fields import TABS
from eapgp.ui.runs.lists import score_files

MOST_UNREADABLE = 40
_GONE, _IMPORT, _UNSAVED = "runs-deleted", "runs-import", "runs-unsaved"


def selection(session: Session) -> None:
    """What can be done with the selected runs and files; nothing where none is selected."""
    cards, files = _picked(session)
    if not cards and not files:
        st.caption("Select a run for its details, or several to compare, download or delete them.")
        return
    if len(cards) + len(files) > 1:
        _several(cards, files)
    elif cards:
        _details(session, cards[0])
    else:
        _file(files[0])


def _picked(session: Session) -> tuple[list[RunInfo], list[ScoreFile]]:
    shelf, store = results.shelf(), score_files()
    cards, files = [], []
    for name in session["picked"]:
        card = shelf.get(name) if not name.startswith(PREFIX) else None
        file = store.get(name)
        if card is not None:
            cards.append(card)
        elif file is not None:
            files.append(file)
    if session.linked("picked"):  # not after a deletion
        imported = (*(card.id for card in cards), *(file.id for file in files))
        picked = tuple(name for name in session["picked"] if any(one.startswith(name) for one in imported))
        session.settle("picked", picked, "ids of runs that are here")
    return cards, files


def _several(cards: Sequence[RunInfo], files: Sequence[ScoreFile]) -> None:
    what = [f"{len(cards)} runs"] if cards else []
    what += [f"{len(files)} imported file{'s' if len(files) > 1 else ''}"] if files else []
    st.subheader(f"{' and '.join(what)} selected", anchor=False)
    alike = len({(card.graph.n_layers, card.graph.n_heads) for card in cards}) == 1
    with st.container(horizontal=True, key="runs-actions"):
        if len(cards) > 1:
            comparable = alike and len(cards) <= MOST_RUNS
            if st.button(
                "Compare them",
                key="open-compare",
                type="primary",
                icon=":material/compare_arrows:",
                disabled=not comparable,
                help="Opens these runs side by side."
                if comparable
                else f"Two to {MOST_RUNS} runs of one model size can be compared.",
            ):
                Session.hand_over(run=cards[0].id, by="runs", runs=tuple(card.id for card in cards))
                st.switch_page(page_file("compare"))
        if cards:
            _zip(cards)
        _delete([card for card in cards if not card.example], files)
    if any(card.example for card in cards):
        st.caption("Bundled examples stay; only runs of your own and imported files can be deleted.")


def _details(session: Session, card: RunInfo) -> None:
    title = f"{plain(card.task_title)} · {plain(card.title)}"
    st.subheader(title, anchor=False)
    summary = f"{card.record['n_edges']:,} edges"
    if not card.imported:
        summary = f"{metric_title(card.metric)} · {card.pairs_title}"
    where = " · bundled example" if card.example else ""
    st.caption(f"{plain(summary)} · {card.run.size() / 1e6:.1f} MB on disk · {card.id}{where}")
    with st.container(horizontal=True, key="runs-actions"):
        _open(card)
        _zip([card])
        if not card.example:
            _delete([card], [])
    if not card.example:
        _name_and_note(card)
    opened, tabs = session.tabs("tab", TABS)
    with tabs[opened]:
        if opened == "made":
            provenance.block(card)
        else:
            result, k = results.attribution(card), int(Session.stored("k", 0))
            circuit = circuit_of(card, result.scores, k or usual_size_of(card, result.scores))
            grown = usual_rule(card.graph) == "greedy"
            how = "edges grown from the logits" if grown else "strongest edges"
            st.caption(f"The circuit of the {circuit.n_selected:,} {how}, and the run.")
            downloads(card, result, circuit, edited=grown)


def _open(card: RunInfo) -> None:
    places = [
        ("explore", "Explore", "hub"),
        ("path", "Path", "timeline"),
        ("faithfulness", "Faithfulness", "monitoring"),
    ]
    for page, title, icon in places:
        if page == "path" and not card.has_path:
            continue
        if st.button(
            f"Open in {title}",
            key=f"open-{page}",
            type="primary" if page == "explore" else "secondary",
            icon=f":material/{icon}:",
            help=f"Show this run on {title}.",
        ):
            Session.hand_over(run=card.id, **({"runs": (card.id,)} if page == "faithfulness" else {}))
            st.switch_page(page_file(page))
    if st.button(
        "Add to Compare",
        key="open-compare",
        icon=":material/compare_arrows:",
        help=f"Put this run beside the ones that are compared (at most {MOST_RUNS}).",
    ):
        Session.hand_over(run=card.id, by="runs", runs=_with(card))
        st.switch_page(page_file("compare"))


def _with(card: RunInfo) -> tuple[str, ...]:
    """The runs that are compared now, if of the same graph, and this one."""
    shelf = results.shelf()
    compared = Session.stored("runs", ()) or st.session_state.get("eapgp-compared", ())
    others = [run for run in compared if (summary := shelf.get(run)) and summary.graph == card.graph]
    return (*[run for run in others if run != card.id][: MOST_RUNS - 1], card.id)


def _zip(cards: Sequence[RunInfo]) -> None:
    one = len(cards) == 1
    st.download_button(
        "Download (zip)",
        lambda: folder_zip(cards),
        file_name=f"{cards[0].task}-{cards[0].method}-{cards[0].id[:8]}.zip" if one else "eapgp-runs.zip",
        icon=":material/download:",
        key="run-zip",
        on_click="ignore",
        help="The folders of the selected runs. Import them here or on another machine.",
    )


def unreadable() -> None:
    """Runs that were set aside, with the reason and a way to the trash."""
    shelf = results.shelf()
    problems = shelf.problems()
    if not problems:
        return
    st.subheader(f"Unreadable · {len(problems)}", anchor=False)
    for folder, problem in problems[:MOST_UNREADABLE]:
        left, right = st.columns([5, 1], vertical_alignment="center")
        left.error(plain(problem), icon=":material/error:", title=plain(folder.name))
        own = folder.parent == shelf.library.runs
        if own and right.button(
            "Delete",
            key=f"unreadable-{plain(folder.name)}",
            icon=":material/delete:",
            width="stretch",
            help="Move to the trash; can be undone.",
        ):
            shelf.library.delete(folder.name)
            st.session_state[_GONE] = [folder.name]
            st.rerun()
    if len(problems) > MOST_UNREADABLE:
        st.caption(f"{len(problems) - MOST_UNREADABLE} more; they follow when some of these are deleted.")


def _delete(cards: Sequence[RunInfo], files: Sequence[ScoreFile]) -> None:
    if not cards and not files:
        return
    if st.button("Delete", key="run-delete", icon=":material/delete:", help="Move to the trash; can be undone."):
        for card in cards:
            results.shelf().library.delete(card.id)
        for file in files:
            score_files().remove(file.id)
        st.session_state[_GONE] = [*(card.id for card in cards), *(file.id for file in files)]
        st.rerun()


def _file(file: ScoreFile) -> None:
    st.subheader(plain(file.title), anchor=False)
    st.caption(f"Imported edge scores · {file.path.stat().st_size / 1e6:.1f} MB on disk · {file.id}")
    with st.container(horizontal=True, key="runs-actions"):
        if st.button(
            "Open in Ground truth",
            key="open-truth",
            type="primary",
            icon=":material/fact_check:",
            help="Shows these scores as a circuit, with roles, against the circuit that is known for their model.",
        ):
            summary = {"ioi": "ioi/hanna2024", "greater-than": "greater-than/acdc"}.get(file.task)
            Session.hand_over(against=(file.id,), overlay=file.id, **({"known": summary} if summary else {}))
            st.switch_page(page_file("ground_truth"))
        st.download_button(
            "Download",
            file.path.read_bytes,
            file_name=file.name,
            key="file-download",
            icon=":material/download:",
            on_click="ignore",
            help="The file as it came.",
        )
        _delete([], [file])
    _file_name(file)
    _to_explore(file)
    code(
        f"from eapgp.formats import read_scores\n\nscores = read_scores({str(file.path)!r})\n"
        'for edge, score in scores.top(20):\n    print(f"{score:+.5f}  {edge}")\n',
        language="python",
    )


def _file_name(file: ScoreFile) -> None:
    """The name that lists, legends and runs made of the file show."""
    with st.form(f"title-{file.id}", border=False):
        left, right = st.columns([6, 1], vertical_alignment="bottom")
        title = left.text_input(
            "Name", value=file.title, key=f"title-of-{file.id}", help="Shown in lists and legends.", max_chars=60
        )
        if right.form_submit_button("Save", width="stretch", help="Keeps the name; links to the file stay the same."):
            try:
                score_files().rename(file, title)
            except (EapgpError, OSError) as error:
                st.error(plain(one_line(error)), icon=":material/error:")
            else:
                st.rerun()


def _to_explore(file: ScoreFile) -> None:
    """Make a run of the file, which every page that shows runs can show."""
    try:
        graph = _graph_of(str(file.path))
    except EapgpError as error:
        st.error(plain(one_line(error)), icon=":material/error:")
        return
    with st.container(horizontal=True, vertical_alignment="bottom", key="file-to-explore"):
        model = st.selectbox(
            "Model they were made on",
            _models_of(graph),
            key=f"model-{file.id}",
            format_func=lambda name: name or "Not known",
            width=260,
            help="Models of this size. With GPT-2 small and a task whose circuit is known, nodes carry their roles.",
        )
        turned = st.toggle(
            "Negative means helpful",
            key=f"turned-{file.id}",
            help="Turn the sign of every score. Here positive supports the behaviour; some published files, such as "
            "the IOI scores of the benchmark, have it the other way round.",
        )
        if st.button(
            "Open in Explore",
            key="open-explore-file",
            icon=":material/hub:",
            help="Keeps the scores as a run of your library and shows its circuit, edge by edge.",
        ):
            about = {"task": file.task, "model": model, "name": file.name}
            run = keep_scores(results.shelf().library, file.path, negate=turned, **about)
            Session.hand_over(run=run.id)
            st.switch_page(page_file("explore"))


@st.cache_resource(max_entries=32, show_spinner=False)
def _graph_of(path: str) -> Graph:
    return read_scores(path).graph


def _models_of(graph: Graph) -> list[str]:
    """Models of the catalogue with this graph, and "" for none of them."""
    return [*(entry.name for entry in CATALOGUE if entry.graph == graph), ""]


def _name_and_note(card: RunInfo) -> None:
    meta, keys = card.run.meta, {field: f"{field}-{card.id}" for field in ("name", "note")}
    state_key = f"meta-shown-{card.id}"
    if st.session_state.get(state_key) != meta or not set(keys.values()) <= set(st.session_state):
        st.session_state[state_key] = meta  # first, or changed elsewhere
        st.session_state.update({key: meta[field] for field, key in keys.items()})

    def save() -> None:
        typed = {field: str(st.session_state[key]) for field, key in keys.items()}
        try:  # only what was typed here: the command line may have changed the other one meanwhile
            card.run.set_meta(**{field: t for field, t in typed.items() if t != st.session_state[state_key][field]})
        except (EapgpError, OSError) as error:
            st.session_state[_UNSAVED] = one_line(error)

    with st.form(f"meta-{card.id}", border=False):
        left, right, last = st.columns([2, 4, 1], vertical_alignment="bottom")
        left.text_input("Name", key=keys["name"], help="Shown in lists in place of the task.", max_chars=120)
        right.text_input("Note", key=keys["note"], help="Anything you want to remember; it is searched too.")
        last.form_submit_button("Save", width="stretch", help="Keeps name and note beside the run.", on_click=save)
    if problem := st.session_state.pop(_UNSAVED, ""):
        st.error(plain(problem), icon=":material/error:")


def undo() -> None:
    """After a deletion: say so, and offer to bring everything back."""
    gone = st.session_state.get(_GONE)
    if not gone:
        return
    left, right = st.columns([4, 1], vertical_alignment="center")
    what = _described(gone[0]) if len(gone) == 1 else f"{len(gone)} runs or files"
    left.info(plain(f"Moved to the trash: {what}."), icon=":material/delete:")
    if right.button(
        "Undo", key="run-undo", icon=":material/undo:", width="stretch", help="Bring back what was deleted."
    ):
        del st.session_state[_GONE]
        lost = [name for name in gone if not _back(name)]
        if not lost:
            st.rerun()
        st.warning(
            plain(f"No longer in the trash: {', '.join(lost)}. It was emptied, or they were brought back, elsewhere."),
            icon=":material/delete_forever:",
        )


def _back(name: str) -> bool:
    """Whether something deleted came back; another process may have been there first."""
    try:
        bring_back(name)
    except EapgpError:
        return False
    return True


def bring_back(name: str) -> None:
    """A deleted run or imported file, by its id."""
    if name.startswith(PREFIX):
        score_files().restore(name)
    else:
        results.shelf().library.undelete(name)


def bring_in() -> None:
    """Import of runs (zip) and of files of scores."""
    suffixes = sorted({suffix for entry in FORMATS.values() for suffix in entry.suffixes})
    with st.expander("Import runs or scores", icon=":material/upload:", expanded=bool(st.session_state.get(_IMPORT))):
        uploads = st.file_uploader(
            "Run archives (zip) or edge scores (MIB JSON or PT, GraphML, GEXF, CSV, Parquet)",
            type=["zip", *(suffix.lstrip(".") for suffix in suffixes)],
            accept_multiple_files=True,
            key=_IMPORT,
            help="Archives made by Download (zip) here or by eapgp runs export become runs. Files of scores are kept "
            "and can be held against known circuits. Hashes are checked; nothing in a file is executed.",
        )
        done = st.session_state.setdefault("runs-imported", {})
        fresh = [file for file in uploads or [] if file.file_id not in done]
        for file in fresh:
            done[file.file_id] = _imported(file.name, file.getvalue())
        for file in uploads or []:
            fine, line = done[file.file_id]
            (st.success if fine else st.error)(plain(line), icon=":material/check:" if fine else ":material/error:")
    if fresh and any(done[file.file_id][0] for file in fresh):
        st.rerun()


def _imported(upload: str, data: bytes) -> tuple[bool, str]:
    name = file_name(upload, "runs")
    try:
        policy().check_room(results.shelf().library.home)
        if Path(name).suffix.lower() == ".zip":
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / name
                path.write_bytes(data)
                imported = import_runs(path, results.shelf().library.home)
            return True, f"{name}: {_counted([present for _, present in imported])}"
        score_files().add(name, data)
    except EapgpError as error:
        return False, one_line(error)
    return True, f"{name}: edge scores imported."


def _counted(present: Sequence[bool]) -> str:
    """How many runs came, of some that were here before or not."""
    rest = f" {sum(present)} here already: kept as they were." if any(present) else ""
    added = len(present) - sum(present)
    return f"{added} run{'s' if added != 1 else ''} imported.{rest}"


def disk() -> None:
    """How much everything takes, and what the trash holds."""
    library = results.shelf().library
    use = library.disk_use()
    other = sum(folder_size(library.home / name) for name in ("scores", "prompts", "models"))
    limits = policy()
    free = f"{use['free_bytes'] / 1e9:.0f} GB free on the disk"
    st.caption(
        f"{'Your library' if limits.public else f'Library: {plain(library.home)}'} · {use['runs']} runs, "
        f"{use['bytes'] / 1e6:.1f} MB · imported scores, prompts and models {other / 1e6:.1f} MB · trash "
        f"{use['trash_bytes'] / 1e6:.1f} MB · "
        + (f"at most {limits.visitor_bytes / 1e6:.0f} MB in all" if limits.public else free)
    )
    deleted = library.deleted()
    if deleted:
        _trash(deleted)


def _trash(deleted: Sequence[str]) -> None:
    with st.expander(f"Trash · {len(deleted)} run{'s' if len(deleted) != 1 else ''}", icon=":material/delete:"):
        for name in deleted[:20]:
            left, right = st.columns([5, 1], vertical_alignment="center")
            left.markdown(plain(_described(name)))
            if right.button(
                "Bring back", key=f"back-{name}", icon=":material/undo:", width="stretch", help="Back to your runs."
            ):
                _back(name)
                st.session_state.pop(_GONE, None)
                st.rerun()
        with st.popover("Empty the trash", icon=":material/delete_forever:", help="Frees the space; asks once more."):
            st.markdown("What is in the trash cannot be brought back after this.")
            if st.button("Delete for good", key="trash-empty", type="primary", help="Deletes the runs in the trash."):
                results.shelf().library.gc()
                score_files().purge()
                PromptStore(results.shelf().library.home).purge()
                st.session_state.pop(_GONE, None)
                st.rerun()


def _described(run_id: str) -> str:
    for folder in sorted(results.shelf().library.trash.glob(f"{run_id}--*"), reverse=True):
        try:
            info = info_of(open_run(folder))
        except EapgpError:
            continue
        return f"{info.name or info.task} · {variant(info.method, info.options)} · {info.model} · {run_id}"
    return run_id
