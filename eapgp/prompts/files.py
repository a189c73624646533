"""Reading prompt pairs from CSV, JSON or JSONL, and writing them as CSV.

1. The text becomes rows (`eapgp.prompts.rows`);  2. its columns get their names (`eapgp.prompts.aliases`);
3. the layout that they fill reads every row (`eapgp.prompts.columns`).

What comes in may be anybody's: size, encoding, columns and every cell are checked, and a
message says which row and column, what was expected and what came.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from eapgp.errors import FormatError, HeaderError, OptionError, PromptError
from eapgp.prompts.aliases import NAMES, add_aliases, name_columns
from eapgp.prompts.columns import (
    CUSTOM,
    TEXT_ANSWERS,
    BadCell,
    Layout,
    Row,
    Verbs,
    is_sva,
    join_answers,
    layout_columns,
    layout_of,
    sparing_layout_of,
)
from eapgp.prompts.pairs import PromptPair, PromptSet
from eapgp.prompts.prompting import ONE_TOKEN_PAIRS
from eapgp.prompts.rows import EXPECTED, MAX_PAIRS, Rows, is_json, listed, rows_of, rows_of_mappings, rows_of_text
from eapgp.sheet import decode

MAX_BYTES = 64 * 2**20
VERBS_FILE = "sva_verbs.csv"
Named = Mapping[str, str]  # name: the file's column


def read_prompts(
    path: str | Path, *, task: str | None = None, limit: int | None = None, columns: Named | None = None
) -> PromptSet:
    """Prompt pairs from a CSV, JSON or JSONL file.

    Understood: clean, corrupted, correct, incorrect (texts, several separated by `|`) or
    correct_idx, incorrect_idx (token ids), the other names of `eapgp.prompts.aliases`, and the formats of
    `eapgp.prompts.columns`, told apart by their columns. task: the name for a file whose columns do not tell.
    limit: take only the first pairs; without it a file may hold up to 5,000. columns: which of the file's columns is
    clean, corrupted, correct, …, where it does not say so itself: `{"clean": "Sentence A"}`.

    Errors: PromptError if the file is missing, empty or too large; FormatError if it is no text, neither CSV nor
    JSON, or has a bad cell; HeaderError if its columns are not recognised; OptionError if limit is below 1.
    """
    path = Path(path)
    text = _read_text(path)
    return parse_prompts(text, task=task, limit=limit, name=path.name, verbs=_verbs_beside(path, text), columns=columns)


def parse_prompts(
    source: str | Iterable[Mapping[str, object]],
    *,
    task: str | None = None,
    limit: int | None = None,
    name: str = "pasted text",
    verbs: Verbs | None = None,
    columns: Named | None = None,
) -> PromptSet:
    """Prompt pairs from CSV or JSON text, or from rows that are already split.

    name: what messages call the source. verbs: singular and plural forms, for the published
    agreement format. columns and errors: as `read_prompts`.
    """
    if limit is not None and limit < 1:
        raise OptionError(f"the number of pairs must be at least 1; got {limit}.")
    if isinstance(source, str):
        rows, content = rows_of(source, name, limit), source.encode(errors="surrogatepass")
    else:
        rows = rows_of_mappings(source, name, limit)
        content = repr([sorted(row.items()) for row in rows.rows]).encode(errors="surrogatepass")
    _check_size(rows, name)
    named = name_columns(rows.columns, layout_columns(), columns, name)
    by_hand = columns or {}
    layout = layout_of({*rows.columns, *named}, by_hand, verbs)
    if layout is None:
        named = add_aliases(named, rows.columns, name)
        unnamed = [column for column in rows.columns if column not in named.values()]
        have = {*rows.columns, *named}
        layout = layout_of(have, by_hand, verbs) or sparing_layout_of(set(named), by_hand, unnamed)
    if layout is None:
        raise _unrecognised(rows, named, name)
    pairs = tuple(_pair(layout, _renamed(row, rows, named), named, n, name) for n, row in enumerate(rows.rows, start=1))
    origin: dict[str, object] = {
        "kind": "file",
        "name": name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "format": layout.name,
    }
    if layout.name == "sva":
        origin["answers"] = ONE_TOKEN_PAIRS
    if columns:
        origin["columns"] = dict(columns)
    if layout.remark:
        origin["remarks"] = [layout.remark]
    own = layout.task != CUSTOM
    return PromptSet(
        layout.task if own else (_single(rows, named, "task") or task or layout.task),
        pairs,
        layout.metric if own else (_single(rows, named, "metric") or layout.metric),
        origin | {"n": len(pairs)},
    )


@dataclass(frozen=True)
class Preview:
    """The first rows of a file as it names its columns. named: what is recognised, {name: the file's column}."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    named: Named


def preview_prompts(path: str | Path, limit: int = 5) -> Preview:
    """What a file holds, for a person who says which column is which. Errors: as `read_prompts`, but for its header."""
    path = Path(path)
    rows = rows_of(_read_text(path), path.name, limit)
    try:
        named = add_aliases(name_columns(rows.columns, layout_columns(), None, path.name), rows.columns, path.name)
    except HeaderError:
        named = {}
    return Preview(tuple(rows.columns), tuple(rows.rows), {name: named[name] for name in NAMES if name in named})


def _verbs_beside(path: Path, text: str) -> Verbs | None:
    verbs_file = path.with_name(VERBS_FILE)
    if is_json(text) or not verbs_file.is_file():
        return None
    columns = name_columns(rows_of_text(text, path.name, 1).columns, layout_columns(), None, path.name)
    return read_verbs(verbs_file) if is_sva(columns) else None


def _check_size(rows: Rows, name: str) -> None:
    if not rows.rows:
        raise PromptError(f"{name}: holds no pairs; expected a header line ({EXPECTED}) and at least one row.")
    if rows.more:
        raise PromptError(
            f"{name}: holds more than {MAX_PAIRS:,} pairs, the most that are read at once. "
            "Say how many of the first pairs to take, or shorten the file."
        )


def write_prompts(prompts: PromptSet, path: str | Path) -> None:
    """Write the pairs as CSV so that `read_prompts` gives the same task, metric and pairs again.

    Texts go to the columns correct and incorrect, token ids to correct_idx and incorrect_idx.
    Errors: PromptError if texts and ids are mixed.
    """
    answers = [answer for pair in prompts for answer in (*pair.correct, *pair.incorrect)]
    as_ids = bool(answers) and all(isinstance(answer, int) for answer in answers)
    if not as_ids and any(isinstance(answer, int) for answer in answers):
        raise PromptError("the pairs mix texts and token ids as answers; a file holds one kind. Use one throughout.")
    suffix = "_idx" if as_ids else ""
    sides = _sides(prompts)
    columns = ["clean", "corrupted", *(side + suffix for side in sides), "note", "task", "metric"]
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for pair in prompts:
            cells = [
                "|".join(map(str, side)) if as_ids else join_answers([str(answer) for answer in side])
                for side in (getattr(pair, side) for side in sides)
            ]
            writer.writerow([pair.clean, pair.corrupted, *cells, pair.note, prompts.task, prompts.metric])


def _sides(prompts: PromptSet) -> list[str]:
    """The sides on which the pairs have answers. Errors: PromptError where only some have."""
    sides = []
    for side in ("correct", "incorrect"):
        answered = sum(bool(getattr(pair, side)) for pair in prompts)
        if 0 < answered < len(prompts):
            raise PromptError(
                f"{answered} of {len(prompts)} pairs have {side} answers; a file needs them in all or none."
            )
        sides += [side] * bool(answered)
    return sides


def read_verbs(path: Path) -> Verbs:
    """Singular and plural forms, with a leading space, from a file with the columns sing and plur."""
    rows = rows_of_text(_read_text(path), path.name, limit=100_000)
    if not {"sing", "plur"} <= set(rows.columns):
        raise FormatError(f"{path.name}: columns sing and plur were expected, found {listed(rows.columns)}. Add them.")
    forms = dict.fromkeys((str(row["sing"]).strip(), str(row["plur"]).strip()) for row in rows.rows)
    both = [(f" {sing}", f" {plur}") for sing, plur in forms if sing and plur]
    return tuple(sing for sing, _ in both), tuple(plur for _, plur in both)


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise PromptError(f"{path}: is a folder; a CSV file with the columns {EXPECTED} was expected. Name the file.")
    if not path.is_file():
        raise PromptError(f"{path}: no such file; a CSV with the columns {EXPECTED} was expected. Check the path.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise PromptError(
            f"{path.name}: {size / 2**20:,.0f} MiB; at most {MAX_BYTES // 2**20} MiB are read. Split the file."
        )
    return decode(path.read_bytes(), path.name)


def _renamed(row: Row, rows: Rows, named: Named) -> Row:
    """The row by the names of its columns too; a text that stands for one answer is a list of it."""
    cells = {**row, **{name: row[column] for name, column in named.items()}}
    if rows.exact:
        answers = [one for one in cells if one in TEXT_ANSWERS or one.endswith("label")]
        cells |= {one: [cell] for one in answers if isinstance(cell := cells[one], str) and cell}
    return cells


def _pair(layout: Layout, row: Row, named: Named, number: int, name: str) -> PromptPair:
    try:
        return layout.pair(row)
    except BadCell as error:
        column = named.get(error.column, error.column)
        raise FormatError(f"{name}: row {number}, column {column}: {error}.") from None


def _unrecognised(rows: Rows, named: Named, name: str) -> HeaderError:
    missing = [one for one in EXPECTED.split(", ") if one not in named]
    example = next((column for column in rows.columns if column and column not in named.values()), "COLUMN")
    return HeaderError(
        f"{name}: column {listed(missing)} is missing; expected {EXPECTED} (or correct_idx, incorrect_idx), "
        f"found {listed(rows.columns[:20])}. Name the columns in the first line, or say which is which: "
        f"--columns {missing[0] if missing else 'correct'}={example}."
    )


def _single(rows: Rows, named: Named, name: str) -> str | None:
    """The value that all rows share in an optional column, else None."""
    values = {str(row.get(named.get(name, name)) or "") for row in rows.rows}
    return values.pop() or None if len(values) == 1 else None
