"""Which column of a file is which: spellings, other names that libraries and people use, and naming by hand.

Capitals, spaces, hyphens and underscores do not count: `Wrong answers`, `wrongAnswers` and `wrong_answers` are one
name; so are `answer` and `answers`. A column with the project's own name comes first; where two columns bear other
names of the same, the file does not say which is meant, and a person has to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from eapgp.errors import HeaderError, OptionError

NAMES = ("clean", "corrupted", "correct", "incorrect", "correct_idx", "incorrect_idx")
"""The columns that can be named by hand; the last two hold token ids."""

ALIASES: dict[str, dict[str, str]] = {  # other name: who writes it
    "clean": {
        "clean_prompt": "TransformerLens notebooks",
        "prompt": "MIB, most benchmarks and chat data",
        "original": "data sets of counterfactuals",
        "original_prompt": "the same",
        "base": "data sets for interchange interventions",
        "clean_text": "notebooks",
        "clean_input": "notebooks",
    },
    "corrupted": {
        "corrupt": "auto-circuit",
        "corrupted_prompt": "TransformerLens notebooks",
        "corrupt_prompt": "the same",
        "counterfactual": "MIB and data sets of counterfactuals",
        "counterfactual_prompt": "the same",
        "cf_prompt": "the same, shortened",
        "corrupted_text": "notebooks",
        "corrupted_input": "notebooks",
    },
    "correct": {
        "answer": "auto-circuit, question-answer data",
        "correct_answer": "multiple-choice data",
        "clean_answer": "data sets of counterfactuals",
        "target": "machine-learning tables",
        "right_answer": "people",
        "expected": "tests of language models",
    },
    "incorrect": {
        "wrong": "people",
        "wrong_answer": "auto-circuit",
        "incorrect_answer": "multiple-choice data",
        "distractor": "multiple-choice data",
        "corrupted_answer": "data sets of counterfactuals",
        "corrupt_answer": "the same",
        "counterfactual_answer": "the same",
        "foil": "contrastive explanation",
    },
    "correct_idx": {
        "correct_id": "notebooks",
        "correct_token_id": "notebooks",
        "answer_idx": "the published files, one answer",
        "answer_id": "notebooks",
        "target_id": "notebooks",
        "target_idx": "notebooks",
    },
    "incorrect_idx": {
        "incorrect_id": "notebooks",
        "incorrect_token_id": "notebooks",
        "wrong_idx": "notebooks",
        "wrong_id": "notebooks",
        "distractor_id": "notebooks",
    },
}
LABEL = "label"  # the right answer where wrong ones stand beside it; alone it is EAP-IG's start year

_SILENT = re.compile(r"[\W_]+")
_BY_HAND = re.compile(rf"(?:^|,)\s*({'|'.join(sorted(NAMES, key=len, reverse=True))})\s*=")


def spelled(name: str) -> str:
    """A name without what does not count; parts that a dot separates stay apart."""
    return ".".join(_SILENT.sub("", part) for part in name.casefold().split("."))


def name_columns(
    columns: Sequence[str], own: Iterable[str], by_hand: Mapping[str, str] | None, source: str
) -> dict[str, str]:
    """Which of a file's columns bears each name: {name: the file's column}.

    own: the names that layouts use. by_hand: {name: the file's column}, which goes before all else.
    Errors: HeaderError where a name is borne twice; OptionError where by_hand names what is not there.
    """
    named = _named_by_hand(columns, by_hand or {}, source)
    rest = [column for column in columns if column not in named.values()]
    spellings: dict[str, list[str]] = {}
    for column in rest:
        spellings.setdefault(spelled(column), []).append(column)
    for name in own:
        if name not in named and (bearers := spellings.get(spelled(name))):
            if len(bearers) > 1:
                raise HeaderError(
                    f"{source}: column {name} occurs twice in the header ({' and '.join(map(repr, bearers))}). "
                    "Rename or remove one."
                )
            named[name] = bearers[0]
    return named


def add_aliases(named: Mapping[str, str], columns: Sequence[str], source: str) -> dict[str, str]:
    """The same with the columns that bear other names. Errors: HeaderError where two are other names of one."""
    named = dict(named)
    spellings: dict[str, list[str]] = {}
    for column in columns:
        spellings.setdefault(spelled(column), []).append(column)
    for name, others in ALIASES.items():
        bearers = [column for other in others for column in spellings.get(spelled(other), ())]
        bearers += [column for other in others for column in spellings.get(f"{spelled(other)}s", ())]
        taken = {named[one] for one in NAMES if one in named}  # a layout's own name may be another name of these
        free = [column for column in bearers if column not in taken]
        if name in named or not free:
            continue
        if len(free) > 1:
            raise HeaderError(
                f"{source}: {' and '.join(map(repr, free))} can both be the column {name}. "
                f"Say which: --columns {name}={free[0]} (in the dashboard: Columns)."
            )
        named[name] = free[0]
    if "correct" not in named and "incorrect" in named and LABEL in spellings:
        named["correct"] = spellings[LABEL][0]
    return named


def _named_by_hand(columns: Sequence[str], by_hand: Mapping[str, str], source: str) -> dict[str, str]:
    named: dict[str, str] = {}
    for name, column in by_hand.items():
        if name not in NAMES:
            raise OptionError(f"columns: expected names among {', '.join(NAMES)}, got {name!r}.")
        alike = [one for one in columns if one == column] or [one for one in columns if spelled(one) == spelled(column)]
        if len(alike) != 1:
            listed = ", ".join(map(repr, columns[:20])) or "no columns"
            raise OptionError(f"{source}: columns {name}={column}: expected one of its columns, {listed}. Name one.")
        named[name] = alike[0]
    return named


def write_by_hand(named: Mapping[str, str]) -> str:
    """The reverse of `read_by_hand`."""
    return ",".join(f"{name}={column}" for name, column in named.items())


def read_by_hand(texts: Sequence[str] | None) -> dict[str, str] | None:
    """`clean=prompt,corrupted=Other text` as {name: column}; None where nothing is said. Errors: OptionError."""
    named: dict[str, str] = {}
    for text in texts or ():
        matches = list(_BY_HAND.finditer(text))
        if not matches or text[: matches[0].start()].strip():
            raise OptionError(f"columns: expected NAME=COLUMN,… with names among {', '.join(NAMES)}, got {text!r}.")
        ends = [*(match.start() for match in matches[1:]), len(text)]
        for match, end in zip(matches, ends, strict=True):
            column = text[match.end() : end].strip()
            if not column or match.group(1) in named:
                raise OptionError(f"columns: expected one column for {match.group(1)}, got {text!r}.")
            named[match.group(1)] = column
    return named or None
