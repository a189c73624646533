"""How a row of a prompt file becomes a pair: one table of layouts, the first that a file's columns fill is its own.

| format | columns beside clean and corrupted |
|---|---|
| pairs | correct, incorrect (texts; in JSON a number is a token id) or correct_idx, incorrect_idx (token ids) |
| ioi | corrupted_hard, correct_idx, incorrect_idx |
| greater-than | correct_idx: the two-digit start year as an integer |
| gender-bias | clean_answer_idx, corrupted_answer_idx |
| country-capital | country_idx, corrupted_country_idx: first tokens |
| hypernymy | answers_idx, corrupted_answers_idx: lists written as text |
| sva | group, plural; the verbs come from a second file |
| auto-circuit | answers, wrong_answers (texts), and corrupt in place of corrupted |
| eap-ig | label: the two-digit start year of greater-than |

Published formats: Hanna et al. 2024, arXiv:2403.17806; auto-circuit and eap-ig are how the libraries of
these names write prompts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from eapgp.errors import FormatError
from eapgp.prompts.pairs import Answer, PromptPair

Cell = str | int | list[Answer]  # a CSV holds texts; JSON and rows of Python also numbers and lists
Row = Mapping[str, Cell]
Sides = tuple[tuple[Answer, ...], tuple[Answer, ...]]
Verbs = tuple[tuple[str, ...], tuple[str, ...]]  # singular forms, plural forms

_ID_LIST = re.compile(r"\[\s*\d+(?:\s*,\s*\d+)*\s*\]")
_PIECE = re.compile(r"((?:\\.|[^|\\])*)(\||$)", re.DOTALL)


class BadCell(Exception):
    """A cell that cannot be read; the caller adds where it stands."""

    def __init__(self, column: str, problem: str) -> None:
        super().__init__(problem)
        self.column = column


@dataclass(frozen=True)
class Layout:
    """A kind of file: its task, default metric, the columns it needs, and how to read a row's answers."""

    name: str
    task: str
    metric: str
    columns: tuple[str, ...]
    read: Callable[[Row], Sides]
    prompts: tuple[str, str] = ("clean", "corrupted")

    def fills(self, columns: set[str]) -> bool:
        """Whether a file with these columns holds all that the layout needs."""
        return {*self.prompts, *self.columns} <= columns

    def pair(self, row: Row) -> PromptPair:
        """The pair of one row. Errors: BadCell."""
        clean, corrupted = (_prompt(row, column) for column in self.prompts)
        correct, incorrect = self.read(row)
        return PromptPair(clean, corrupted, correct, incorrect, str(row.get("note") or row.get("group") or ""))


def layout_of(columns: Sequence[str], verbs: Verbs | None) -> Layout | None:
    """The layout that these columns belong to, or None."""
    have = set(columns)
    return next((layout for layout in _layouts(verbs) if layout.fills(have)), None)


def is_sva(columns: Sequence[str]) -> bool:
    """Whether the file needs the list of verbs beside it."""
    return {"clean", "corrupted", "group", "plural"} <= set(columns)


CUSTOM = "custom"


def _layouts(verbs: Verbs | None) -> tuple[Layout, ...]:
    """Every layout; where a file fills several, the first counts."""
    ids, diff, prob = _id_columns, "logit-diff", "prob-diff"
    genders, countries = ("clean_answer_idx", "corrupted_answer_idx"), ("country_idx", "corrupted_country_idx")
    own_ids, kinds = ("correct_idx", "incorrect_idx"), ("answers_idx", "corrupted_answers_idx")
    return (
        Layout("ioi", "ioi", diff, ("corrupted_hard", *own_ids), ids(*own_ids)),
        Layout("pairs", CUSTOM, diff, ("correct", "incorrect"), _text_columns("correct", "incorrect")),
        Layout("pairs", CUSTOM, diff, own_ids, ids(*own_ids)),
        Layout("gender-bias", "gender-bias", diff, genders, ids(*genders)),
        Layout("country-capital", "country-capital", diff, countries, ids(*countries)),
        Layout("hypernymy", "hypernymy", prob, kinds, lambda row: (_id_list(row, kinds[0]), _id_list(row, kinds[1]))),
        Layout("sva", "sva", prob, ("group", "plural"), lambda row: _agreement(row, verbs)),
        Layout("greater-than", "greater-than", prob, ("correct_idx",), lambda row: _years(row, "correct_idx")),
        Layout(
            "auto-circuit",
            CUSTOM,
            diff,
            ("answers", "wrong_answers"),
            _text_columns("answers", "wrong_answers"),
            prompts=("clean", "corrupt"),
        ),
        Layout("eap-ig", "greater-than", prob, ("label",), lambda row: _years(row, "label")),
    )


def split_answers(cell: str) -> list[str]:
    """Answers separated by `|`; a backslash keeps the character after it as it is."""
    pieces = []
    for match in _PIECE.finditer(cell):
        pieces.append(re.sub(r"\\(.)", r"\1", match.group(1), flags=re.DOTALL))
        if match.group(2) == "":
            break
    return pieces


def join_answers(answers: Sequence[str]) -> str:
    """The reverse of `split_answers`: `|` and backslashes are escaped."""
    return "|".join(answer.replace("\\", "\\\\").replace("|", "\\|") for answer in answers)


def _prompt(row: Row, column: str) -> str:
    text = row[column]
    if not isinstance(text, str):
        raise BadCell(column, f"a prompt was expected, {_short(text)} came. Write a text")
    if not text.strip():
        raise BadCell(column, "a prompt was expected, the cell is empty. Fill it in or remove the row")
    return text


def _text_columns(correct: str, incorrect: str) -> Callable[[Row], Sides]:
    """Reader of two columns of texts."""
    return lambda row: (_answers(row, correct), _answers(row, incorrect))


def _answers(row: Row, column: str) -> tuple[Answer, ...]:
    cell = row[column]
    answers = split_answers(cell) if isinstance(cell, str) else cell if isinstance(cell, list) else [cell]
    if not answers or not all(answer.strip() for answer in answers if isinstance(answer, str)):
        raise BadCell(column, "an answer was expected, it is empty. Write a text; several are separated by |")
    return tuple(answers)


def _id_columns(correct: str, incorrect: str) -> Callable[[Row], Sides]:
    """Reader of two columns of token ids."""
    return lambda row: (_ids(row, correct), _ids(row, incorrect))


def _ids(row: Row, column: str) -> tuple[int, ...]:
    cell = row[column]
    texts = [str(piece).strip() for piece in (cell if isinstance(cell, list) else str(cell).split("|"))]
    if not texts or not all(text.isascii() and text.isdigit() for text in texts):
        raise BadCell(
            column, f"a token id was expected, {_short(row[column])} came. Write whole numbers; several separated by |"
        )
    return tuple(int(text) for text in texts)


def _id_list(row: Row, column: str) -> tuple[int, ...]:
    text = str(row[column]).strip()
    if not _ID_LIST.fullmatch(text):  # a pattern, not an evaluation: the file may be anybody's
        raise BadCell(
            column, f"a list of token ids such as [16840, 23685] was expected, {_short(text)} came. Correct the cell"
        )
    return tuple(int(number) for number in re.findall(r"\d+", text))


def _years(row: Row, column: str) -> Sides:
    text = str(row[column]).strip()
    if not re.fullmatch(r"\d{1,2}", text, re.ASCII) or int(text) > 98:
        raise BadCell(
            column,
            f"the two digits of the start year (0 to 98) were expected, {_short(text)} came. "
            "If these are token ids, call the column correct_idx and add a column incorrect_idx",
        )
    start = int(text)
    years = tuple(f"{year:02d}" for year in range(100))
    return years[start + 1 :], years[: start + 1]


def _agreement(row: Row, verbs: Verbs | None) -> Sides:
    if verbs is None:
        raise FormatError(
            "a subject–verb agreement file needs its verbs: expected sva_verbs.csv (columns sing, plur) next to "
            "it, found none. Put that file in the same folder; where files are uploaded, choose both at once."
        )
    number = str(row["plural"])
    if number not in ("0", "1"):
        raise BadCell("plural", f"0 or 1 was expected, {number!r} came. Correct the cell")
    return verbs[int(number)], verbs[1 - int(number)]


def _short(cell: Cell) -> str:
    text = cell if isinstance(cell, str) else str(cell)
    return repr(text if len(text) <= 40 else text[:37] + "…")
