"""Prompt files: the project's CSV, the six published formats, and what is said about bad ones."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from eapgp.errors import FormatError, OptionError, PromptError
from eapgp.prompts import PromptPair, PromptSet, TokenizerOnly, encode, parse_prompts, read_prompts, write_prompts
from eapgp.prompts.columns import join_answers, split_answers
from eapgp.tasks import TASKS, make_prompts

HEADER = "clean,corrupted,correct,incorrect\n"
ROW = "A b,A c, x, y\n"

PUBLISHED = {  # file: rows, default metric, and the answers of the first row as GPT-2 decodes them
    "ioi": (1000, "logit-diff", [" Amy"], [" Laura"]),
    "greater-than": (1000, "prob-diff", [f"{y:02d}" for y in range(53, 100)], [f"{y:02d}" for y in range(53)]),
    "gender-bias": (986, "logit-diff", [" she"], [" he"]),
    "country-capital": (190, "logit-diff", [" Afghanistan"], [" United"]),
    "hypernymy": (198, "prob-diff", [" gem", " gems"], [" elected", " politicians"]),
}


@pytest.fixture(scope="module")
def gpt2(shared: Path):
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    folder = shared / "data" / "gpt2-tokenizer"
    raw = Tokenizer(BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<|endoftext|>", unk_token="<|endoftext|>")


@pytest.mark.parametrize("task", PUBLISHED)
def test_published_files(task, shared, gpt2):
    path = shared / "data" / "six-tasks" / f"{task}.csv"
    prompts = read_prompts(path)
    rows, metric, correct, incorrect = PUBLISHED[task]
    assert (prompts.task, prompts.metric, len(prompts)) == (task, metric, rows)
    encoded = encode(prompts, TokenizerOnly(gpt2))
    assert [gpt2.decode([i]) for i in encoded.correct[0]] == correct
    assert [gpt2.decode([i]) for i in encoded.incorrect[0]] == incorrect
    with path.open(encoding="utf-8", newline="") as file:
        assert [(r["clean"], r["corrupted"]) for r in csv.DictReader(file)] == [(p.clean, p.corrupted) for p in prompts]
    assert prompts.origin["format"] == task and prompts.origin["name"] == path.name


def test_published_answers_agree_with_the_texts(shared, gpt2):
    folder = shared / "data" / "six-tasks"
    for pair, years in zip(read_prompts(folder / "greater-than.csv"), range(1000), strict=True):
        assert int(pair.incorrect[-1]) == int(pair.clean.split("year ")[1][2:4]), years
    for pair in read_prompts(folder / "ioi.csv"):
        assert gpt2.decode([pair.correct[0]]) in pair.clean and gpt2.decode([pair.incorrect[0]]) in pair.clean
    with (folder / "country-capital.csv").open(encoding="utf-8", newline="") as file:
        for pair, row in zip(read_prompts(folder / "country-capital.csv"), csv.DictReader(file), strict=True):
            assert f" {row['country']}".startswith(gpt2.decode([pair.correct[0]]))
            assert pair.clean.startswith(" ")
    for pair in read_prompts(folder / "gender-bias.csv"):
        person = pair.corrupted.split()[1]
        assert gpt2.decode([pair.incorrect[0]]) == {"man": " he", "woman": " she"}[person]


def test_published_agreement_file(shared, gpt2):
    path = shared / "data" / "six-tasks" / "sva.csv"
    with pytest.raises(PromptError, match="more than 5,000 pairs"):
        read_prompts(path)
    prompts = read_prompts(path, limit=3000)
    assert (prompts.task, prompts.metric, len(prompts)) == ("sva", "prob-diff", 3000)
    encoded = encode(prompts, TokenizerOnly(gpt2))
    first, second = ({gpt2.decode([i]) for i in encoded.correct[row]} for row in (0, 1))
    assert prompts.pairs[0].clean.split()[1] == "poems" and {" are", " were", " take"} <= first
    assert prompts.pairs[1].clean.split()[1] == "song" and {" is", " was", " takes"} <= second
    assert not first & second
    assert len(encoded.correct[0]) == len(encoded.incorrect[0]) == 935
    assert len(read_prompts(path, limit=12_400)) == 12_400


def test_agreement_file_without_its_verbs(tmp_path):
    path = tmp_path / "agreement.csv"
    path.write_text("clean,corrupted,group,plural\nThe dogs,The dog,simple,1\n", encoding="utf-8")
    with pytest.raises(FormatError, match=r"sva_verbs\.csv"):
        read_prompts(path)
    (tmp_path / "sva_verbs.csv").write_text("sing,plur\nruns,run\nis,are\n", encoding="utf-8")
    pair = read_prompts(path).pairs[0]
    assert pair.correct == (" run", " are") and pair.incorrect == (" runs", " is") and pair.note == "simple"
    path.write_text("clean,corrupted,group,plural\nThe dogs,The dog,simple,2\n", encoding="utf-8")
    with pytest.raises(FormatError, match="row 1, column plural: 0 or 1 was expected, '2' came"):
        read_prompts(path)


def test_stories_file_by_text_and_by_id(shared, tmp_path):
    from transformers import AutoTokenizer

    folder = shared / "data" / "models"
    tokenizer = AutoTokenizer.from_pretrained(str(folder / "stories260K"), local_files_only=True)
    by_text = read_prompts(folder / "stories260K-gender.csv")
    assert len(by_text) == 64 and by_text.metric == "logit-diff" and by_text.pairs[0].correct == ("She",)
    with (folder / "stories260K-gender.csv").open(encoding="utf-8", newline="") as file:
        rows = [{k: v for k, v in r.items() if k not in ("correct", "incorrect")} for r in csv.DictReader(file)]
    by_id = parse_prompts(rows)
    assert by_id.pairs[0].correct == (338,)
    encoded = [encode(prompts, TokenizerOnly(tokenizer)) for prompts in (by_text, by_id)]
    assert encoded[0].correct == encoded[1].correct and encoded[0].incorrect == encoded[1].incorrect


@pytest.mark.parametrize("task", TASKS)
def test_written_prompts_come_back(task, tmp_path):
    prompts = make_prompts(task, 30, seed=8)
    write_prompts(prompts, tmp_path / "p.csv")
    back = read_prompts(tmp_path / "p.csv")
    assert back.pairs == prompts.pairs and back.hash == prompts.hash
    assert (back.task, back.metric) == (prompts.task, prompts.metric)


def test_awkward_texts_come_back(tmp_path):
    pairs = (
        PromptPair('He said, "a|b"\nand', "x\ty;z", (" |", "\\", "7"), (" ,", "123"), "note, with comma"),
        PromptPair("ü", "é", ("52",), (" ß",)),
    )
    for chosen in (pairs, pairs[:1], pairs[1:]):
        write_prompts(PromptSet("custom", chosen, "prob-diff"), tmp_path / "p.csv")
        assert read_prompts(tmp_path / "p.csv").pairs == chosen
    ids = (PromptPair("a", "b", (7, 12), (52,)),)
    write_prompts(PromptSet("custom", ids, "logit-diff"), tmp_path / "p.csv")
    assert read_prompts(tmp_path / "p.csv").pairs == ids
    with pytest.raises(PromptError, match="mix texts and token ids"):
        write_prompts(PromptSet("custom", (PromptPair("a", "b", (7,), (" x",)),), "logit-diff"), tmp_path / "p.csv")


@pytest.mark.parametrize("answers", [("a",), ("a|b", "c"), ("\\", "|"), ("1", "22", "333"), (" x", "\\7")])
def test_answers_split_what_join_joined(answers):
    assert tuple(split_answers(join_answers(answers))) == answers


def test_answers_of_digits_are_texts_and_token_ids_have_their_own_columns():
    for cell, texts in (("338|5", ("338", "5")), ("53|54", ("53", "54")), ("8", ("8",)), ("\\8", ("8",))):
        assert parse_prompts(HEADER + f"a,b,{cell},346\n").pairs[0].correct == texts
    assert parse_prompts("clean,corrupted,correct_idx,incorrect_idx\na,b,338|5,346\n").pairs[0].correct == (338, 5)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_separators_and_byte_order_mark(mark, tmp_path):
    path = tmp_path / "p.csv"
    path.write_bytes(("\ufeff" + (HEADER + ROW).replace(",", mark)).encode())
    assert read_prompts(path).pairs == (PromptPair("A b", "A c", (" x",), (" y",)),)


def test_task_and_limit():
    text = HEADER + ROW * 3
    assert parse_prompts(text).task == "custom" and parse_prompts(text).metric == "logit-diff"
    assert parse_prompts(text, task="ioi").task == "ioi"
    assert len(parse_prompts(text, limit=2)) == 2 and len(parse_prompts(text, limit=9)) == 3
    assert len(parse_prompts(text + "broken\n", limit=3)) == 3
    with pytest.raises(OptionError, match="at least 1; got 0"):
        parse_prompts(text, limit=0)
    with pytest.raises(PromptError, match="more than 5,000"):
        parse_prompts(HEADER + ROW * 5001)
    assert len(parse_prompts(HEADER + ROW * 5000)) == 5000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty; expected a header line"),
        ("  \n \n", "is empty"),
        (HEADER, "holds no pairs"),
        ("clean,corrupted,right\na,b,c\n", r"column correct, incorrect is missing; .*found clean, corrupted, right"),
        ("a,b\nc,d\n", r"column clean, corrupted, correct, incorrect is missing"),
        ("clean,clean,correct,incorrect\n" + ROW, "column clean occurs twice"),
        (HEADER + ROW + "a,b,c\n", r"row 2 has 3 cells, the header has 4 \(clean, corrupted"),
        (HEADER + ROW + ",b, x, y\n", "row 2, column clean: a prompt was expected"),
        (HEADER + "a,b, x,\n", "row 1, column incorrect: an answer was expected"),
        (HEADER + "a,b, x||z, y\n", "row 1, column correct: an answer was expected"),
        (HEADER + 'a,"b"x,c,d\n', "row 1 is not valid CSV"),
        (HEADER + "a\0,b,c,d\n", "holds NUL bytes"),
        (
            "clean,corrupted,correct_idx,incorrect_idx\na,b,1,x\n",
            "column incorrect_idx: a token id was expected, 'x' came",
        ),
        ("clean,corrupted,correct_idx\na,b,14235\n", r"0 to 98.*'14235' came.*add a column incorrect_idx"),
        (
            'clean,corrupted,answers_idx,corrupted_answers_idx\na,b,"[1]","__import__(\'os\')"\n',
            r"column corrupted_answers_idx: a list of token ids such as \[16840, 23685\]",
        ),
    ],
)
def test_bad_texts_are_explained_in_one_line(text, expected, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises((PromptError, FormatError), match=expected) as raised:
        read_prompts(path)
    assert "\n" not in str(raised.value) and str(raised.value).startswith("bad.csv: ")


def test_files_that_cannot_be_read(tmp_path, monkeypatch):
    with pytest.raises(PromptError, match="no such file"):
        read_prompts(tmp_path / "absent.csv")
    with pytest.raises(PromptError, match="is a folder; a CSV file with the columns"):
        read_prompts(tmp_path)
    path = tmp_path / "latin.csv"
    path.write_bytes(HEADER.encode() + "caf\xe9,b,c,d\n".encode("latin-1"))
    with pytest.raises(FormatError, match=r"latin\.csv: UTF-8 text was expected, byte 37 \(0xe9\)"):
        read_prompts(path)
    monkeypatch.setattr("eapgp.prompts.files.MAX_BYTES", 10)
    with pytest.raises(PromptError, match="at most 0 MiB"):
        read_prompts(path)


def test_empty_columns_that_a_spreadsheet_leaves_behind():
    pair = (PromptPair("A b", "A c", (" x",), (" y",)),)
    for text in (
        "clean,corrupted,correct,incorrect,,\nA b,A c, x, y,,\n",
        "clean,corrupted,correct,incorrect,,\nA b,A c, x, y\n",
        "clean,corrupted,correct,incorrect\nA b,A c, x, y,,,\n",
        "clean,,corrupted,,correct,incorrect\nA b,,A c,, x, y\n",
    ):
        assert parse_prompts(text).pairs == pair, text
    with pytest.raises(FormatError, match="row 1 has 5 cells, the header has 4"):
        parse_prompts(HEADER + "A b,A c, x, y,z\n")
    with pytest.raises(FormatError, match=r"column \(unnamed\) occurs twice"):
        parse_prompts("clean,corrupted,correct,incorrect,,\nA b,A c, x, y,1,2\n")


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: {"prompts": rows}, lambda rows: {"pairs": rows}])
def test_pairs_in_json(wrap, tmp_path):
    rows = [
        {"clean": "A b", "corrupted": "A c", "correct": " x|y", "incorrect": [" y", "12"]},
        {"clean": "A b", "corrupted": "A c", "correct": [" x"], "incorrect": 12, "note": "n"},
    ]
    path = tmp_path / "p.json"
    path.write_text(json.dumps(wrap(rows), indent=1), encoding="utf-8")
    read = read_prompts(path)
    assert read.pairs == (
        PromptPair("A b", "A c", (" x|y",), (" y", "12")),
        PromptPair("A b", "A c", (" x",), ("12",), "n"),  # token ids have columns of their own
    )
    assert (read.task, read.metric, read.origin["format"]) == ("custom", "logit-diff", "pairs")
    assert len(read_prompts(path, limit=1)) == 1
    ids = [{"clean": "A b", "corrupted": "A c", "correct_idx": 5, "incorrect_idx": [6, 7]}]
    assert parse_prompts(json.dumps(wrap(ids))).pairs[0].incorrect == (6, 7)


def test_a_large_json_in_one_line_and_what_generate_prints(tmp_path):
    rows = [{"clean": "A b " * 50, "corrupted": "A c", "correct": [" x"], "incorrect": [" y"]}] * 1000
    assert len(json.dumps(rows)) > 131_072  # what csv takes as one cell
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"task": "mine", "metric": "prob-diff", "pairs": rows}), encoding="utf-8")
    read = read_prompts(path)
    assert (read.task, read.metric, len(read)) == ("mine", "prob-diff", 1000)


def test_prompts_as_auto_circuit_and_eap_ig_write_them():
    rows = [{"clean": "A b", "corrupt": "A c", "answers": [" x", " z"], "wrong_answers": [" y"]}]
    read = parse_prompts(json.dumps({"seq_labels": ["A"], "word_idxs": {"IO": 1}, "prompts": rows}), task="ioi")
    assert read.pairs == (PromptPair("A b", "A c", (" x", " z"), (" y",)),)
    assert (read.task, read.origin["format"]) == ("ioi", "auto-circuit")
    years = parse_prompts("clean,corrupted,label\nFrom 1352 to 13,From 1301 to 13,52\n")
    assert (years.task, years.metric, years.origin["format"]) == ("greater-than", "prob-diff", "eap-ig")
    assert years.pairs[0].correct == tuple(f"{year}" for year in range(53, 100))
    with pytest.raises(FormatError, match="row 1, column label: the two digits of the start year"):
        parse_prompts("clean,corrupted,label\na,b,yes\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"prompts": [', "begins like JSON, but is not valid"),
        ("[" * 100_000, "begins like JSON, but is not valid"),
        ('{"lines": 3}', "a list of objects with clean"),
        ("[1, 2]", "a list of objects with clean"),
        ("[]", "holds no pairs"),
        ('[{"clean": "a", "correct": "b"}]', "column corrupted, incorrect is missing"),
        (
            '[{"clean": 5, "corrupted": "a", "correct": "b", "incorrect": "c"}]',
            "row 1, column clean: a prompt was",
        ),
        ('[{"clean": "a", "corrupted": "a", "correct": [], "incorrect": "c"}]', "row 1, column correct: an answer"),
        ('[{"clean": "a", "corrupted": "a", "correct": [""], "incorrect": "c"}]', "row 1, column correct: an answer"),
    ],
)
def test_bad_json_is_explained_in_one_line(text, expected):
    with pytest.raises((PromptError, FormatError), match=expected) as raised:
        parse_prompts(text, name="p.json")
    assert "\n" not in str(raised.value) and str(raised.value).startswith("p.json: ")


def test_rows_that_are_already_split():
    rows = [{"clean": "A b", "corrupted": "A c", "correct": " x", "incorrect": " y"}, {"clean": None}]
    assert parse_prompts(rows).pairs == (PromptPair("A b", "A c", (" x",), (" y",)),)
    with pytest.raises(PromptError, match="holds no pairs"):
        parse_prompts([])
