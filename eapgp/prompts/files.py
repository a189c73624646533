"""Reading prompt pairs from CSV or JSON, and writing them as CSV.

What comes in may be anybody's: size, encoding, columns and every cell are checked, and a
message says which row and column, what was expected and what came.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from numbers import Integral
from pathlib import Path

from eapgp.errors import FormatError, OptionError, PromptError
from eapgp.prompts.answers import ONE_TOKEN_PAIRS
from eapgp.prompts.columns import CUSTOM, BadCell, Cell, Layout, Row, Verbs, is_sva, join_answers, layout_of
from eapgp.prompts.pairs import PromptPair, PromptSet

MAX_PAIRS = 5_000
MAX_BYTES = 64 * 2**20
VERBS_FILE = "sva_verbs.csv"
EXPECTED = "clean, corrupted, correct, incorrect"


def read_prompts(path: str | Path, *, task: str | None = None, limit: int | None = None) -> PromptSet:
    """Prompt pairs from a CSV or JSON file.

    Understood: clean, corrupted, correct, incorrect (texts, several separated by `|`) or
    correct_idx, incorrect_idx (token ids), and the formats of `eapgp.prompts.columns`, told apart
    by their columns. JSON: a list of objects, or an object that holds it as `prompts` or `pairs`; there
    an answer that is a number is a token id. task: the name for a file whose columns do not tell.
    limit: take only the first pairs; without it a file may hold up to 5,000.

    Errors: PromptError if the file is missing, empty or too large; FormatError if it is not
    UTF-8, neither CSV nor JSON, lacks a column or has a bad cell; OptionError if limit is below 1.
    """
    path = Path(path)
    text = _read_text(path)
    verbs_file = path.with_name(VERBS_FILE)
    verbs = read_verbs(verbs_file) if is_sva(_header(text)) and verbs_file.is_file() else None
    return parse_prompts(text, task=task, limit=limit, name=path.name, verbs=verbs)


def parse_prompts(
    source: str | Iterable[Mapping[str, object]],
    *,
    task: str | None = None,
    limit: int | None = None,
    name: str = "pasted text",
    verbs: Verbs | None = None,
) -> PromptSet:
    """Prompt pairs from CSV text (commas, semicolons or tabs), from JSON text, or from rows that are already split.

    name: what messages call the source. verbs: singular and plural forms, for the published
    agreement format. Errors as `read_prompts`.
    """
    if limit is not None and limit < 1:
        raise OptionError(f"the number of pairs must be at least 1; got {limit}.")
    if isinstance(source, str):
        read = _rows_of_json if is_json(source) else _rows_of_text
        columns, rows, more = read(source, name, limit)
        content = source.encode()
    else:
        columns, rows, more = _rows_of_mappings(source, name, limit)
        content = repr([sorted(row.items()) for row in rows]).encode()
    if not rows:
        raise PromptError(f"{name}: holds no pairs; expected a header line ({EXPECTED}) and at least one row.")
    if more:
        raise PromptError(
            f"{name}: holds more than {MAX_PAIRS:,} pairs, the most that are read at once. "
            "Say how many of the first pairs to take, or shorten the file."
        )
    layout = layout_of(columns, verbs)
    if layout is None:
        raise FormatError(_missing(name, columns))
    pairs = tuple(_pair(layout, row, number, name) for number, row in enumerate(rows, start=1))
    origin: dict[str, object] = {
        "kind": "file",
        "name": name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "format": layout.name,
    }
    if layout.name == "sva":
        origin["answers"] = ONE_TOKEN_PAIRS
    named = layout.task != CUSTOM
    return PromptSet(
        layout.task if named else (_single(rows, "task") or task or layout.task),
        pairs,
        layout.metric if named else (_single(rows, "metric") or layout.metric),
        origin | {"n": len(pairs)},
    )


def write_prompts(prompts: PromptSet, path: str | Path) -> None:
    """Write the pairs as CSV so that `read_prompts` gives the same task, metric and pairs again.

    Texts go to the columns correct and incorrect, token ids to correct_idx and incorrect_idx.
    Errors: PromptError if texts and ids are mixed.
    """
    answers = [answer for pair in prompts for answer in (*pair.correct, *pair.incorrect)]
    as_ids = all(isinstance(answer, int) for answer in answers)
    if not as_ids and any(isinstance(answer, int) for answer in answers):
        raise PromptError("the pairs mix texts and token ids as answers; a file holds one kind. Use one throughout.")
    suffix = "_idx" if as_ids else ""
    columns = ["clean", "corrupted", f"correct{suffix}", f"incorrect{suffix}", "note", "task", "metric"]
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for pair in prompts:
            sides = [
                "|".join(map(str, side)) if as_ids else join_answers([str(answer) for answer in side])
                for side in (pair.correct, pair.incorrect)
            ]
            writer.writerow([pair.clean, pair.corrupted, *sides, pair.note, prompts.task, prompts.metric])


def read_verbs(path: Path) -> Verbs:
    """Singular and plural forms, with a leading space, from a file with the columns sing and plur."""
    columns, rows, _ = _rows_of_text(_read_text(path), path.name, limit=100_000)
    if not {"sing", "plur"} <= set(columns):
        raise FormatError(f"{path.name}: columns sing and plur were expected, found {_listed(columns)}. Add them.")
    forms = dict.fromkeys((str(row["sing"]).strip(), str(row["plur"]).strip()) for row in rows)
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


def decode(content: bytes, name: str) -> str:
    """UTF-8 text of a file's bytes (a byte-order mark is dropped). Errors: FormatError."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{name}: UTF-8 text was expected, byte {error.start} (0x{content[error.start]:02x}) is not. "
            "Save the file as UTF-8."
        ) from None


def is_json(text: str) -> bool:
    """Whether a text is JSON rather than CSV, by how it begins."""
    return text.lstrip()[:1] in ("{", "[")


def _header(text: str) -> list[str]:
    if is_json(text):
        return []
    first = text.partition("\n")[0].rstrip("\r")
    try:
        return [cell.strip() for cell in next(csv.reader([first], delimiter=_delimiter(text)), [])]
    except csv.Error:  # told with its row when the whole text is read
        return []


def _delimiter(text: str) -> str:
    """Comma, or what a spreadsheet puts in its place, by the header line."""
    first = text.partition("\n")[0]
    return "," if "," in first else next((mark for mark in ("\t", ";") if mark in first), ",")


def _rows_of_text(text: str, name: str, limit: int | None) -> tuple[list[str], list[Row], bool]:
    """Columns, rows, and whether there were more rows than may be read."""
    if not text.strip():
        raise PromptError(f"{name}: is empty; expected a header line ({EXPECTED}) and at least one row. Add them.")
    if "\0" in text:
        raise FormatError(f"{name}: holds NUL bytes, so it is no text file. Save it as CSV in UTF-8.")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    lines: list[list[str]] = []
    names: list[str] = []
    try:
        names = [cell.strip() for cell in next(reader)]
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(lines) >= (limit or MAX_PAIRS):
                return (*_columns_and_rows(names, lines, name), limit is None)
            lines.append(_whole(cells, names, len(lines) + 1, name))
    except csv.Error as error:
        raise FormatError(f"{name}: row {len(lines) + 1} is not valid CSV ({error}). Check its quotes.") from None
    return (*_columns_and_rows(names, lines, name), False)


def _whole(cells: list[str], names: list[str], number: int, name: str) -> list[str]:
    """A row with as many cells as the header; empty ones at the end may be missing or too many."""
    width = max((place for place, column in enumerate(names, start=1) if column), default=0)
    if len(cells) < width or any(cell.strip() for cell in cells[len(names) :]):
        columns = [column for column in names if column]
        raise FormatError(
            f"{name}: row {number} has {len(cells)} cells, the header has {len(columns)} "
            f"({_listed(columns)}). Put texts that hold a separator in quotes."
        )
    return [*cells, *[""] * (len(names) - len(cells))][: len(names)]


def _columns_and_rows(names: list[str], lines: list[list[str]], name: str) -> tuple[list[str], list[Row]]:
    """Columns and rows without the empty columns that spreadsheets leave behind."""
    places = [place for place, column in enumerate(names) if column or any(line[place].strip() for line in lines)]
    columns = _checked([names[place] for place in places], name)
    return columns, [{names[place]: line[place] for place in places} for line in lines]


JSON_LISTS = ("prompts", "pairs")
# Columns of texts: a bare text in JSON is one answer, whatever characters it holds.
_TEXT_ANSWERS = ("correct", "incorrect", "answers", "wrong_answers")


def _rows_of_json(text: str, name: str, limit: int | None) -> tuple[list[str], list[Row], bool]:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"{name}: begins like JSON, but is not valid ({error}). Save it again as JSON or CSV."
        ) from None
    entries, about = whole, {}
    if isinstance(whole, dict):
        entries = next((whole[key] for key in JSON_LISTS if key in whole), None)
        about = {key: whole[key] for key in ("task", "metric") if isinstance(whole.get(key), str)}
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FormatError(
            f"{name}: a list of objects with {EXPECTED} was expected, or an object that holds it as prompts; "
            "found other JSON. Write one object per pair."
        )
    return _rows_of_mappings(({**about, **_with_lists(entry)} for entry in entries), name, limit)


def _with_lists(entry: dict[str, object]) -> dict[str, object]:
    return entry | {key: [entry[key]] for key in _TEXT_ANSWERS if isinstance(entry.get(key), str) and entry[key]}


def _rows_of_mappings(
    source: Iterable[Mapping[str, object]], name: str, limit: int | None
) -> tuple[list[str], list[Row], bool]:
    entries = [dict(row) for row in source]
    columns = list(dict.fromkeys(column for entry in entries for column in entry))
    rows: list[Row] = [{c: _cell(row.get(c)) for c in columns} for row in entries]
    filled = [row for row in rows if any(str(cell).strip() for cell in row.values())]
    most = limit or MAX_PAIRS
    return columns, filled[:most], limit is None and len(filled) > most


def _cell(value: object) -> Cell:
    """Whole numbers stay numbers (as answers they are token ids), lists stay lists, all else is text."""
    if isinstance(value, list | tuple):
        return [_answer(item) for item in value]
    return _answer(value)


def _answer(value: object) -> str | int:
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return "" if value is None else str(value)


def _checked(columns: list[str], name: str) -> list[str]:
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise FormatError(f"{name}: column {_listed(twice)} occurs twice in the header. Rename or remove one.")
    return columns


def _pair(layout: Layout, row: Row, number: int, name: str) -> PromptPair:
    try:
        return layout.pair(row)
    except BadCell as error:
        raise FormatError(f"{name}: row {number}, column {error.column}: {error}.") from None


def _missing(name: str, columns: list[str]) -> str:
    missing = [column for column in EXPECTED.split(", ") if column not in columns]
    return (
        f"{name}: column {_listed(missing)} is missing; expected {EXPECTED} "
        f"(or correct_idx, incorrect_idx), found {_listed(columns)}. Name the columns in the first line."
    )


def _listed(names: list[str]) -> str:
    return ", ".join(name or "(unnamed)" for name in names)


def _single(rows: list[Row], column: str) -> str | None:
    """The value that all rows share in an optional column, else None."""
    values = {str(row.get(column) or "") for row in rows}
    return values.pop() or None if len(values) == 1 else None
