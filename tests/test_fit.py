"""Which pairs a model can use: every kind of misfit by number, what is only remarked, and who says so."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_made import random_pairs, tiny_model

import eapgp
from eapgp.attribution.api import attribute
from eapgp.cli import main
from eapgp.errors import PairLengthError, PromptError
from eapgp.evaluation.runner import CircuitRunner
from eapgp.prompts import PromptPair, PromptSet, TokenizerOnly, encode, fit, read_prompts
from eapgp.runs.compute import make_prompt_set
from eapgp.runs.spec import RunSpec
from eapgp.tasks import TASKS, make_prompts
from tools.training.vocabulary import build_tokenizer

STORE = "When Mary and John went to the store, John gave a drink to"  # 14 tokens
GOOD = PromptPair(STORE, STORE.replace(", John", ", Paul"), (" Mary",), (" John",))
SAME = replace(GOOD, corrupted=GOOD.clean)
W = PromptPair("w5 w6 w7 w8", "w5 w9 w7 w8", ("w3",), ("w4",))


@pytest.fixture(scope="module")
def words() -> Any:
    return build_tokenizer()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "home"))
    return tmp_path


def _set(*pairs: PromptPair, metric: str = "logit-diff") -> PromptSet:
    return PromptSet("own", tuple(pairs), metric, {"kind": "inline"})


def _with_first_token(pair: PromptPair, text: str) -> PromptPair:
    return replace(pair, clean=f"{text} {pair.clean}", corrupted=f"{text} {pair.corrupted}")


# -- every kind, with the right number --------------------------------------------------------------

KINDS = {
    "empty": replace(GOOD, clean=""),
    "words": replace(GOOD, clean=GOOD.clean.replace("Mary", "Zorro")),
    "length": replace(GOOD, corrupted=GOOD.corrupted + " the"),
    "context": replace(GOOD, clean=GOOD.clean + " the" * 30, corrupted=GOOD.corrupted + " the" * 30),
    "answer": replace(GOOD, correct=(" Mary John",)),
    "overlap": replace(GOOD, correct=(" John",)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_that_cannot_be_used_is_told_with_kind_and_number(words: Any, kind: str) -> None:
    findings = fit(_set(GOOD, GOOD, KINDS[kind], GOOD), TokenizerOnly(words, n_context=40))
    assert findings.usable == (0, 1, 3)
    assert [(problem.pair, problem.kind) for problem in findings.problems] == [(2, kind)]
    assert findings.problems[0].message.startswith("pair 3: ") and "\n" not in findings.problems[0].message


def test_the_context_counts_the_start_token(words: Any) -> None:
    tokens = len(words(GOOD.clean)["input_ids"])
    assert not fit(_set(GOOD), TokenizerOnly(words, n_context=tokens + 1)).problems
    assert fit(_set(GOOD), TokenizerOnly(words, n_context=tokens)).problems[0].kind == "context"
    assert not fit(_set(GOOD), TokenizerOnly(words, prepend_bos=False, n_context=tokens)).problems


def test_a_token_beyond_the_embedding_is_refused_in_prompts_and_answers() -> None:
    tokenizer = tiny_model("gpt2").tokenizer  # the id of "w9" is 9
    found = fit(_set(W), TokenizerOnly(tokenizer, n_vocab=9)).problems[0]
    assert found.kind == "vocabulary" and found.reason.startswith("corrupted holds 'w9' (token 9), but the model's")
    assert not fit(_set(W), TokenizerOnly(tokenizer, n_vocab=10)).problems
    answer = PromptPair("w1 w2", "w1 w3", ("w9",), ("w4",))
    found = fit(_set(answer), TokenizerOnly(tokenizer, n_vocab=9)).problems[0]
    assert found.kind == "answer" and "correct answer 'w9' is token 9, but" in found.reason
    assert not fit(_set(answer), TokenizerOnly(tokenizer, n_vocab=10)).problems
    found = fit(_set(replace(answer, correct=(9,))), TokenizerOnly(tokenizer, n_vocab=9)).problems[0]
    assert "correct answer 9 is no token id: the vocabulary has ids 0 to 8" in found.reason


def test_padding_never_leaves_the_embedding() -> None:
    tokenizer = copy.deepcopy(tiny_model("gpt2").tokenizer)
    tokenizer.pad_token = "w59"
    pairs = _set(W, PromptPair("w5 w6", "w5 w7", ("w3",), ("w4",)))
    assert encode(pairs, TokenizerOnly(tokenizer)).clean.max() == 59
    assert encode(pairs, TokenizerOnly(tokenizer, n_vocab=20)).clean.max() < 20


def test_characters_that_nobody_sees_are_named(words: Any) -> None:
    for char, code in (("\u00a0", "U+00A0"), ("\u200b", "U+200B"), ("\t", "U+0009")):
        bad = replace(GOOD, clean=GOOD.clean.replace(" and", f"{char} and"))
        assert code in fit(_set(bad), TokenizerOnly(words)).problems[0].reason, repr(char)
    assert "holds 'Zorro'," in fit(_set(KINDS["words"]), TokenizerOnly(words)).problems[0].reason


# -- many at once -----------------------------------------------------------------------------------


def test_an_error_lists_every_pair_and_its_details_hold_all(words: Any) -> None:
    bad = [replace(GOOD, corrupted=GOOD.corrupted + " the" * (1 + i)) for i in range(9)]
    pairs = _set(GOOD, *bad, GOOD)
    with pytest.raises(PairLengthError) as caught:
        encode(pairs, TokenizerOnly(words))
    message = str(caught.value)
    assert "\n" not in message and all(f"pair {number}: clean has" in message for number in range(2, 7))
    assert message.endswith("And 4 more: pairs 7, 8, 9 and 10.")
    assert [entry["pair"] for entry in caught.value.details["problems"]] == list(range(2, 11))
    with pytest.raises(PromptError, match=r"^pairs 1 and 3: clean has 14 tokens, corrupted has 15;") as same:
        encode(_set(bad[0], GOOD, bad[0]), TokenizerOnly(words))
    assert len(same.value.details["problems"]) == 2
    with pytest.raises(PromptError) as mixed:
        encode(_set(bad[0], KINDS["words"]), TokenizerOnly(words))
    assert not isinstance(mixed.value, PairLengthError) and "pair 1: " in str(mixed.value)


def test_check_and_attribute_list_all_of_them(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / "pairs.csv"
    rows = [f"They flew to Paris,They flew to{' the' * (i % 2)} Rome, Paris, Rome" for i in range(8)]
    path.write_text("clean,corrupted,correct,incorrect\n" + "\n".join(rows) + "\n", encoding="utf-8")
    for command in (["prompts", "check", str(path)], ["attribute", "--prompts", str(path), "--method", "eap"]):
        assert main([*command, "--json", "--quiet"]) == 2
        out, told = capsys.readouterr()
        answer = json.loads(out)
        problems = answer.get("problems") or answer["error"]["problems"]
        assert [entry["pair"] for entry in problems] == [2, 4, 6, 8] and answer["error"]["message"]
        assert {entry["kind"] for entry in problems} == {"length"}
        assert "pairs 2, 4, 6 and 8: clean has" in told.splitlines()[-1]
    assert main(["prompts", "check", str(path), "--quiet"]) == 2
    table = capsys.readouterr().out
    assert table.count("corrupted has") == 4


def test_a_sweep_keeps_every_problem_of_a_cell(home: Path) -> None:
    from eapgp.runs.library import RunLibrary
    from eapgp.study.plan import Cell
    from eapgp.study.worker import Worker

    path = home / "pairs.csv"
    rows = [f"w5 w6,w5 w7{' w8' * i},w3,w4" for i in range(9)]
    path.write_text("clean,corrupted,correct,incorrect\n" + "\n".join(rows) + "\n", encoding="utf-8")
    worker = Worker(RunLibrary(home / "runs"), model_loader=lambda name, **how: tiny_model("gpt2"))
    record = worker.compute(Cell(RunSpec(task=None, prompts_file=str(path), method="eap")))
    assert record["status"] == "failed" and record["error"]["type"] == "PairLengthError"
    assert [entry["pair"] for entry in record["error"]["problems"]] == list(range(2, 10))


# -- equal prompts ----------------------------------------------------------------------------------


def test_pairs_that_are_all_equal_are_refused_and_some_are_remarked(words: Any) -> None:
    findings = fit(_set(SAME, SAME), TokenizerOnly(words))
    assert findings.usable == () and {problem.kind for problem in findings.problems} == {"equal"}
    some = fit(_set(GOOD, SAME, GOOD), TokenizerOnly(words))
    assert some.usable == (0, 1, 2) and not some.problems
    assert len(some.remarks) == 1 and some.remarks[0].startswith("pair 2 of 3: clean and corrupted are the same prompt")
    assert encode(_set(GOOD, SAME, GOOD), TokenizerOnly(words)).remarks == some.remarks
    assert fit(_set(SAME, KINDS["length"]), TokenizerOnly(words)).usable == (), "the only usable pair is equal"


def test_equal_prompts_are_refused_only_where_the_corrupted_run_counts() -> None:
    model = tiny_model("gpt2")
    equal = _set(replace(W, corrupted=W.clean))
    for refused in (
        lambda: attribute(model, equal, method="eap"),
        lambda: CircuitRunner(model, equal),
    ):
        with pytest.raises(PromptError, match="pair 1: clean and corrupted are the same prompt"):
            refused()
    zero = attribute(model, equal, method="eap", intervention="zero")
    assert np.abs(zero.scores.values).max() > 0 and "same prompt" in zero.messages[0]
    assert np.abs(attribute(model, equal, method="ifr").scores.values).max() > 0
    assert CircuitRunner(model, equal, intervention="zero").n_pairs == 1
    half = attribute(model, _set(W, equal.pairs[0]), method="eap")
    whole = attribute(model, _set(W), method="eap")
    assert np.allclose(half.scores.values, whole.scores.values / 2) and not whole.messages
    assert len(half.messages) == 1 and half.messages[0].startswith("pair 2 of 2")


# -- a start token that is there already --------------------------------------------------------------


def test_a_literal_start_token_counts_once_and_is_remarked() -> None:
    model = tiny_model("gpt2")
    assert model.prepend_bos
    literal = _with_first_token(W, "<bos>")
    ours, theirs = (attribute(model, _set(pair), method="eap") for pair in (W, literal))
    assert np.array_equal(ours.scores.values, theirs.scores.values)
    assert np.array_equal(ours.metric_clean, theirs.metric_clean)
    assert not ours.messages and len(theirs.messages) == 1
    assert "pair 1: the text already begins with the start token '<bos>'" in theirs.messages[0]
    assert CircuitRunner(model, _set(literal)).messages == list(theirs.messages)
    one_side = replace(W, clean=literal.clean)
    assert np.array_equal(encode(_set(one_side), model).clean, encode(_set(W), model).clean)
    bare = TokenizerOnly(model.tokenizer, prepend_bos=False)
    assert encode(_set(literal), bare).remarks == () and encode(_set(literal), bare).lengths.tolist() == [5]


def test_an_unknown_word_is_no_start_token_though_they_share_an_id() -> None:
    tokenizer = tiny_model("gpt2").tokenizer
    assert tokenizer.unk_token_id == tokenizer.bos_token_id
    findings = fit(_set(_with_first_token(W, "zebra")), TokenizerOnly(tokenizer))
    assert findings.problems[0].kind == "words" and "'zebra'" in findings.problems[0].reason


# -- digits -------------------------------------------------------------------------------------------


def test_answers_of_digits_are_texts_and_this_is_said(words: Any, home: Path) -> None:
    refused = fit(_set(replace(GOOD, correct=("1",), incorrect=("2",))), TokenizerOnly(words)).problems[0]
    assert refused.kind == "answer" and "'1'" in refused.reason and "correct_idx" in refused.reason
    years = replace(GOOD, correct=("52",), incorrect=("51",))
    assert fit(_set(years), TokenizerOnly(words)).remarks == (), "two digits are years"
    inline = {"clean": GOOD.clean, "corrupted": GOOD.corrupted}
    for cell, answers in (("12", ("12",)), ([12], (12,)), (12, (12,)), (["12", 3], ("12", 3))):
        spec = RunSpec(task=None, prompts=({**inline, "correct": cell, "incorrect": [5]},))
        assert make_prompt_set(spec).pairs[0].correct == answers
    with pytest.raises(PromptError, match=r"^pair 2: expected 'correct'"):
        make_prompt_set(RunSpec(task=None, prompts=({**inline, "correct": "a", "incorrect": "b"}, inline)))


@pytest.mark.parametrize("task", TASKS)
def test_nothing_is_remarked_on_generated_prompts(words: Any, task: str) -> None:
    findings = fit(make_prompts(task, 200, seed=5), TokenizerOnly(words))
    assert findings.usable == tuple(range(200)) and findings.remarks == ()


# -- ids that came without their texts -----------------------------------------------------------------


def test_ids_are_held_against_the_model_too() -> None:
    model = tiny_model("gpt2")
    pairs = random_pairs(3)
    late = replace(pairs, correct=(*pairs.correct[:2], (60,)))
    with pytest.raises(PromptError, match=r"^pair 3: the correct answer holds token 60, but .* 0 to 59 only"):
        attribute(model, late, method="eap")
    ids = pairs.clean.copy()
    ids[1, 2] = 1000
    with pytest.raises(PromptError, match=r"^pair 2: clean holds token 1,000"):
        CircuitRunner(model, replace(pairs, clean=ids))


def test_answers_may_overlap_where_the_metric_that_is_used_allows_it() -> None:
    model, both = tiny_model("gpt2"), replace(W, correct=("w3", "w4"))
    assert attribute(model, _set(both), method="eap", metric="prob-diff").scores.values.any()
    with pytest.raises(PromptError, match="is both a correct and an incorrect answer"):
        attribute(model, _set(both, metric="prob-diff"), method="eap", metric="logit-diff")


def test_an_evaluation_says_what_was_remarked() -> None:
    from eapgp.circuits import Circuit
    from eapgp.cli.evaluate_text import evaluation_text
    from eapgp.runs.evaluate import Question, evaluate_circuits

    model = tiny_model("gpt2")
    how = (model, [Circuit.full(model.graph)], Question(sizes=(model.graph.n_edges,), resamples=5))
    quiet, told = (
        evaluate_circuits(how[0], _set(*pairs), how[1], how[2]) for pairs in ((W,), (W, replace(W, corrupted=W.clean)))
    )
    assert "messages" not in quiet and told["messages"][0].startswith("pair 2 of 2")
    assert told["messages"][0] in "".join(part for part in evaluation_text(told).renderables if isinstance(part, str))


def test_no_torch_is_imported() -> None:
    import subprocess
    import sys

    code = "import sys, eapgp; eapgp.fit; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert eapgp.fit is fit


# -- the shared cases ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cases(shared: Path) -> Path:
    folder = shared / "cases"
    if not (folder / "prompts").is_dir():
        pytest.skip("the cases are absent")
    return folder


@pytest.fixture(scope="module")
def gpt2(shared: Path) -> Any:
    from eapgp.models.checkpoint import _byte_pair_tokenizer

    return _byte_pair_tokenizer(shared / "data" / "gpt2-tokenizer")


def test_answers_of_digits_in_a_large_vocabulary(cases: Path, gpt2: Any) -> None:
    prompts = read_prompts(cases / "prompts" / "numeric_answers.csv")
    encoded = encode(prompts, TokenizerOnly(gpt2))
    assert encoded.correct == ((23,),) and encoded.incorrect == ((22,),)
    assert len(encoded.remarks) == 1 and "taken as texts" in encoded.remarks[0]


@pytest.mark.parametrize(
    ("file", "bad", "text"),
    [
        ("numeric_answers_demo.csv", [0, 1, 2, 3, 4, 5], "'1' is not in this model's vocabulary"),
        ("same_prompts.csv", [0, 1, 2, 3, 4, 5], "same prompt"),
        ("unequal4.csv", [0, 1, 2, 3], "patching needs equal lengths"),
        ("whitespace_message.csv", [0, 1, 2, 3, 4, 5], "U+00A0"),
    ],
)
def test_prompt_files_that_cannot_be_used(cases: Path, words: Any, file: str, bad: list[int], text: str) -> None:
    findings = fit(read_prompts(cases / "prompts" / file), TokenizerOnly(words))
    assert [problem.pair for problem in findings.problems] == bad
    assert all(text in problem.reason for problem in findings.problems)


@pytest.mark.parametrize(
    ("file", "n"), [("autocircuit_prompts.json", 6), ("eapig_label.csv", 1), ("excel_trailing_columns.csv", 1)]
)
def test_prompt_files_of_others(cases: Path, words: Any, file: str, n: int) -> None:
    prompts = read_prompts(cases / "prompts" / file)
    findings = fit(prompts, TokenizerOnly(words))
    assert len(prompts) == n == len(findings.usable) and findings.remarks == ()
    if file.startswith("eapig"):
        assert (prompts.task, prompts.metric) == ("greater-than", "prob-diff")
        assert prompts.pairs[0].correct[0] == "53" and prompts.pairs[0].incorrect[-1] == "52"


def test_models_that_prompts_do_not_fit(cases: Path) -> None:
    from eapgp.models import load_model

    short = load_model(str(cases / "models" / "complete_head_model"), device="cpu")
    found = fit(read_prompts(cases / "prompts" / "too_long.csv"), short)
    assert found.usable == (1,) and found.problems[0].message.startswith("pair 1: the prompts have 162 tokens")
    bigger = load_model(str(cases / "models" / "tok_bigger_model"), device="cpu")
    for name in ("added_token_prompt", "added_token_answer"):
        prompts = read_prompts(cases / "models" / f"{name}.csv")
        with pytest.raises(PromptError, match=r"^pair 1: .*'<f>'.* 0 to 259 only"):
            attribute(bigger, prompts, method="eap")
    start = load_model(str(cases / "models" / "llama3_tok_model"), device="cpu")
    result = attribute(start, read_prompts(cases / "prompts" / "double_bos.csv"), method="eap")
    assert result.metric_clean[0] == pytest.approx(0.26505, abs=1e-5) and "there once" in result.messages[0]
