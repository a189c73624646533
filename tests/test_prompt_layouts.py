"""Prompt files as spreadsheets, notebooks and other libraries write them: each kind gives the same pairs."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eapgp.errors import FormatError, HeaderError, OptionError
from eapgp.metrics import METRICS
from eapgp.prompts import PromptPair, PromptSet, parse_prompts, read_prompts, write_prompts
from eapgp.prompts.aliases import ALIASES, read_by_hand, write_by_hand
from eapgp.prompts.files import preview_prompts
from eapgp.prompts.prompting import needed_sides
from eapgp.sheet import bad_quote, decode, delimited, number

PAIRS = (
    PromptPair("The cat, black; saw", "The dog, black; saw", (" it", " them"), (" us",)),
    PromptPair('He said "no" to', "She said yes to", (" her",), (" him", " me")),
    PromptPair("Two lines\nin a cell", "Two rows\nin a cell", (" x",), (" y",)),
)
FRAME = pandas.DataFrame(
    [(p.clean, p.corrupted, "|".join(p.correct), "|".join(p.incorrect)) for p in PAIRS],
    columns=["clean", "corrupted", "correct", "incorrect"],
)
RECORDS = [
    {"clean": p.clean, "corrupted": p.corrupted, "correct": [*p.correct], "incorrect": [*p.incorrect]} for p in PAIRS
]
LISTS = pandas.DataFrame(RECORDS)


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# -- spreadsheets --------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_every_mark_encoding_and_line_end(tmp_path: Path, mark: str, encoding: str, ends: str) -> None:
    text = FRAME.to_csv(index=False, sep=mark, lineterminator=ends)
    assert read_prompts(written(tmp_path / "p.csv", text.encode(encoding))).pairs == PAIRS


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;", "\ufeffsep=;", "sep=;;;;"])
def test_a_line_that_names_the_mark(tmp_path: Path, line: str) -> None:
    text = FRAME.rename(columns={"clean": "Clean, as typed"}).to_csv(index=False, sep=";")
    text = text.replace("Clean, as typed", "Clean")
    assert read_prompts(written(tmp_path / "p.csv", f"{line}\r\n{text}")).pairs == PAIRS


def test_what_pandas_and_spreadsheets_leave_behind(tmp_path: Path) -> None:
    shuffled = FRAME.set_axis([7, 2, 30])
    for text in (
        FRAME.to_csv(),  # an index without a name
        shuffled.to_csv(sep=";"),
        pandas.read_csv(written(tmp_path / "i.csv", FRAME.to_csv())).to_csv(),  # written twice: "Unnamed: 0"
        FRAME.assign(**{"": "", " ": ""}).to_csv(index=False),
        "\n;;;\n" + FRAME.to_csv(index=False, sep=";") + ";;;\n\n",
    ):
        assert read_prompts(written(tmp_path / "p.csv", text)).pairs == PAIRS, text
    with pytest.raises(FormatError, match="column clean occurs twice"):
        parse_prompts("Clean,clean,corrupted,correct,incorrect\na,b,c,d,e\n")


def test_lists_in_cells_as_pandas_and_numpy_write_them() -> None:
    for one in (list, np.array):
        table = LISTS.assign(correct=LISTS.correct.map(one), incorrect=LISTS.incorrect.map(one))
        assert parse_prompts(table.to_csv(index=False)).pairs == PAIRS, one
    ids = pandas.DataFrame({"clean": ["a"], "corrupted": ["b"], "correct_idx": [[5, 6]], "incorrect_idx": [7.0]})
    assert parse_prompts(ids.to_csv(index=False)).pairs == (PromptPair("a", "b", (5, 6), (7,)),)
    hostile = "clean,corrupted,correct,incorrect\na,b,\"[__import__('os').getcwd()]\", y\n"
    assert parse_prompts(hostile).pairs[0].correct == ("[__import__('os').getcwd()]",)


# -- JSON ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(RECORDS),
        json.dumps({"prompts": RECORDS, "seed": 1}),
        json.dumps({"meta": {"by": "x"}, "data": RECORDS}),
        json.dumps({key: [row[key] for row in RECORDS] for key in RECORDS[0]}),
        *(LISTS.to_json(orient=orient) for orient in ("columns", "index", "split", "table", "records")),
        LISTS.to_json(orient="records", lines=True),
        "\n\n".join(json.dumps(row) for row in RECORDS) + "\n",
        "\ufeff" + json.dumps(RECORDS, indent=2),
    ],
)
def test_every_shape_of_json(tmp_path: Path, text: str) -> None:
    assert read_prompts(written(tmp_path / "p.json", text)).pairs == PAIRS


def test_one_object_is_one_pair_and_broken_lines_are_named() -> None:
    assert parse_prompts(json.dumps(RECORDS[0])).pairs == PAIRS[:1]
    lines = [json.dumps(row) for row in RECORDS]
    with pytest.raises(FormatError, match="line 2, character 12 is not valid JSON"):
        parse_prompts("\n".join([lines[0], '{"clean":  a}', lines[2]]))
    with pytest.raises(FormatError, match=r"not valid \(line 1, character 2"):
        parse_prompts("{'clean': 'a'}")
    assert len(parse_prompts("\n".join([*lines, "{broken"]), limit=3)) == 3
    with pytest.raises(FormatError, match="not valid"):
        parse_prompts('[{"clean": ' + "9" * 5000 + "}]")


# -- names of columns ----------------------------------------------------------------------------


def test_other_names_of_the_columns() -> None:
    for clean in ("Clean", "PROMPT", "clean-prompt", "Clean Prompt", "cleanPrompt", "base"):
        for incorrect in ("Wrong answers", "wrongAnswer", "DISTRACTORS", "incorrect"):
            text = f"{clean},Corrupt,Answer,{incorrect}\na,b, x, y\n"
            assert parse_prompts(text).pairs == (PromptPair("a", "b", (" x",), (" y",)),), text
    assert parse_prompts("prompt,counterfactual,label,foil\na,b, x, y\n").pairs[0].correct == (" x",)
    assert parse_prompts("prompt,counterfactual,answer_id,wrong_id\na,b,8,7\n").pairs[0].correct == (8,)
    with pytest.raises(
        FormatError, match=r"'answer' and 'target' can both be the column correct.*--columns correct=ans"
    ):
        parse_prompts("clean,corrupted,answer,target,wrong\na,b, x, z, y\n")


def test_the_documentation_lists_every_name_and_metric() -> None:
    text = (Path(__file__).parents[1] / "docs" / "prompts.md").read_text(encoding="utf-8")
    rows = {
        match[1]: re.findall(r"`(\w+)`", match[2]) for match in re.finditer(r"^\| `([\w-]+)` \| (.*) \|$", text, re.M)
    }
    for name, others in ALIASES.items():
        assert set(rows[name]) - {"label"} == set(others), name
    for name, metric in METRICS.items():
        needs = {2: "both", 1: "correct", 0: "none"}[len(needed_sides(name))]
        assert f"| `{name}` | {metric.formula} | {needs} |" in text


def test_naming_by_hand(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "Question;Twin, edited;Reply;No\na;b; x; y\n")
    with pytest.raises(HeaderError, match=r"found Question, Twin, edited, Reply, No.*--columns clean=Question"):
        read_prompts(path)
    by_hand = read_by_hand(["clean=Question,corrupted=Twin, edited", "correct = Reply,incorrect=no"])
    read = read_prompts(path, columns=by_hand)
    assert read.pairs == (PromptPair("a", "b", (" x",), (" y",)),)
    assert read.origin["columns"] == by_hand
    assert read_by_hand([write_by_hand(by_hand or {})]) == by_hand
    preview = preview_prompts(path)
    assert preview.columns == ("Question", "Twin, edited", "Reply", "No") and preview.named == {}
    swapped = parse_prompts(
        "clean,corrupted,correct,incorrect\na,b, x, y\n", columns={"clean": "corrupted", "corrupted": "clean"}
    )
    assert swapped.pairs == (PromptPair("b", "a", (" x",), (" y",)),)
    for texts, expected in (
        (["clean"], "expected NAME=COLUMN"),
        (["clean="], "expected one column for clean"),
        (["prompt=x"], "with names among clean"),
        (["clean=a", "clean=b"], "expected one column for clean"),
    ):
        with pytest.raises(OptionError, match=expected):
            read_by_hand(texts)
    with pytest.raises(OptionError, match="clean=Questio: expected one of its columns, 'Question'"):
        read_prompts(path, columns={"clean": "Questio"})


# -- other libraries -----------------------------------------------------------------------------

IOI = {
    "prompt": "When Ann and Bob met, Bob thanked",
    "template": "When {a} and {b} met",
    "metadata": {"indirect_object": "Ann", "subject": "Bob"},
    "choices": ["Bob", "Ann"],
    "answerKey": 1,
    "abc_counterfactual": {"prompt": "When Cid and Dan met, Eve thanked", "choices": ["Cid", "Dan"], "answerKey": 0},
    "s2_io_flip_counterfactual": {
        "prompt": "When Ann and Bob met, Ann thanked",
        "choices": ["Bob", "Ann"],
        "answerKey": 0,
    },
}
CHOICE = {
    "prompt": "A. red B. blue. The sky is",
    "choices": {"label": [" A", " B"], "text": ["red", "blue"]},
    "answerKey": 1,
    "symbol_counterfactual": {
        "prompt": "X. red Y. blue. The sky is",
        "choices": {"label": [" X", " Y"], "text": ["red", "blue"]},
        "answerKey": 1,
    },
}
SUM = {"prompt": "12 + 5 =", "label": 17, "operator": "+", "random_counterfactual": {"prompt": "12 + 9 =", "label": 21}}


@pytest.mark.parametrize("lines", [True, False])
def test_data_sets_of_mib(lines: bool) -> None:
    def read(*rows: dict) -> PromptSet:
        return parse_prompts("\n".join(map(json.dumps, rows)) if lines else json.dumps({"data": rows}))

    ioi = read(IOI, IOI)
    assert ioi.pairs[0] == PromptPair(IOI["prompt"], "When Ann and Bob met, Ann thanked", (" Ann",), (" Bob",))
    assert (ioi.task, ioi.metric, ioi.origin["format"]) == ("custom", "logit-diff", "mib")
    assert "those of s2_io_flip_counterfactual; of abc_counterfactual" in str(ioi.origin["remarks"])
    assert read(CHOICE).pairs[0] == PromptPair(CHOICE["prompt"], "X. red Y. blue. The sky is", (" B",), (" Y",))
    assert read(SUM).pairs[0] == PromptPair("12 + 5 =", "12 + 9 =", ("17",), ("21",))
    by_hand = {"corrupted": "abc_counterfactual.prompt"}
    other = parse_prompts(json.dumps([IOI]), columns=by_hand)
    assert other.pairs[0].corrupted.startswith("When Cid") and other.pairs[0].correct == (" Ann",)
    assert "remarks" not in other.origin
    subject = parse_prompts(json.dumps([IOI]), columns={**by_hand, "correct": "metadata.subject"}).pairs[0]
    assert (subject.correct, subject.incorrect) == (("Bob",), ())


def test_mib_tables_and_years() -> None:
    flat = pandas.json_normalize([IOI, IOI])
    assert parse_prompts(flat.to_csv()).pairs[1].correct == (" Ann",)
    years = parse_prompts("clean,corrupted,year\nFrom 1352 to 13,From 1301 to 13,1352\n")
    assert years.task == "greater-than" and years.pairs[0].correct[0] == "53"
    with pytest.raises(FormatError, match="row 1, column year: a year of four digits"):
        parse_prompts("clean,corrupted,year\na,b,52\n")
    with pytest.raises(FormatError, match="column answerKey: the position of one of 2 choices was expected, '2' came"):
        parse_prompts(json.dumps([{**IOI, "answerKey": 2}]))


# -- fewer answers -------------------------------------------------------------------------------


def test_pairs_without_incorrect_answers(tmp_path: Path) -> None:
    one = parse_prompts("clean,corrupted,answer,foils2\na,b, x, y\n")
    assert one.pairs[0].incorrect == () and one.metric == "log-prob"
    assert "'foils2' not used" in str(one.origin["remarks"])
    bare = parse_prompts("clean,corrupted\na,b\n")
    assert bare.pairs == (PromptPair("a", "b", (), ()),) and bare.metric == "kl"
    with pytest.raises(HeaderError, match="correct, incorrect is missing"):
        parse_prompts("clean,corrupted,reply\na,b,c\n")
    for prompts in (one, bare):
        write_prompts(prompts, tmp_path / "p.csv")
        back = read_prompts(tmp_path / "p.csv")
        assert (back.pairs, back.metric) == (prompts.pairs, prompts.metric)


# -- what is said about bad ones -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            'clean,corrupted,correct,incorrect\na,b,c,d\na,b,"c"x,d\n',
            "row 2 .*line 3, column correct, character 8: 'x' follows",
        ),
        (
            'clean,corrupted,correct,incorrect\na,"b\nc,d,e,f\n',
            "row 1 .*line 2, column corrupted, character 3: .*never closed",
        ),
        (
            "clean,corrupted,correct,incorrect\na,caf\xe9,c,d\n".encode("latin-1"),
            r"line 2, column corrupted, character 6",
        ),
        ("clean,corrupted,correct_idx,incorrect_idx\na,b,12x4,7\n", r"row 1, column correct_idx.*character 3 is 'x'"),
        ("clean,corrupted,correct_idx,incorrect_idx\na,b, Mary,7\n", "row 1, column correct_idx: a token id"),
        ("Prompt,Corrupt,Answer,Wrong\na,b,,d\n", "row 1, column Answer: an answer was expected"),
    ],
)
def test_messages_name_row_column_and_character(tmp_path: Path, content: str | bytes, expected: str) -> None:
    with pytest.raises(FormatError, match=expected) as raised:
        read_prompts(written(tmp_path / "bad.csv", content))
    assert "\n" not in str(raised.value) and str(raised.value).startswith("bad.csv: ")


def test_digits_in_text_columns_are_texts_wherever_they_come_from() -> None:
    for text in (
        '[{"clean": "a", "corrupted": "b", "correct": 8, "incorrect": [7]}]',
        "clean,corrupted,correct,incorrect\na,b,8,7\n",
    ):
        assert parse_prompts(text).pairs[0] == PromptPair("a", "b", ("8",), ("7",))


def test_hostile_tables_stay_cheap() -> None:
    deep = '{"clean": ' * 900 + "1" + "}" * 900
    wide = json.dumps([{f"c{i}": 1 for i in range(20_000)}])
    header = ",".join(f"c{i}" for i in range(300_000)) + "\n"
    start = time.perf_counter()
    for text in (deep, wide, "[" * 5000, header, "clean," + "," * 300_000 + "\n"):
        with pytest.raises(FormatError):
            parse_prompts(text)
    assert time.perf_counter() - start < 5
    spreadsheet = "clean,corrupted,correct,incorrect" + "," * 16_380 + "\na,b, x, y" + "," * 16_380 + "\n"
    assert parse_prompts(spreadsheet).pairs == (PromptPair("a", "b", (" x",), (" y",)),)


# -- the parts -----------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(lambda text: bool(text.strip()))
ANSWERS = st.lists(TEXT, min_size=1, max_size=3).map(tuple)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.builds(PromptPair, TEXT, TEXT, ANSWERS, ANSWERS), min_size=1, max_size=4))
def test_whatever_is_written_comes_back(tmp_path_factory: pytest.TempPathFactory, pairs: list[PromptPair]) -> None:
    path = tmp_path_factory.mktemp("p") / "p.csv"
    prompts = PromptSet("custom", tuple(pairs), "logit-diff")
    write_prompts(prompts, path)
    assert read_prompts(path).pairs == prompts.pairs


def test_numbers_and_quotes() -> None:
    assert number(" 0,5 ", decimal_comma=True) == 0.5 == number("0.5", decimal_comma=True)
    assert number("\u22121,2E-05", decimal_comma=True) == -1.2e-05 and number(" ", decimal_comma=False) is None
    with pytest.raises(ValueError):
        number("1.234,5", decimal_comma=True)
    assert bad_quote(delimited('a,b\n"x ""y"" z",2\n')) is None
    assert decode("\ufeffa".encode("utf-16-le"), "x") == "a"


def test_data_sets_of_mib_as_tables_with_objects_in_their_cells() -> None:
    arrays = {**IOI, "choices": np.array(IOI["choices"], dtype=object)}
    arrays["s2_io_flip_counterfactual"] = {**IOI["s2_io_flip_counterfactual"], "choices": arrays["choices"]}
    for row in (IOI, arrays):
        pair = parse_prompts(pandas.DataFrame([row, row]).to_csv(index=False)).pairs[1]
        assert pair == PromptPair(IOI["prompt"], "When Ann and Bob met, Ann thanked", (" Ann",), (" Bob",))
    hostile = "clean,corrupted,correct,incorrect\n\"{'a': __import__('os').getcwd()}\",b, x, y\n"
    assert parse_prompts(hostile).pairs[0].clean == "{'a': __import__('os').getcwd()}"
    deep = "clean,corrupted,correct,incorrect\n\"{'a': " + "[" * 5000 + "]" * 5000 + '}",b, x, y\n'
    assert parse_prompts(deep).pairs[0].corrupted == "b"


@pytest.mark.parametrize(
    "others",
    [
        {"counterfactuals": [{"prompt": "P2", "choices": ["Bob", "Ann"], "answerKey": 0}]},
        {"counterfactuals": {"flip": {"prompt": "P2"}, "other": {"prompt": "P3"}}},
        {"counterfactuals": ["P2"]},
        {"counterfactual": "P2"},
        {"counterfactual": {"prompt": "P2"}},
    ],
)
def test_counterfactuals_however_they_are_nested(others: dict) -> None:
    pair = parse_prompts(json.dumps({"prompt": "P1", "choices": ["Bob", "Ann"], "answerKey": 1, **others})).pairs[0]
    assert pair == PromptPair("P1", "P2", (" Ann",), (" Bob",))


def test_a_start_year_is_read_as_number_and_as_text() -> None:
    for label in (52, "52"):
        years = parse_prompts(json.dumps([{"clean": "a", "corrupted": "b", "label": label}]))
        assert years.task == "greater-than" and years.pairs[0].correct[0] == "53"
