"""How a row of a prompt file becomes a pair: the project's own columns and six published formats.

| format | columns beside clean and corrupted |
|---|---|
| pairs | correct, incorrect (texts or token ids) and/or correct_idx, incorrect_idx (token ids) |
| ioi | corrupted_hard, correct_idx, incorrect_idx |
| greater-than | correct_idx: the two-digit start year as an integer |
| gender-bias | clean_answer_idx, corrupted_answer_idx |
| country-capital | country_idx, corrupted_country_idx: first tokens |
| hypernymy | answers_idx, corrupted_answers_idx: lists written as text |
| sva | group, plural; the verbs come from a second file |

Published formats: Hanna et al. 2024, arXiv:2403.17806.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from eapgp.errors import FormatError
from eapgp.prompts.pairs import Answer, PromptPair

Row = Mapping[str, str]
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
    """A kind of file: its task, default metric, the columns it needs, and how to read a row."""

    name: str
    task: str
    metric: str
    columns: tuple[str, ...]
    read: Callable[[Row], tuple[tuple[Answer, ...], tuple[Answer, ...]]]

    def pair(self, row: Row) -> PromptPair:
        """The pair of one row. Errors: BadCell."""
        for column in ("clean", "corrupted"):
            if not row[column].strip():
                raise BadCell(column, "a prompt was expected, the cell is empty. Fill it in or remove the row")
        correct, incorrect = self.read(row)
        return PromptPair(row["clean"], row["corrupted"], correct, incorrect, row.get("note") or row.get("group") or "")


def layout_of(columns: Sequence[str], rows: Sequence[Row], verbs: Verbs | None) -> Layout | None:
    """The layout that these columns belong to, or None."""
    have = set(columns)
    if not {"clean", "corrupted"} <= have:
        return None
    for layout in (_published(verbs)["ioi"], *_own(rows), *_published(verbs).values()):
        if set(layout.columns) <= have:
            return layout
    return None


def is_sva(columns: Sequence[str]) -> bool:
    """Whether the file needs the list of verbs beside it."""
    return {"clean", "corrupted", "group", "plural"} <= set(columns)


def _own(rows: Sequence[Row]) -> tuple[Layout, ...]:
    def texts(row: Row) -> tuple[tuple[Answer, ...], tuple[Answer, ...]]:
        return _answers(row, "correct", as_ids), _answers(row, "incorrect", as_ids)

    as_ids = _holds_ids(rows)
    return (
        Layout("pairs", "custom", "logit-diff", ("correct", "incorrect"), texts),
        Layout("pairs", "custom", "logit-diff", ("correct_idx", "incorrect_idx"), _columns("correct", "incorrect")),
    )


def _published(verbs: Verbs | None) -> dict[str, Layout]:
    def sva(row: Row) -> tuple[tuple[Answer, ...], tuple[Answer, ...]]:
        if verbs is None:
            raise FormatError(
                "a subject–verb agreement file needs its verbs: expected sva_verbs.csv (columns sing, plur) next to "
                "it, found none. Put that file in the same folder; where files are uploaded, choose both at once."
            )
        if row["plural"] not in ("0", "1"):
            raise BadCell("plural", f"0 or 1 was expected, {row['plural']!r} came. Correct the cell")
        number = int(row["plural"])
        return verbs[number], verbs[1 - number]

    layouts = (
        Layout(
            "ioi",
            "ioi",
            "logit-diff",
            ("corrupted_hard", "correct_idx", "incorrect_idx"),
            _columns("correct", "incorrect"),
        ),
        Layout(
            "gender-bias",
            "gender-bias",
            "logit-diff",
            ("clean_answer_idx", "corrupted_answer_idx"),
            _columns("clean_answer", "corrupted_answer"),
        ),
        Layout(
            "country-capital",
            "country-capital",
            "logit-diff",
            ("country_idx", "corrupted_country_idx"),
            _columns("country", "corrupted_country"),
        ),
        Layout(
            "hypernymy",
            "hypernymy",
            "prob-diff",
            ("answers_idx", "corrupted_answers_idx"),
            lambda row: (_id_list(row, "answers_idx"), _id_list(row, "corrupted_answers_idx")),
        ),
        Layout("sva", "sva", "prob-diff", ("group", "plural"), sva),
        Layout("greater-than", "greater-than", "prob-diff", ("correct_idx",), _years),
    )
    return {layout.name: layout for layout in layouts}


def split_answers(cell: str) -> list[tuple[str, bool]]:
    """Answers separated by `|`, and whether each was written with a backslash (then it is a text)."""
    pieces = []
    for match in _PIECE.finditer(cell):
        raw = match.group(1)
        pieces.append((re.sub(r"\\(.)", r"\1", raw, flags=re.DOTALL), "\\" in raw))
        if match.group(2) == "":
            break
    return pieces


def join_answers(answers: Sequence[str]) -> str:
    """The reverse of `split_answers`: `|` and backslashes are escaped, and digits that would read as an id."""
    return "|".join(_escape(answer) for answer in answers)


def _escape(answer: str) -> str:
    escaped = answer.replace("\\", "\\\\").replace("|", "\\|")
    return "\\" + escaped if answer.isascii() and answer.isdigit() and len(answer) != 2 else escaped


def _holds_ids(rows: Sequence[Row]) -> bool:
    """Whether the columns correct and incorrect hold token ids.

    They do if every answer is a bare number, unless all have exactly two digits: those are
    the years of greater-than, which are texts.
    """
    pieces = [p for row in rows for c in ("correct", "incorrect") for p in split_answers(row.get(c) or "")]
    bare = all(text.isascii() and text.isdigit() and not escaped for text, escaped in pieces)
    return bool(pieces) and bare and not all(len(text) == 2 for text, _ in pieces)


def _answers(row: Row, column: str, as_ids: bool) -> tuple[Answer, ...]:
    texts = [text for text, _ in split_answers(row[column])]
    if not all(text.strip() for text in texts):
        raise BadCell(
            column, "an answer was expected, it is empty. Write a text or a token id; several are separated by |"
        )
    return tuple(int(text) for text in texts) if as_ids else tuple(texts)


def _columns(correct: str, incorrect: str) -> Callable[[Row], tuple[tuple[Answer, ...], tuple[Answer, ...]]]:
    """Reader of two columns of token ids, named with `_idx`."""
    return lambda row: (_ids(row, f"{correct}_idx"), _ids(row, f"{incorrect}_idx"))


def _ids(row: Row, column: str) -> tuple[int, ...]:
    texts = [piece.strip() for piece in row[column].split("|")]
    if not all(text.isascii() and text.isdigit() for text in texts):
        raise BadCell(
            column, f"a token id was expected, {_short(row[column])} came. Write whole numbers; several separated by |"
        )
    return tuple(int(text) for text in texts)


def _id_list(row: Row, column: str) -> tuple[int, ...]:
    text = row[column].strip()
    if not _ID_LIST.fullmatch(text):  # a pattern, not an evaluation: the file may be anybody's
        raise BadCell(
            column, f"a list of token ids such as [16840, 23685] was expected, {_short(text)} came. Correct the cell"
        )
    return tuple(int(number) for number in re.findall(r"\d+", text))


def _years(row: Row) -> tuple[tuple[str, ...], tuple[str, ...]]:
    text = row["correct_idx"].strip()
    if not re.fullmatch(r"\d{1,2}", text, re.ASCII) or int(text) > 98:
        raise BadCell(
            "correct_idx",
            f"the two digits of the start year (0 to 98) were expected, {_short(text)} came. "
            "If these are token ids, add a column incorrect_idx",
        )
    start = int(text)
    years = tuple(f"{year:02d}" for year in range(100))
    return years[start + 1 :], years[: start + 1]


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "…")
