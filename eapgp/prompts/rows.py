"""Rows of prompt files before anybody knows what their columns mean: CSV, JSON, JSONL, or rows that are split already.

JSON may be a list of objects, an object that holds it (`prompts`, `pairs`, `data`, …), columns of lists, one object,
or what pandas writes in any of its orientations. Objects within objects become columns with dots in their names, as
`metadata.subject`.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from eapgp.errors import FormatError, PromptError
from eapgp.prompts.columns import Cell, Row
from eapgp.sheet import Delimited, bad_quote, delimited
from eapgp.strict_json import check_amount, check_value, decode

MAX_PAIRS = 5_000
MAX_COLUMNS = 512
MAX_WIDTH = 20_000
MAX_VALUES = 2_000_000
"""Values of a JSON file, by its commas and brackets."""
EXPECTED = "clean, corrupted, correct, incorrect"
LISTS = ("prompts", "pairs", "data", "rows", "examples", "records", "instances")
"""Keys under which JSON files keep their list of objects."""
DEPTH = 4
BRACKETS = 200
_PACKED = re.compile(r"\s*\{\s*(['\"]).*\}\s*", re.DOTALL)
_ARRAY = re.compile(r"array\((\[.*?\])(?:,\s*dtype=\w+)?\)", re.DOTALL)  # as NumPy shows a list
LISTED = 8  # objects of a list that become columns


@dataclass(frozen=True)
class Rows:
    """What a source holds, by its own names of columns. more: whether it goes on; exact: a text is one answer."""

    columns: list[str]
    rows: list[Row]
    more: bool
    exact: bool = False


def is_json(text: str) -> bool:
    """Whether a text is JSON rather than CSV, by how it begins."""
    return text.lstrip("\ufeff \t\r\n")[:1] in ("{", "[")


def rows_of(text: str, name: str, limit: int | None) -> Rows:
    """The rows of a text. Errors: PromptError where it is empty; FormatError where it cannot be read."""
    return rows_of_json(text, name, limit) if is_json(text) else rows_of_text(text, name, limit)


def rows_of_text(text: str, name: str, limit: int | None) -> Rows:
    """The rows of a CSV text, whatever its mark; columns and rows that are empty are left out."""
    if not text.strip():
        raise PromptError(f"{name}: is empty; expected a header line ({EXPECTED}) and at least one row. Add them.")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise FormatError(f"{name}: holds NUL bytes (line {line}), so it is no text file. Save it as CSV in UTF-8.")
    table = delimited(text)
    _check_width((), 1 + table.text.count(table.mark, 0, table.text.find("\n")), name)
    reader = csv.reader(io.StringIO(table.text, newline=""), delimiter=table.mark, strict=True)
    lines: list[list[str]] = []
    names: list[str] = []
    in_order = 0
    try:
        names = [_header(cell) for cell in next(reader, [])]
        _check_width([column for column in names if column], len(names), name)
        for cells in reader:
            in_order = reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if len(lines) >= (limit or MAX_PAIRS):
                return _filled(names, lines, name, more=limit is None)
            lines.append(_whole(cells, names, len(lines) + 1, name))
    except csv.Error as error:
        raise FormatError(_bad_csv(name, table, in_order, names, len(lines) + 1, error)) from None
    return _filled(names, lines, name, more=False)


def _check_width(columns: Sequence[str], width: int, name: str) -> None:
    """width: with the columns without a name, of which a spreadsheet can leave thousands."""
    if len(columns) > MAX_COLUMNS or width > MAX_WIDTH:
        raise FormatError(f"{name}: {width:,} columns; at most {MAX_COLUMNS} that have a name are read. Remove some.")


def _header(cell: str) -> str:
    """A column's name without spaces around it, and without characters that nobody sees."""
    return "".join(char for char in cell if char.isprintable() or char.isspace()).strip()


def _bad_csv(name: str, table: Delimited, in_order: int, names: Sequence[str], row: int, error: csv.Error) -> str:
    if "field limit" in str(error):
        return f"{name}: row {row} has a cell of more than {csv.field_size_limit():,} characters. Shorten it."
    quote = bad_quote(table, in_order)
    if quote is None:
        return f"{name}: row {row} is not valid CSV ({error}). Check its quotes."
    column = f", column {names[quote.cell]}" if quote.cell < len(names) else ""
    return (
        f"{name}: row {row} is not valid CSV: line {quote.line}{column}, character {quote.character}: {quote.problem}. "
        "Check its quotes."
    )


def _whole(cells: list[str], names: list[str], number: int, name: str) -> list[str]:
    """A row with as many cells as the header; empty ones at the end may be missing or too many."""
    width = max((place for place, column in enumerate(names, start=1) if column), default=0)
    if len(cells) < width or any(cell.strip() for cell in cells[len(names) :]):
        columns = [column for column in names if column]
        raise FormatError(
            f"{name}: row {number} has {len(cells)} cells, the header has {len(columns)} "
            f"({listed(columns)}). Put texts that hold a separator in quotes."
        )
    return [*cells, *[""] * (len(names) - len(cells))][: len(names)]


def _filled(names: list[str], lines: list[list[str]], name: str, *, more: bool) -> Rows:
    """Without the empty columns that spreadsheets leave behind, and without the numbers that pandas puts in front."""
    places = [place for place, column in enumerate(names) if column or any(line[place].strip() for line in lines)]
    if places and not names[places[0]] and all(line[places[0]].strip().isdecimal() for line in lines):
        places = places[1:]
    columns = [names[place] for place in places]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise FormatError(f"{name}: column {listed(twice)} occurs twice in the header. Rename or remove one.")
    packed = [place for place in places if lines and all(_PACKED.fullmatch(line[place]) for line in lines)]
    rows: list[Row] = [{names[place]: line[place] for place in places} for line in lines]
    if not packed:
        return Rows(columns, rows, more)
    unpacked = rows_of_mappings((dict(_flat(_unpacked(row))) for row in rows), name, len(rows) or 1)
    return Rows(unpacked.columns, unpacked.rows, more)


def _unpacked(row: Row) -> dict[str, Any]:
    """A row in which objects that a library wrote into cells, as Python shows them, are objects again."""
    cells: dict[str, Any] = dict(row)
    for name, cell in row.items():
        if isinstance(cell, str) and _PACKED.fullmatch(cell) and sum(map(cell.count, "[{(")) <= BRACKETS:
            with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
                cells[name] = ast.literal_eval(_ARRAY.sub(r"\1", cell).strip())  # literals alone: no code
    return cells


def rows_of_json(text: str, name: str, limit: int | None) -> Rows:
    """The rows of a JSON or JSONL text."""
    try:
        entries, about = _entries(_documents(text.lstrip("\ufeff"), name, limit), name)
    except RecursionError:
        raise FormatError(f"{name}: begins like JSON, but is not valid (nested too deep). Save it again.") from None
    return rows_of_mappings(({**about, **dict(_flat(entry))} for entry in entries), name, limit, exact=True)


def _documents(text: str, name: str, limit: int | None) -> Any:
    """The document; of JSONL the list of its lines, as many as will be read and one."""
    first, _, rest = text.partition("\n")
    try:
        check_amount(first if rest.strip() and _is_object(first) else text, MAX_VALUES)
        document = decode(text, nan=True)
        check_value(document)
        return document
    except json.JSONDecodeError as error:
        problem = error
    except ValueError as error:  # a number of too many digits or an infinite one, say
        raise FormatError(f"{name}: begins like JSON, but is not valid ({error}). Save it again.") from None
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if len(lines) > 1 and _is_object(lines[0][1]):
        return [_line(line, number, name) for number, line in lines[: limit or MAX_PAIRS + 1]]
    raise FormatError(
        f"{name}: begins like JSON, but is not valid (line {problem.lineno}, character {problem.colno}: "
        f"{problem.msg}). Save it again as JSON or CSV."
    )


def _is_object(line: str) -> bool:
    try:
        check_amount(line, MAX_VALUES)
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _line(line: str, number: int, name: str) -> Any:
    try:
        check_amount(line, MAX_VALUES)
        value = decode(line, nan=True)
        check_value(value)
        return value
    except json.JSONDecodeError as error:
        raise FormatError(
            f"{name}: line {number}, character {error.colno} is not valid JSON ({error.msg}). "
            "Write one object per line."
        ) from None
    except ValueError as error:
        raise FormatError(f"{name}: line {number} is not valid JSON ({error}). Write one object per line.") from None


def _entries(document: Any, name: str) -> tuple[Iterable[Mapping[str, Any]], dict[str, str]]:
    """The objects, one per pair, and what is said of all of them."""
    about: dict[str, str] = {}
    if isinstance(document, dict):
        about = {key: document[key] for key in ("task", "metric") if isinstance(document.get(key), str)}
        document = _within(document)
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise FormatError(
            f"{name}: a list of objects with {EXPECTED} was expected, or an object that holds it as prompts, or "
            "columns of lists of one length; found other JSON. Write one object per pair."
        )
    return document, about


def _within(whole: dict[str, Any]) -> Any:
    """The list of objects that an object stands for, whichever way it was written; the object where it is none."""
    for key in LISTS:
        inner = whole.get(key)
        if isinstance(inner, dict) or (isinstance(inner, list) and not any(isinstance(one, str) for one in inner)):
            return _of_table(whole, key)
    values = {key: value for key, value in whole.items() if key not in ("task", "metric")}
    if values and all(isinstance(value, list) for value in values.values()):
        return _of_columns(values)
    if values and all(isinstance(value, dict) for value in values.values()):
        if all(key.isdecimal() for key in values):
            return list(values.values())
        if all(key.isdecimal() for value in values.values() for key in value):
            return _of_columns({key: list(value.values()) for key, value in values.items()})
    return [whole] if any(isinstance(value, str) for value in values.values()) else whole


def _of_table(whole: dict[str, Any], key: str) -> Any:
    inner, columns = whole[key], whole.get("columns")
    if isinstance(inner, dict):
        return _within(inner)
    if isinstance(columns, list) and all(isinstance(row, list) and len(row) == len(columns) for row in inner):
        return [dict(zip(map(str, columns), row, strict=True)) for row in inner]
    return inner


def _of_columns(columns: dict[str, list[Any]]) -> Any:
    if len({len(column) for column in columns.values()}) > 1:
        return columns
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _flat(entry: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every value of an object by its name, those of objects within it by names with dots."""
    for key, value in entry.items():
        if isinstance(value, dict) and depth < DEPTH:
            yield from _flat(value, f"{prefix}{key}.", depth + 1)
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value) and depth < DEPTH:
            for place, one in enumerate(value[:LISTED]):
                yield from _flat(one, f"{prefix}{key}.{place}.", depth + 1)
        else:
            yield f"{prefix}{key}", value


def rows_of_mappings(
    source: Iterable[Mapping[str, object]], name: str, limit: int | None, *, exact: bool = False
) -> Rows:
    """Rows that are split already; those without a value are left out."""
    entries = [dict(row) for row in source]
    columns = list(dict.fromkeys(column for entry in entries for column in entry))
    _check_width(columns, len(columns), name)
    rows: list[Row] = [{c: _cell(row.get(c)) for c in columns} for row in entries]
    filled = [row for row in rows if any(str(cell).strip() for cell in row.values())]
    most = limit or MAX_PAIRS
    return Rows(columns, filled[:most], limit is None and len(filled) > most, exact)


def _cell(value: object) -> Cell:
    """Whole numbers stay numbers, lists stay lists, all else is text."""
    if isinstance(value, list | tuple):
        return [str(item) for item in map(_single, value)]
    return _single(value)


def _single(value: object) -> str | int:
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return "" if value is None or (isinstance(value, float) and value != value) else str(value)


def listed(names: Iterable[str]) -> str:
    """Names for a message."""
    return ", ".join(name or "(unnamed)" for name in names)
