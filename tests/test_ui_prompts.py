"""Own prompt pairs in the dashboard: kept, named in settings and links, scored and found again; without a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eapgp.errors import FormatError
from eapgp.prompts.files import parse_prompts
from eapgp.prompts.pairs import PromptPair, PromptSet
from eapgp.ui.library import results
from eapgp.ui.library.own_prompts import PromptStore, safe_name
from eapgp.ui.sidebar import settings

PAIRS = (
    PromptPair('When "Mary" and John, left', "When “Paul” and John | left\nlate", (" Mary", " May|June"), (" John",)),
    PromptPair("<b>bold</b> **stars** \x07 $x$", "=cmd() [link](http://x)", (" 52",), (" \\", " 07")),
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path))
    return tmp_path


def test_a_set_is_kept_once_as_it_is_and_found_again(home: Path) -> None:
    store, mine = PromptStore(home), PromptSet("custom", PAIRS, "prob-diff", {})
    assert store.all() == []
    kept = store.add(mine, name="My pairs / first!")
    assert kept.name == "My-pairs-first" and kept.n_pairs == 2 and kept.path.parent == home / "prompts"
    assert store.add(mine, name="My pairs / first!") == kept and len(store.all()) == 1
    assert store.add(mine, name="second").id != kept.id, "the name is what runs have as their task"
    again = PromptStore(home).get(kept.id)
    assert again == kept
    read = kept.read()
    assert read.pairs == PAIRS and read.metric == "prob-diff" and read.task == kept.name
    assert read.hash == mine.hash, "a run on the kept pairs is the run on the pairs as they came"
    store.remove(kept.id)
    assert store.get(kept.id) is None
    store.restore(kept.id)
    assert store.get(kept.id) == kept
    assert store.get("ioi") is None and store.get("own-" + "0" * 12) is None


def test_token_ids_stay_ids_and_what_a_file_cannot_hold_is_refused(home: Path) -> None:
    store = PromptStore(home)
    ids = PromptSet("ioi", (PromptPair("a", "b", (123, 4), (5,)),), "logit-diff", {})
    assert store.add(ids).read().pairs == ids.pairs
    with pytest.raises(FormatError, match="NUL"):
        store.add(PromptSet("x", (PromptPair("a\0", "b", (" c",), (" d",)),), "logit-diff", {}))
    assert len(store.all()) == 1


@pytest.mark.parametrize(("text", "name"), [("", "own-pairs"), ("../../etc/passwd", "etc-passwd"), ("é ü", "é-ü")])
def test_names_are_safe_for_a_file(text: str, name: str) -> None:
    assert safe_name(text) == name


def test_settings_name_own_pairs_like_a_task_and_give_them_back(home: Path) -> None:
    kept = PromptStore(home).add(PromptSet("custom", PAIRS, "prob-diff", {}), name="mine")
    values = {field.name: field.default for field in settings.FIELDS} | {"task": kept.id, "pairs": 7}
    spec = settings.spec_of(values)
    assert (spec.task, spec.prompts_file, spec.n_pairs, spec.split) == ("mine", str(kept.path), None, "all")
    assert settings.metric_of(values) == "prob-diff"
    back = settings.settings_of(spec, metric="prob-diff", options=dict(spec.options))
    assert back["task"] == kept.id and back["metric"] == "task"
    field = next(field for field in settings.FIELDS if field.name == "task")
    assert field.parse(kept.id) == kept.id and "mine" in settings.prompts_title(kept.id)
    PromptStore(home).remove(kept.id)
    with pytest.raises(ValueError, match="expected one of ioi"):
        field.parse(kept.id)


def test_a_split_is_asked_for_and_comes_back() -> None:
    values = {field.name: field.default for field in settings.FIELDS} | {"split": "test"}
    spec = settings.spec_of(values)
    assert spec.split == "test"
    assert settings.settings_of(spec, metric="logit-diff", options=dict(spec.options))["split"] == "test"


def test_a_run_on_own_pairs_is_found_by_the_settings_and_asked_again_from_its_link(home: Path) -> None:
    from eapgp.runs import RunLibrary, compute_run
    from eapgp.runs.compute import resolve_options
    from eapgp.ui.library.results import Shelf, question_key
    from eapgp.ui.sidebar.panel import spec_to_ask_again

    rows = [
        {
            "clean": "When Mary and John went to the store, John gave a drink to",
            "corrupted": "When Mary and John went to the store, Paul gave a drink to",
            "correct": " Mary",
            "incorrect": " John",
        }
    ]
    kept = PromptStore(home).add(parse_prompts(rows), name="mine")
    values = {field.name: field.default for field in settings.FIELDS} | {"task": kept.id, "method": "eap"}
    spec = settings.spec_of(values)
    run = compute_run(spec, library=RunLibrary())
    shelf = Shelf(RunLibrary(), None)
    card = shelf.find(question_key(spec, metric=settings.metric_of(values), options=resolve_options(spec)))
    assert card is not None and card.id == run.id and card.task == "mine"
    again = spec_to_ask_again(card)
    assert again is not None and again.prompts_file == str(kept.path)
    kept.path.unlink()
    asked = spec_to_ask_again(card)
    assert asked is not None and asked.prompts_file == str(kept.path), "kept anew from the run's own copy"
    assert compute_run(asked, library=RunLibrary()).cached


def test_a_run_of_the_command_line_on_a_file_answers_the_settings_that_it_is_opened_with(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eapgp.prompts import write_prompts
    from eapgp.runs import RunLibrary, RunSpec, compute_run
    from eapgp.runs.compute import resolve_options
    from eapgp.ui.library.results import Shelf, question_key
    from eapgp.ui.sidebar.panel import spec_to_ask_again

    clean, corrupted = (f"When Mary and John went to the store, {name} gave a drink to" for name in ("John", "Paul"))
    pair = PromptPair(clean, corrupted, (" Mary",), (" John",))
    write_prompts(PromptSet("custom", (pair,), "logit-diff", {}), tmp_path / "mine.csv")
    run = compute_run(RunSpec(task=None, prompts_file=str(tmp_path / "mine.csv"), method="eap"), library=RunLibrary())
    shelf = Shelf(RunLibrary(), None)
    monkeypatch.setattr(results, "shelf", lambda: shelf)
    card = shelf.get(run.id)
    assert card is not None
    asked = spec_to_ask_again(card)
    assert asked is not None
    values = {field.name: field.default for field in settings.FIELDS}
    values |= settings.settings_of(asked, metric=card.metric, options=card.options)
    spec = settings.spec_of(values)
    key = question_key(spec, metric=settings.metric_of(values), options=resolve_options(spec))
    assert shelf.find(key) == card


# -- what comes in -----------------------------------------------------------------------------


def test_a_table_reads_back_what_was_put_into_it_and_names_rows_with_an_empty_cell() -> None:
    from eapgp.ui.prompts.own import frame_of, pairs_of

    table = frame_of(PromptSet("mine", PAIRS, "prob-diff", {}))
    read, problems = pairs_of(table, "mine", "prob-diff")
    assert read is not None and read.pairs == PAIRS and (read.task, read.metric) == ("mine", "prob-diff")
    assert problems == []
    ids = PromptSet("ioi", (PromptPair("a", "b", (1234, 4), (5,)),), "logit-diff", {})
    again, _ = pairs_of(frame_of(ids), "ioi", "logit-diff")
    assert again is not None and again.pairs == ids.pairs
    holes = pd.concat([table, pd.DataFrame([[None] * 4, ["a", None, " b", ""]], columns=table.columns)])
    kept, problems = pairs_of(holes, "mine", "prob-diff")
    assert kept is not None and kept.pairs == PAIRS
    assert problems == ["The table: row 4, column corrupted: a text was expected, the cell is empty."]
    assert pairs_of(holes.iloc[2:], "x", "logit-diff")[0] is None
    many, problems = pairs_of(pd.concat([table] * 2501), "x", "logit-diff")
    assert many is not None and len(many) == 5000 and "5,002 pairs; the first 5,000 are used" in problems[0]


@pytest.mark.parametrize("mark", ["\t", ",", ";"])
def test_rows_are_pasted_with_and_without_a_header(mark: str) -> None:
    from eapgp.ui.prompts.own import read_text

    row = mark.join(["The cat", "The dog", " sat", " ran| fled"])
    for text in (row, f"{mark.join(['clean', 'corrupted', 'correct', 'incorrect'])}\r\n{row}\r\n"):
        pair = read_text(text).prompts.pairs[0]
        assert (pair.clean, pair.corrupted, pair.correct, pair.incorrect) == (
            "The cat",
            "The dog",
            (" sat",),
            (" ran", " fled"),
        )


HEADER = "clean,corrupted,correct,incorrect\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (HEADER.encode() + "café,the, a, b\n".encode("latin-1"), "UTF-8 text was expected"),
        (HEADER.encode() + b"a,b,, c\n", "row 1, column correct: an answer was expected"),
        (HEADER.encode() + b"a,b, c, d\n ,b, c, d\n", "row 2, column clean: a prompt was expected"),
        (HEADER.encode() + b"a,b, c\n", "row 1 has 3 cells"),
        (b"clean,corrupted,reply\na,b,c\n", "column correct, incorrect is missing"),
        (b"", "is empty"),
        (HEADER.encode() + b"x" * 200_000, "row 1 has a cell of more than 131,072 characters"),
        (b"clean,corrupted,group,plural\na,b,c,1\n", "needs its verbs"),
    ],
)
def test_what_a_file_has_wrong_is_one_line_with_its_name(data: bytes, words: str) -> None:
    from eapgp.errors import EapgpError
    from eapgp.ui.prompts.own import read_upload

    with pytest.raises(EapgpError) as caught:
        read_upload([("some/pairs.csv", data)])
    message = str(caught.value)
    assert words in message and "\n" not in message
    assert "pairs.csv" in message or "verbs" in message


def test_more_than_5000_rows_are_cut_and_told() -> None:
    from eapgp.ui.prompts.own import read_upload

    read = read_upload([("many.csv", (HEADER + "a,b, c, d\n" * 5001).encode())])
    assert len(read.prompts) == 5000 and "the first 5,000 are used" in read.remark and read.prompts.task == "many"
    whole = read_upload([("many.csv", (HEADER + "a,b, c, d\n" * 5000).encode())])
    assert len(whole.prompts) == 5000 and not whole.remark


def test_the_published_formats_are_read_from_uploads(shared: Path) -> None:
    from eapgp.ui.prompts.own import read_upload

    folder = shared / "data" / "six-tasks"
    expected = {"ioi": 1000, "greater-than": 1000, "gender-bias": 986, "country-capital": 190, "hypernymy": 198}
    for task, n in expected.items():
        read = read_upload([(f"{task}.csv", (folder / f"{task}.csv").read_bytes())])
        assert (read.prompts.task, len(read.prompts)) == (task, n)
    both = [(name, (folder / name).read_bytes()) for name in ("sva.csv", "sva_verbs.csv")]
    read = read_upload(both)
    assert read.prompts.task == "sva" and "first 5,000" in read.remark


# -- what the model makes of it ----------------------------------------------------------------


@pytest.fixture(scope="module")
def demo() -> Any:
    from eapgp.models import load_model

    return load_model("demo", device="cpu")


CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPTED = "When Mary and John went to the store, Paul gave a drink to"
MIXED = PromptSet(
    "mixed",
    (
        PromptPair(CLEAN, CORRUPTED, (" Mary",), (" John",)),
        PromptPair(CLEAN, CORRUPTED, (" John",), (" Mary",)),
        PromptPair(CLEAN, CORRUPTED.replace(" to", ""), (" Mary",), (" John",)),
        PromptPair(CLEAN, CORRUPTED, ("Mary",), (" John",)),
        PromptPair(CLEAN.replace(" the", " the" * 60), CORRUPTED.replace(" the", " the" * 60), (" Mary",), (" John",)),
    ),
    "logit-diff",
    {},
)


def test_usable_pairs_are_run_and_the_others_are_told_with_their_tokens(demo: Any) -> None:
    from eapgp.evaluation import CircuitRunner
    from eapgp.ui.prompts.jobs import see

    seen = see(demo, MIXED, "logit-diff", lambda phase, fraction: None)
    assert seen.fit.usable == (0, 1) and seen.ready.pairs == MIXED.pairs[:2]
    assert seen.right.tolist() == [True, False], "the second pair asks for the wrong name"
    assert seen.clean[0] == pytest.approx(-seen.clean[1], abs=1e-5)
    runner = CircuitRunner(demo, MIXED.take(2), metric="logit-diff")
    assert np.allclose(seen.clean, runner.metric_clean, atol=1e-4)
    assert np.allclose(seen.corrupted, runner.metric_corrupted, atol=1e-4)
    reasons = {problem.pair: problem.message for problem in seen.fit.problems}
    assert sorted(reasons) == [2, 3, 4]
    assert "tokens, corrupted has" in reasons[2] and "did you mean" in reasons[3] and "reads at most" in reasons[4]
    differing = [place for place, row in enumerate(seen.tokens[0]) if row[2]]
    assert len(differing) == 1 and seen.tokens[0][differing[0]][:2] == ("␣John", "␣Paul")
    assert seen.tokens[2][-1][1] == "" and seen.tokens[2][-1][2], "the shorter side ends early"
    assert sum(chance for _, chance, _ in seen.top_clean[0]) <= 1 + 1e-6
    assert ("right" in {kind for _, _, kind in seen.top_clean[0]}) and seen.top_clean[0][0][0] == "␣Mary"
    assert seen.mended is not None and seen.mended.pairs[3].correct == (" Mary",)
    assert seen.mended.pairs[:3] == MIXED.pairs[:3]


def test_pairs_of_which_none_fits_are_told_without_an_error(demo: Any) -> None:
    from eapgp.ui.prompts.jobs import see

    seen = see(demo, PromptSet("x", MIXED.pairs[2:3], "logit-diff", {}), "logit-diff", lambda phase, fraction: None)
    assert seen.fit.usable == () and len(seen.fit.problems) == 1 and len(seen.clean) == 0 and seen.mended is None


def _readout_of_remarked_pairs() -> None:
    import numpy as np

    from eapgp.prompts import Fit, PromptSet
    from eapgp.ui.prompts.jobs import Seen
    from eapgp.ui.prompts.pairs import readout

    fit = Fit(2, (0, 1), (), ("pair 2 of 2: the same prompt",))
    numbers = np.ones(2)
    seen = Seen("demo", "", fit, PromptSet("x", (), "logit-diff"), (), numbers, numbers, numbers > 0)
    readout(seen, "logit-diff", 2)


def test_what_is_remarked_of_the_pairs_stands_above_the_numbers() -> None:
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_function(_readout_of_remarked_pairs, default_timeout=60).run()
    assert not app.exception and len(app.metric) == 4
    assert ["pair 2 of 2" in one.value.replace("\\", "") for one in app.warning] == [True]


def test_a_word_is_read_with_and_without_its_space(demo: Any) -> None:
    from eapgp.ui.prompts.jobs import read_word

    found = read_word(demo, "Mary")
    assert found.forms[0][0] == "Mary" and not found.forms[0][2] and found.forms[1] == (" Mary", ("␣Mary",), True)
    assert found.advice.startswith("Write ' Mary' instead") and found.alike == ()
    assert read_word(demo, " Mary").advice == "Write ' Mary': it is one token."
    odd = read_word(demo, "Marry")
    assert not any(fits for _, _, fits in odd.forms) and " Mary" in odd.alike and "another word" in odd.advice


def test_tokens_from_anybody_are_shown_as_text() -> None:
    from eapgp.ui.base.draw import visible
    from eapgp.ui.prompts.views import alignment_html

    page = alignment_html([("<script>alert(1)</script>", "a&b\x07\u202e", True), ("␣same", "␣same", False)], dark=False)
    assert "<script>" not in page and "&lt;script&gt;" in page and "a&amp;b␇[U+202E]" in page
    assert page.count('class="differs"') == 1 and page.count('class="same"') == 1
    assert visible("a\nb") == "a␊b"


def test_the_snippets_of_the_page_give_its_numbers(
    demo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import shlex

    from eapgp.cli import main
    from eapgp.runs.compute import make_prompt_set
    from eapgp.ui.prompts.jobs import see
    from eapgp.ui.prompts.pairs import Selection
    from eapgp.ui.prompts.views import python_snippet, shell_snippet

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("eapgp.models.load_model", lambda *names, **options: demo)
    values = {field.name: field.default for field in settings.FIELDS} | {"pairs": 6, "seed": 3, "method": "eap"}
    spec = settings.spec_of(values)
    shown = Selection(spec, make_prompt_set(spec), "logit-diff", False, "")
    seen = see(demo, shown.prompts, "logit-diff", lambda phase, fraction: None)
    exec(python_snippet(shown), {})
    printed = capsys.readouterr().out.split()
    assert float(printed[1]) == seen.right.mean()
    assert float(printed[3]) == pytest.approx(seen.clean.mean(), abs=1e-4)
    assert float(printed[5]) == pytest.approx(seen.corrupted.mean(), abs=1e-4)
    answers = []
    for line in shell_snippet(shown).splitlines():
        words = shlex.split(line)
        assert words[0] == "eapgp" and main(words[1:]) == 0
        answers.append(capsys.readouterr().out)
    assert json.loads(answers[1])["metric_clean"] == pytest.approx(seen.clean.mean(), abs=1e-4)


def test_a_table_of_any_columns_is_read_once_they_are_named() -> None:
    from eapgp.errors import HeaderError
    from eapgp.ui.prompts.own import by_hand_of, frame_of_rows, preview_upload, read_upload

    files = [("lab/table.csv", b"Question;Twin;Reply;Other\n<b>a</b>;b;8;7\n")]
    with pytest.raises(HeaderError, match="found Question, Twin, Reply, Other"):
        read_upload(files)
    preview = preview_upload(files)
    assert frame_of_rows(preview).to_dict("records") == [
        {"Question": "<b>a</b>", "Twin": "b", "Reply": "8", "Other": "7"}
    ]
    chosen = {"clean": "Question", "corrupted": "Twin", "correct": "Reply", "incorrect": None}
    pair = read_upload(files, by_hand_of(chosen, ids=False)).prompts.pairs[0]
    assert (pair.clean, pair.correct, pair.incorrect) == ("<b>a</b>", ("8",), ())
    as_ids = by_hand_of({**chosen, "incorrect": "Other"}, ids=True)
    assert read_upload(files, as_ids).prompts.pairs[0].correct == (8,)


def test_pasted_rows_with_any_mark_and_any_header() -> None:
    from eapgp.ui.prompts.own import read_text

    for text in ("a;b; x; y", "a\tb\t x\t y", "a,b, x, y", "Prompt;Corrupt;Answer;Wrong\na;b; x; y"):
        pair = read_text(text).prompts.pairs[0]
        assert (pair.clean, pair.corrupted, pair.correct, pair.incorrect) == ("a", "b", (" x",), (" y",)), text


def test_pairs_without_wrong_answers_go_through_the_table() -> None:
    from eapgp.ui.prompts.own import frame_of, pairs_of

    one_sided = PromptSet("t", (PromptPair("a", "b", (" x",), ()), PromptPair("c", "d", (" y",), ())), "log-prob")
    bare = PromptSet("t", (PromptPair("a", "b", (), ()),), "kl")
    for prompts in (one_sided, bare):
        back, problems = pairs_of(frame_of(prompts), "t", prompts.metric)
        assert back is not None and back.pairs == prompts.pairs and not problems
    assert pairs_of(frame_of(one_sided), "t", "logit-diff")[0] is None
