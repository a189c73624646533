"""Pairs of one's own on the Prompts page: typed or pasted into a table, pasted as text, or read from a file."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from eapgp.errors import ComputationError, EapgpError, FormatError, HeaderError, one_line
from eapgp.prompts.aliases import NAMES, add_aliases
from eapgp.prompts.columns import join_answers
from eapgp.prompts.files import VERBS_FILE, Named, Preview, parse_prompts, preview_prompts, read_prompts
from eapgp.prompts.pairs import Answer, PromptPair, PromptSet
from eapgp.prompts.prompting import needed_sides
from eapgp.prompts.rows import MAX_PAIRS, is_json
from eapgp.runs.kept_files import file_name
from eapgp.sheet import cells, delimited
from eapgp.ui.base.draw import plain
from eapgp.ui.jobs.untrusted import try_prompts

COLUMNS = ("clean", "corrupted", "correct", "incorrect")
ID_COLUMNS = ("clean", "corrupted", "correct_idx", "incorrect_idx")
MOST_ANSWERS = 60  # per side; sets with longer lists of answers are not put into the table
_ROWS, _VERSION, _ABOUT, _FILE = "own-rows", "own-version", "own-about", "own-file"
_NAMED, _NAMING = "own-named", "own-naming"  # columns that a person named, and whether they want to
_BOXES = {
    "clean": ("Clean", "The prompt, up to the answer."),
    "corrupted": ("Corrupted", "Its twin of as many tokens, for which another answer is right."),
    "correct": ("Right answers", "May be left out where the metric needs none (kl)."),
    "incorrect": ("Wrong answers", "May be left out where the metric needs none (log-prob, kl …)."),
}
_EXAMPLE = (
    PromptPair(
        "When Mary and John went to the store, John gave a drink to",
        "When Mary and John went to the store, Paul gave a drink to",
        (" Mary",),
        (" John",),
    ),
    PromptPair(
        "When Anna and Peter went to the park, Anna gave a book to",
        "When Anna and Peter went to the park, Laura gave a book to",
        (" Peter",),
        (" Anna",),
    ),
)
_HEADER = ",".join(COLUMNS)


@dataclass(frozen=True)
class Read:
    """Pairs as they were read, and what was left out of them, in one line."""

    prompts: PromptSet
    remark: str = ""


@dataclass(frozen=True)
class Upload:
    """What came of an uploaded file: its pairs, or why there are none.

    preview: its first rows where its columns can be named by hand; unnamed: whether they have to be.
    """

    read: Read | None = None
    problem: str = ""
    preview: Preview | None = None
    unnamed: bool = False


def own_pairs() -> PromptSet | None:
    """The editor and the upload; the pairs that they hold, or None while there are none."""
    left, right = st.columns([2, 1], gap="large")
    with right, st.container(key="own-upload"):
        upload = _upload()
        _paste()
    with left:
        naming = upload is not None and (upload.unnamed or st.session_state.get(_NAMING, False))
        if upload is not None and upload.preview is not None and naming:
            _name_columns(upload.preview)
        if upload is not None and upload.read is not None:
            return _of_file(upload.read)
        return None if naming else _of_table()


# -- a file ------------------------------------------------------------------------------------


def _upload() -> Upload | None:
    files = st.file_uploader(
        "From a file",
        type=["csv", "tsv", "txt", "json", "jsonl", "ndjson"],
        accept_multiple_files=True,
        key=f"own-files-{st.session_state.get(_VERSION, 0)}",
        help="A table with the columns clean, corrupted, correct, incorrect (CSV with any separator, JSON or JSONL); "
        f"several answers are joined by |. Up to {MAX_PAIRS:,} pairs. The usual other names of the columns are "
        "understood, the six published formats and those of auto-circuit, EAP-IG and MIB; of any other table you say "
        f"which column is which. Subject–verb agreement needs its {VERBS_FILE} beside it: choose both files at once.",
    )
    if not files:
        for name in (_FILE, _NAMED, _NAMING):
            st.session_state.pop(name, None)
        return None
    file_ids = tuple(file.file_id for file in files)
    by_hand: tuple[object, dict[str, str]] | None = st.session_state.get(_NAMED)
    columns = by_hand[1] if by_hand is not None and by_hand[0] == file_ids else None
    key = (file_ids, tuple(sorted((columns or {}).items())))
    memory = st.session_state.get(_FILE)
    if memory is None or memory[0] != key:
        memory = (key, _tried([(file.name, file.getvalue()) for file in files], columns))
        st.session_state[_FILE] = memory
    upload: Upload = memory[1]
    if upload.problem:
        st.error(plain(upload.problem), icon=":material/error:")
    return upload


def _tried(files: Sequence[tuple[str, bytes]], columns: Named | None) -> Upload:
    """What came of an upload. A process of its own reads it first: one that dies of it is told in a line."""
    preview = None
    try:
        with _in_a_folder(files) as path:
            try_prompts(path, columns)
    except ComputationError as error:
        return Upload(problem=one_line(error))
    except EapgpError:
        pass  # read again here, where a person can say which column is which
    with contextlib.suppress(EapgpError):
        preview = preview_upload(files)
    try:
        return Upload(read_upload(files, columns), preview=preview)
    except EapgpError as error:
        unnamed = preview is not None and (isinstance(error, HeaderError) or columns is not None)
        problem = one_line(error)
        if preview is not None and columns is None and unnamed:
            problem = f"{file_name(files[0][0], 'pairs')}: its columns are not recognised. Say which is which."
        return Upload(None, problem, preview, unnamed)


def read_upload(files: Sequence[tuple[str, bytes]], columns: Named | None = None) -> Read:
    """The pairs of an uploaded file, with the list of verbs beside it where that came too.

    columns: which of its columns is which, where a person said so.
    Errors: FormatError or PromptError, one line that names row and column.
    """
    with _in_a_folder(files) as path:
        prompts = read_prompts(path, limit=MAX_PAIRS + 1, columns=columns)
    if prompts.task == "custom":
        prompts = replace(prompts, task=path.stem)
    return _capped(prompts, path.name)


def preview_upload(files: Sequence[tuple[str, bytes]]) -> Preview:
    """The first rows of an uploaded file, whatever its columns are called. Errors: as `read_upload`."""
    with _in_a_folder(files) as path:
        return preview_prompts(path)


@contextlib.contextmanager
def _in_a_folder(files: Sequence[tuple[str, bytes]]) -> Iterator[Path]:
    """The file of pairs among those uploaded, with the others beside it."""
    named = {file_name(name, "pairs"): data for name, data in files}
    texts = [name for name in named if name != VERBS_FILE]
    if len(texts) != 1:
        raise FormatError(
            f"expected one file of pairs (and {VERBS_FILE} beside it), got {len(texts)}; remove the others."
        )
    with tempfile.TemporaryDirectory() as folder:
        for name, data in named.items():
            (Path(folder) / name).write_bytes(data)
        yield Path(folder) / texts[0]


def _start_naming() -> None:
    st.session_state[_NAMING] = True


def _name_columns(preview: Preview) -> None:
    """Which column is which: a box per column that pairs have, over the first rows of the file."""
    with st.form("own-columns", border=True):
        st.markdown("**Which column is which?**")
        ids = preview.named.get("correct_idx") is not None
        boxes = st.columns(len(NAMES) - 2)
        columns_picked: dict[str, str | None] = {}
        for box, name in zip(boxes, NAMES, strict=False):
            columns_picked[name] = _column_box(box, name, preview, ids)
        as_ids = st.checkbox(
            "The answers are token ids", value=ids, key="own-columns-ids", help="Numbers of the model's vocabulary."
        )
        narrow = st.column_config.TextColumn(width="small")
        columns = dict.fromkeys(preview.columns, narrow)
        st.dataframe(frame_of_rows(preview), hide_index=True, height="content", column_config=columns)
        pressed = st.form_submit_button("Read the file so", key="own-columns-read", icon=":material/check:")
    if pressed:
        file_ids = st.session_state[_FILE][0][0]
        st.session_state[_NAMED] = (file_ids, by_hand_of(columns_picked, ids=as_ids))
        st.session_state.pop(_NAMING, None)
        st.rerun()


def _column_box(box: DeltaGenerator, name: str, preview: Preview, ids: bool) -> str | None:
    label, help = _BOXES[name]
    named = preview.named.get(f"{name}_idx" if ids and name in ("correct", "incorrect") else name)
    options = list(preview.columns)
    return box.selectbox(
        label,
        options,
        index=options.index(named) if named in options else None,
        key=f"own-column-{name}",
        placeholder="none",
        help=help,
    )


def by_hand_of(columns_picked: Mapping[str, str | None], *, ids: bool) -> dict[str, str]:
    """The columns that were chosen by the names that the reader takes; ids: answers are token ids."""
    named = {name: column for name, column in columns_picked.items() if column is not None}
    return {f"{name}_idx" if ids and name in ("correct", "incorrect") else name: named[name] for name in named}


def frame_of_rows(preview: Preview) -> pd.DataFrame:
    """The first rows of a file as texts."""
    return pd.DataFrame([[str(row[c]) for c in preview.columns] for row in preview.rows], columns=list(preview.columns))


def _capped(prompts: PromptSet, name: str) -> Read:
    if len(prompts) <= MAX_PAIRS:
        return Read(prompts)
    remark = f"{name} holds more than {MAX_PAIRS:,} pairs; the first {MAX_PAIRS:,} are used."
    return Read(prompts.take(MAX_PAIRS), remark)


def _of_file(read: Read) -> PromptSet:
    origin = read.prompts.origin
    st.markdown(
        f"**{plain(origin.get('name', 'The file'))}** · {len(read.prompts):,} pairs · format {origin.get('format')}"
    )
    if read.remark:
        st.warning(plain(read.remark), icon=":material/warning:")
    named = origin.get("columns")
    if isinstance(named, dict):
        st.caption("Read so: " + plain(", ".join(f"{name} = {column}" for name, column in named.items())))
    fits = all(len(side) <= MOST_ANSWERS for pair in read.prompts for side in (pair.correct, pair.incorrect))
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Columns",
            key="own-columns-open",
            icon=":material/view_column:",
            on_click=_start_naming,
            help="Says which column of the file is which.",
        )
        if fits:
            st.button(
                "Edit in the table",
                key="own-edit",
                icon=":material/edit:",
                on_click=put_into_table,
                args=(read.prompts,),
                help="Puts these pairs into the table, where they can be changed. The file itself stays as it is.",
            )
    st.caption("Remove the file on the right to go back to the table.")
    return read.prompts


# -- text --------------------------------------------------------------------------------------


def _paste() -> None:
    with st.expander("Paste text", icon=":material/content_paste:"):
        text = st.text_area(
            "Rows with a header line",
            key="own-text",
            placeholder=f"{_HEADER}\n…",
            height=110,
            help="A block copied from a spreadsheet (tabs) or CSV. Without a header line the columns are taken as "
            "clean, corrupted, correct, incorrect. It replaces what is in the table.",
        )
        pressed = st.button(
            "Put into the table",
            key="own-put",
            icon=":material/table:",
            help="Reads the text above; what is wrong with it is told by row and column.",
        )
    if pressed:
        try:
            read = read_text(text)
        except EapgpError as error:
            st.error(plain(one_line(error)), icon=":material/error:")
            return
        put_into_table(read.prompts)
        st.session_state["own-remark"] = read.remark
        st.rerun()


def read_text(text: str) -> Read:
    """Pasted rows, with or without a header line. Errors as `parse_prompts`."""
    text = text.replace("\r\n", "\n").strip("\n")
    first = text.partition("\n")[0]
    if not is_json(text) and not _is_header(first):
        mark = delimited(first).mark
        text = f"{mark.join(COLUMNS)}\n{text}"
    return _capped(parse_prompts(text, limit=MAX_PAIRS + 1, name="pasted text"), "The pasted text")


def _is_header(line: str) -> bool:
    """Whether a line names columns rather than holding a pair."""
    names = [cell.strip(' "') for cell in cells(line, delimited(line).mark)]
    return "clean" in line.lower() or bool(add_aliases({}, names, "pasted text"))


# -- the table ---------------------------------------------------------------------------------


def put_into_table(prompts: PromptSet) -> None:
    """Replace what the table holds and let go of an uploaded file, from the next run of the script on."""
    st.session_state[_ROWS] = frame_of(prompts)
    st.session_state[_ABOUT] = (prompts.task, prompts.metric)
    st.session_state[_VERSION] = st.session_state.get(_VERSION, 0) + 1
    st.session_state.pop("own-remark", None)


def frame_of(prompts: PromptSet) -> pd.DataFrame:
    """Pairs as a table of texts that `pairs_of` reads back; answers are joined by `|`; token ids have own columns."""
    answers = [answer for pair in prompts for answer in (*pair.correct, *pair.incorrect)]
    ids = bool(answers) and all(isinstance(answer, int) for answer in answers)

    def cell(side: Sequence[Answer]) -> str:
        texts = [str(answer) for answer in side]
        return "|".join(texts) if ids else join_answers(texts)

    rows = [(pair.clean, pair.corrupted, cell(pair.correct), cell(pair.incorrect)) for pair in prompts]
    return pd.DataFrame(rows, columns=list(ID_COLUMNS if ids else COLUMNS), dtype=str, index=range(1, len(rows) + 1))


def pairs_of(table: pd.DataFrame, task: str, metric: str) -> tuple[PromptSet | None, list[str]]:
    """The pairs of the table's whole rows, and one line for each row that has an empty cell.

    task, metric: of the set that was put into the table.
    Errors: FormatError or PromptError where a cell cannot be read.
    """
    whole, problems = [], []
    sides = ("clean", "corrupted", *needed_sides(metric))
    for number, row in enumerate(table.to_dict("records"), start=1):
        cells = {str(name): "" if pd.isna(value) else str(value) for name, value in row.items()}
        if not any(cell.strip() for cell in cells.values()):
            continue
        empty = [name for name, cell in cells.items() if not cell.strip() and name.removesuffix("_idx") in sides]
        if empty:
            problems.append(f"The table: row {number}, column {empty[0]}: a text was expected, the cell is empty.")
        else:
            whole.append(cells)
    if len(whole) > MAX_PAIRS:
        problems.append(f"The table holds {len(whole):,} pairs; the first {MAX_PAIRS:,} are used.")
    if not whole:
        return None, problems
    filled = {name for cells in whole for name, cell in cells.items() if cell.strip()}
    rows = [{name: cells[name] for name in cells if name in filled} for cells in whole[:MAX_PAIRS]]
    return replace(parse_prompts(rows, name="the table"), task=task, metric=metric), problems


def _of_table() -> PromptSet | None:
    start = st.session_state.setdefault(_ROWS, frame_of(PromptSet("custom", _EXAMPLE, "logit-diff")))
    edited = st.data_editor(
        start,
        key=f"own-table-{st.session_state.get(_VERSION, 0)}",
        num_rows="dynamic",
        hide_index=False,
        width="stretch",
        height=min(40 + 36 * max(3, len(start) + 1), 330),
        column_config={
            "_index": st.column_config.NumberColumn("Row", width=45),
            "clean": st.column_config.TextColumn("Clean", width="medium", help="The prompt, up to the answer."),
            "corrupted": st.column_config.TextColumn(
                "Corrupted", width="medium", help="Its twin of as many tokens, for which another answer is right."
            ),
            "correct": st.column_config.TextColumn("Right answers", help="One token each; several are joined by |."),
            "incorrect": st.column_config.TextColumn("Wrong answers", help="One token each; several are joined by |."),
            "correct_idx": st.column_config.TextColumn("Right token ids", help="Several are joined by |."),
            "incorrect_idx": st.column_config.TextColumn("Wrong token ids", help="Several are joined by |."),
        },
    )
    _table_buttons()
    if st.session_state.get("own-remark"):
        st.warning(plain(st.session_state["own-remark"]), icon=":material/warning:")
    try:
        prompts, problems = pairs_of(edited, *st.session_state.get(_ABOUT, ("custom", "logit-diff")))
    except EapgpError as error:
        st.error(plain(one_line(error)), icon=":material/error:")
        return None
    if problems:
        more = f" And {len(problems) - 1} more such row{'s' if len(problems) > 2 else ''}." if len(problems) > 1 else ""
        st.warning(plain(problems[0] + more), icon=":material/warning:")
    if prompts is None:
        st.info("Type a pair into the table, paste rows, or press **Example**.", icon=":material/edit:")
    return prompts


def _table_buttons() -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for label, icon, pairs, help in (
            ("Example", "lightbulb", _EXAMPLE, "Two pairs to start from; they replace what is in the table."),
            ("Clear", "delete_sweep", (), "Empties the table."),
        ):
            st.button(
                label,
                key=f"own-{label.lower()}",
                icon=f":material/{icon}:",
                on_click=put_into_table,
                args=(PromptSet("custom", pairs, "logit-diff"),),
                help=help,
            )
    st.caption(
        "A block copied from a spreadsheet can be pasted into the cells. Clean and corrupted need as many tokens; each "
        "answer is one token, written as it stands in the text: mostly with the space before it, “\u00a0Mary”. What "
        "the model's tokenizer makes of it is shown pair by pair."
    )
