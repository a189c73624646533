"""How a row of a prompt file becomes a pair: one table of layouts, the first that a file's columns fill is its own.

| format | columns beside clean and corrupted |
|---|---|
| pairs | correct, incorrect (texts) or correct_idx, incorrect_idx (token ids); some metrics need fewer |
| ioi | corrupted_hard, correct_idx, incorrect_idx |
| greater-than | correct_idx: the two-digit start year as an integer |
| gender-bias | clean_answer_idx, corrupted_answer_idx |
| country-capital | country_idx, corrupted_country_idx: first tokens |
| hypernymy | answers_idx, corrupted_answers_idx: lists written as text |
| sva | group, plural; the verbs come from a second file |
| auto-circuit | answers, wrong_answers (texts), and corrupt in place of corrupted |
| eap-ig | label: the two-digit start year of greater-than |
| mib | prompt and …counterfactual.prompt in their place; choices and answerKey, or label; year |

Other names of the columns of pairs: `eapgp.prompts.aliases`. Token ids are read from columns of ids alone: elsewhere
digits are texts. Published formats: Hanna et al. 2024, arXiv:2403.17806; auto-circuit, eap-ig and mib (the data sets
of the MIB circuit track, Mueller et al. 2025, arXiv:2504.13151) are how the libraries of these names write prompts.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from eapgp.errors import FormatError
from eapgp.prompts.pairs import Answer, PromptPair

Cell = str | int | list[str]  # a CSV holds texts; JSON and rows of Python also numbers and lists
Row = Mapping[str, Cell]
Sides = tuple[tuple[Answer, ...], tuple[Answer, ...]]
Verbs = tuple[tuple[str, ...], tuple[str, ...]]  # singular forms, plural forms

TEXT_ANSWERS = ("correct", "incorrect", "answers", "wrong_answers")
"""Columns of texts: in JSON a bare text is one answer, whatever characters it holds."""
OPTIONAL = ("note", "task", "metric")
CUSTOM = "custom"
LARGEST_ID = 2**31 - 1
"""No vocabulary has as many tokens."""
_TEXT = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_TEXT_LIST = re.compile(
    rf"\[\s*{_TEXT}(?:(?:\s*,\s*|\s+){_TEXT})*\s*,?\s*\]", re.DOTALL
)  # as Python and NumPy write it
_ID = re.compile(r"(\d+)(?:\.0+)?", re.ASCII)  # pandas makes 5.0 of 5 where a column has gaps
_ID_LIST = re.compile(r"\[\s*(\d+(?:(?:\s*,\s*|\s+)\d+)*)\s*\]", re.ASCII)
_PIECE = re.compile(r"((?:\\.|[^|\\])*)(\||$)", re.DOTALL)
_COUNTERFACTUAL = re.compile(r"(.*counterfactuals?.*?)\.prompt", re.IGNORECASE)
MIB_USUAL = ("s2_io_flip_counterfactual", "symbol_counterfactual", "random_counterfactual")
"""Whose prompts MIB's circuit track takes for IOI, for multiple choice and for arithmetic."""


class BadCell(Exception):
    """A cell that cannot be read; the caller adds where it stands."""

    def __init__(self, column: str, problem: str) -> None:
        super().__init__(problem)
        self.column = column


@dataclass(frozen=True)
class Layout:
    """A kind of file: its task, default metric, the columns it needs, and how to read a row's answers.

    remark: what was decided for the reader that others might decide otherwise.
    """

    name: str
    task: str
    metric: str
    columns: tuple[str, ...]
    read: Callable[[Row], Sides]
    prompts: tuple[str, str] = ("clean", "corrupted")
    remark: str = ""

    def fits(self, columns: set[str], by_hand: Collection[str]) -> bool:
        """Whether these columns are all that the layout needs, and it reads all that were named by hand."""
        needed = {*self.prompts, *self.columns}
        return needed <= columns and needed >= set(by_hand)

    def pair(self, row: Row) -> PromptPair:
        """The pair of one row. Errors: BadCell."""
        clean, corrupted = (_prompt(row, column) for column in self.prompts)
        correct, incorrect = self.read(row)
        return PromptPair(clean, corrupted, correct, incorrect, str(row.get("note") or row.get("group") or ""))


def layout_of(columns: set[str], by_hand: Collection[str], verbs: Verbs | None) -> Layout | None:
    """The layout whose columns these are, answers of both sides among them; None where they are no layout's."""
    layouts = (*_layouts(verbs), *_mib_layouts(columns))
    return next((layout for layout in layouts if layout.fits(columns, by_hand)), None)


def sparing_layout_of(columns: set[str], by_hand: Collection[str], unnamed: Sequence[str]) -> Layout | None:
    """The layout of a file that names no wrong answers. unnamed: columns that bear no known name.

    Prompts without any answers are taken only where nothing else is there, or where a person named them.
    """
    bare = {"clean", "corrupted"} <= set(by_hand) or not (unnamed or columns - {"clean", "corrupted", *OPTIONAL})
    layouts = _sparing_layouts(unnamed) + ((_BARE,) if bare else ())
    return next((layout for layout in layouts if layout.fits(columns, by_hand)), None)


def is_sva(columns: Iterable[str]) -> bool:
    """Whether the file needs the list of verbs beside it."""
    return {"clean", "corrupted", "group", "plural"} <= set(columns)


def layout_columns() -> tuple[str, ...]:
    """Every name that a column can have for a layout."""
    names = [name for layout in _layouts(None) for name in (*layout.prompts, *layout.columns)]
    return tuple(dict.fromkeys((*names, *_MIB_COLUMNS, *OPTIONAL)))


def _layouts(verbs: Verbs | None) -> tuple[Layout, ...]:
    """Layouts that name all their columns; where a file fills several, the first counts."""
    ids, diff, prob = _id_columns, "logit-diff", "prob-diff"
    genders, countries = ("clean_answer_idx", "corrupted_answer_idx"), ("country_idx", "corrupted_country_idx")
    own_ids, kinds = ("correct_idx", "incorrect_idx"), ("answers_idx", "corrupted_answers_idx")
    own, auto = ("correct", "incorrect"), ("answers", "wrong_answers")
    return (
        Layout("ioi", "ioi", diff, ("corrupted_hard", *own_ids), ids(*own_ids)),
        Layout("auto-circuit", CUSTOM, diff, auto, _text_columns(*auto), prompts=("clean", "corrupt")),
        Layout("pairs", CUSTOM, diff, own, _text_columns(*own)),
        Layout("pairs", CUSTOM, diff, own_ids, ids(*own_ids)),
        Layout("gender-bias", "gender-bias", diff, genders, ids(*genders)),
        Layout("country-capital", "country-capital", diff, countries, ids(*countries)),
        Layout("hypernymy", "hypernymy", prob, kinds, lambda row: (_id_list(row, kinds[0]), _id_list(row, kinds[1]))),
        Layout("sva", "sva", prob, ("group", "plural"), lambda row: _agreement(row, verbs)),
        Layout("greater-than", "greater-than", prob, ("correct_idx",), lambda row: _years(row, "correct_idx")),
    )


def _sparing_layouts(unnamed: Sequence[str]) -> tuple[Layout, ...]:
    """Layouts that go without answers, which another column may hold."""
    unused = [name for name in unnamed if name]
    beside = f" ({', '.join(map(repr, unused[:8]))} not used)" if unused else ""
    remark = f"the file has no column of incorrect answers{beside}; what compares with them cannot be measured."
    return (
        Layout("pairs", CUSTOM, "log-prob", ("correct",), lambda row: (_answers(row, "correct"), ()), remark=remark),
        Layout("eap-ig", "greater-than", "prob-diff", ("label",), lambda row: _years(row, "label")),
        Layout("mib", "greater-than", "prob-diff", ("year",), lambda row: _years(row, "year", century=True)),
    )


_BARE = Layout("pairs", CUSTOM, "kl", (), lambda row: ((), ()), remark="the file has no answers; the metric is kl.")
_MIB_COLUMNS = ("prompt", "choices", "choices.label", "answerKey", "label", "year")


def _mib_layouts(columns: set[str]) -> tuple[Layout, ...]:
    """The data sets of MIB's circuit track, whose corrupted prompts are those of one of several counterfactuals."""
    names = [match.group(1) for match in map(_COUNTERFACTUAL.fullmatch, sorted(columns)) if match]
    if not names and "corrupted" not in columns:
        return ()
    usual = next((name for name in MIB_USUAL if name in names), names[0] if names else "counterfactual")
    remark = ""
    if len(names) > 1 and "corrupted" not in columns:
        rest = ", ".join(name for name in names if name != usual)
        remark = f"corrupted prompts are those of {usual}; of {rest} by --columns corrupted={names[-1]}.prompt."
    clean = "clean" if "clean" in columns else "prompt"
    prompts = (clean, "corrupted" if "corrupted" in columns else f"{usual}.prompt")
    read = (
        (("answerKey", "choices.label", f"{usual}.answerKey", f"{usual}.choices.label"), _labels(usual)),
        (("answerKey", "choices"), _choices),
        (("label", f"{usual}.label"), lambda row: (_answers(row, "label"), _answers(row, f"{usual}.label"))),
    )
    return tuple(Layout("mib", CUSTOM, "logit-diff", needed, how, prompts, remark) for needed, how in read)


def _labels(other: str) -> Callable[[Row], Sides]:
    """The letter of the right choice, and that of the counterfactual's."""
    return lambda row: (
        _choice(row, "choices.label", "answerKey"),
        _choice(row, f"{other}.choices.label", f"{other}.answerKey"),
    )


def _choices(row: Row) -> Sides:
    """The right choice and the others, as words within a sentence: MIB's own code puts the space in front."""
    right = _choice(row, "choices", "answerKey")
    rest = [text for text in _offered(row, "choices") if text not in right]
    return tuple(map(_within_sentence, right)), tuple(map(_within_sentence, rest))  # type: ignore[arg-type]


def _within_sentence(text: str) -> str:
    return text if text[:1].isspace() else f" {text}"


def _offered(row: Row, column: str) -> list[str]:
    cell = row[column]
    return cell if isinstance(cell, list) else _text_list(str(cell)) or [str(cell)]


def _choice(row: Row, choices: str, key: str) -> tuple[str, ...]:
    texts, place = _offered(row, choices), str(row[key]).strip()
    if place in texts:
        return (place,)
    if not place.isdecimal() or int(place) >= len(texts):
        raise BadCell(
            key, f"the position of one of {len(texts)} choices was expected, {_short(place)} came. Correct it"
        )
    return (texts[int(place)],)


def split_answers(cell: str) -> list[str]:
    """Answers separated by `|`; a backslash keeps the character after it as it is."""
    pieces = []
    for match in _PIECE.finditer(cell):
        pieces.append(re.sub(r"\\(.)", r"\1", match.group(1), flags=re.DOTALL))
        if match.group(2) == "":
            break
    return pieces


def join_answers(answers: Sequence[str]) -> str:
    """The reverse of `split_answers`: `|` and backslashes are escaped, and what would be read as a list."""
    joined = "|".join(answer.replace("\\", "\\\\").replace("|", "\\|") for answer in answers)
    return f"\\{joined}" if _TEXT_LIST.fullmatch(joined.strip()) else joined


def _prompt(row: Row, column: str) -> str:
    text = row[column]
    if isinstance(text, list) and len(text) == 1:
        text = text[0]
    if not isinstance(text, str):
        raise BadCell(column, f"a prompt was expected, {_short(text)} came. Write one text")
    if not text.strip():
        raise BadCell(column, "a prompt was expected, the cell is empty. Fill it in or remove the row")
    return text


def _text_columns(correct: str, incorrect: str) -> Callable[[Row], Sides]:
    """Reader of two columns of texts."""
    return lambda row: (_answers(row, correct), _answers(row, incorrect))


def _answers(row: Row, column: str) -> tuple[Answer, ...]:
    cell = row[column]
    if isinstance(cell, str):
        cell = _text_list(cell) or split_answers(cell)
    answers = cell if isinstance(cell, list) else [str(cell)]
    if not answers or not all(answer.strip() for answer in answers):
        raise BadCell(column, "an answer was expected, it is empty. Write a text; several are separated by |")
    return tuple(answers)


def _text_list(cell: str) -> list[str] | None:
    """The texts of a list that a library wrote into a cell, as `[' Mary', ' John']`; None where the cell is none."""
    if not _TEXT_LIST.fullmatch(cell.strip()):
        return None
    try:
        return [str(ast.literal_eval(piece)) for piece in re.findall(_TEXT, cell, re.DOTALL)]  # text by text: no code
    except (ValueError, SyntaxError):
        return None


def _id_columns(correct: str, incorrect: str) -> Callable[[Row], Sides]:
    """Reader of two columns of token ids."""
    return lambda row: (_ids(row, correct), _ids(row, incorrect))


def _ids(row: Row, column: str) -> tuple[int, ...]:
    cell = row[column]
    pieces = cell if isinstance(cell, list) else _pieces(str(cell).strip())
    ids = [_ID.fullmatch(piece.strip()) for piece in pieces]
    if not ids or not all(ids):
        raise BadCell(
            column,
            f"a token id was expected, {_short(cell)} came{_odd_one(pieces)}. "
            "Write whole numbers; several separated by |",
        )
    return _in_range([match[1] for match in ids if match], column)


def _in_range(numbers: Sequence[str], column: str) -> tuple[int, ...]:
    """Token ids. Errors: BadCell for one that no vocabulary can have."""
    for number in numbers:
        digits = number.lstrip("0")
        if len(digits) > len(str(LARGEST_ID)) or int(digits or 0) > LARGEST_ID:
            raise BadCell(
                column, f"a token id of at most {LARGEST_ID:,} was expected, {_short(number)} came. Correct it"
            )
    return tuple(int(number.lstrip("0") or 0) for number in numbers)


def _pieces(text: str) -> list[str]:
    """The numbers of a cell, which a library may have written as a list."""
    in_brackets = _ID_LIST.fullmatch(text)
    return in_brackets[1].replace(",", " ").split() if in_brackets else text.split("|")


def _odd_one(pieces: Sequence[str]) -> str:
    """The first character that belongs to no number, where it is one among many."""
    text = "|".join(pieces)
    place = next((place for place, char in enumerate(text) if char not in "0123456789| "), None)
    return "" if place is None or len(text) < 2 else f" (character {place + 1} is {text[place]!r})"


def _id_list(row: Row, column: str) -> tuple[int, ...]:
    cell = row[column]
    text = str(cell).replace("'", "").strip() if isinstance(cell, list) else str(cell).strip()
    if not _ID_LIST.fullmatch(text):  # a pattern, not an evaluation: the file may be anybody's
        raise BadCell(
            column, f"a list of token ids such as [16840, 23685] was expected, {_short(text)} came. Correct the cell"
        )
    return _in_range(re.findall(r"\d+", text), column)


def _years(row: Row, column: str, *, century: bool = False) -> Sides:
    """All two-digit years after the start year, and the others. century: the year is written with all four digits."""
    cell = row[column]
    text = str(cell[0] if isinstance(cell, list) and len(cell) == 1 else cell).strip()
    digits = r"\d{4}" if century else r"\d{1,2}"
    if not re.fullmatch(digits, text, re.ASCII) or int(text[-2:]) > 98:
        raise BadCell(column, _bad_year(row[column], column, century))
    start = int(text[-2:])
    years = tuple(f"{year:02d}" for year in range(100))
    return years[start + 1 :], years[: start + 1]


def _bad_year(cell: Cell, column: str, century: bool) -> str:
    if century:
        return f"a year of four digits whose last two are 00 to 98 was expected, {_short(cell)} came. Correct the cell"
    other = "If it is the right answer, say so: --columns correct=label"
    if column == "correct_idx":
        other = "If these are token ids, call the column correct_idx and add a column incorrect_idx"
    return f"the two digits of the start year (0 to 98) were expected, {_short(cell)} came. {other}"


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
