"""Start tokens, chat templates, answers of several tokens, pairs that are left out: against forward passes by hand."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_made import tiny_folder, tiny_model

from eapgp.cli import main
from eapgp.cli.options import with_bare_bos
from eapgp.errors import OptionError, PromptError
from eapgp.evaluation.behaviour import behaviour
from eapgp.prompts import Prompting, PromptPair, PromptSet, TokenizerOnly, encode, fit
from eapgp.runs import RunLibrary, RunSpec, compute_run, load_run_model
from eapgp.runs.bundled import examples_folder
from eapgp.runs.compute import load_for, resolve
from eapgp.runs.run import open_run
from eapgp.runs.spec import LATER_FIELDS, request_key

SHAPE = "llama"
TEMPLATE = (
    "{% for m in messages %}w10 {{ m['content'] }} w11{% endfor %}{% if add_generation_prompt %} w12 w13{% endif %}"
)
PAIR = PromptPair("w5 w6 w7 w8", "w5 w9 w7 w8", ("w3",), ("w4",))
PAIRS = tuple(
    PromptPair(f"w{a} w6 w7 w8", f"w{b} w6 w7 w8", (f"w{c}",), (f"w{c + 1}",))
    for a, b, c in ((20, 21, 30), (22, 23, 32), (24, 25, 34), (26, 27, 36), (28, 29, 38), (40, 41, 42))
)
LONG = PromptPair("w5 w6 w7 w8", "w5 w9 w7", ("w3",), ("w4",))
UNKNOWN = PromptPair("w5 zebra w7 w8", "w5 w9 w7 w8", ("w3",), ("w4",))


def of(*pairs: PromptPair) -> PromptSet:
    return PromptSet("own", pairs, "logit-diff", {"kind": "inline"})


def rows(*pairs: PromptPair) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"clean": p.clean, "corrupted": p.corrupted, "correct": list(p.correct), "incorrect": list(p.incorrect)}
        for p in pairs
    )


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder that holds the tiny models' tokenizer with a chat template, and nothing else."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_folder(SHAPE))
    tokenizer.chat_template = TEMPLATE
    folder = tmp_path_factory.mktemp("chatty")
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunLibrary:
    monkeypatch.setenv("EAPGP_HOME", str(tmp_path / "home"))
    return RunLibrary(tmp_path / "home")


def spec(**changes: Any) -> RunSpec:
    given = {"model": str(tiny_folder(SHAPE)), "task": "own", "prompts": rows(PAIR), "method": "eap"} | changes
    return RunSpec(**given, device="cpu")


def logits_by_hand(ids: list[int]) -> Any:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_folder(SHAPE), attn_implementation="eager").eval()
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0, -1]


def by_hand(before: list[int], after: list[int] | tuple[int, ...] = (), right: int = 3, wrong: int = 4) -> list[float]:
    sides = ([5, 6, 7, 8], [5, 9, 7, 8])
    logits = [logits_by_hand([*before, *ids, *after]) for ids in sides]
    return [float(one[right] - one[wrong]) for one in logits]


@pytest.mark.parametrize(
    ("how", "before", "after"),
    [
        ({}, [0], ()),
        ({"bos": "own"}, [0], ()),
        ({"bos": "none"}, [], ()),
        ({"bos": "w50"}, [50], ()),
        ({"chat": True}, [10], [11, 12, 13]),
        ({"chat": True, "bos": "own"}, [0, 10], [11, 12, 13]),
        ({"chat": True, "bos": "w10"}, [10], [11, 12, 13]),  # the template begins with it already
    ],
)
def test_the_metric_is_that_of_a_forward_pass_by_hand(
    how: dict[str, Any], before: list[int], after: list[int], chatty: str, library: RunLibrary
) -> None:
    asked = spec(**how, tokenizer=chatty if "chat" in how else None)
    run = compute_run(asked, library=library)
    record = run.record
    expected = by_hand(before, after)
    assert [record["metric_clean"]["mean"], record["metric_corrupted"]["mean"]] == pytest.approx(expected, rel=1e-4)
    assert record["accuracy"] == float(expected[0] > 0)
    assert run.attribution().right is not None and run.attribution().right.tolist() == [expected[0] > 0]
    model = load_run_model(run)  # whatever is measured of the run is measured so
    again = behaviour(model, encode(run.prompts(), model), metric="logit-diff")
    assert [again.clean[0], again.corrupted[0]] == pytest.approx(expected, rel=1e-4)
    assert not fit(of(PAIR), model).remarks, "a template that brings the start token is as it should be"


def test_each_way_is_a_run_of_its_own_and_is_found_again(chatty: str, library: RunLibrary) -> None:
    ways: list[dict[str, Any]] = [
        {},
        {"bos": "none"},
        {"bos": "w50"},
        {"tokenizer": chatty, "chat": True},
        {"answers": "first-token"},
    ]
    runs = [compute_run(spec(**way), library=library) for way in ways]
    assert len({run.id for run in runs}) == len({spec(**way).job_key() for way in ways}) == len(ways)
    for way, run in zip(ways, runs, strict=True):
        assert compute_run(spec(**way), library=library).cached
        assert run.spec == spec(**way)
        assert Prompting.from_dict(run.request.get("prompting", {})) == spec(**way).prompting
    assert "prompting" not in runs[0].request and not set(LATER_FIELDS) & set(runs[0].record["spec"])


def test_what_is_as_usual_leaves_names_as_they_were() -> None:
    """The bundled runs were stored before there was any of this."""
    folder = examples_folder()
    assert folder is not None
    for place in sorted(folder.iterdir())[:6]:
        run = open_run(place)
        assert run.spec is not None
        assert run.spec.to_dict() == run.record["spec"]

        class Known:
            id, weights_hash, tokenizer_hash = (
                run.request["model"][key] for key in ("id", "weights_hash", "tokenizer_hash")
            )
            dtype = run.request["model"]["dtype"]

        assert request_key(resolve(run.spec).request(Known())) == run.id
        assert run.attribution().right is None, "an old run is read as before"


def test_a_template_or_start_token_that_is_not_there_is_refused() -> None:
    model = tiny_model(SHAPE, "float32")
    with pytest.raises(PromptError, match=r"chat template, this one has none"):
        fit(of(PAIR), model.with_prompting(Prompting(chat=True)))
    with pytest.raises(PromptError, match=r"start token 'zebra'.*no token of that text.*<bos>"):
        fit(of(PAIR), model.with_prompting(Prompting(bos="zebra")))
    with pytest.raises(OptionError, match=r"answers: expected one-token or first-token, got 'last'"):
        spec(answers="last")
    broken = TokenizerOnly(_with_template(model.tokenizer, "{{ raise_exception('no turns here') }}"))
    with pytest.raises(PromptError, match="does not take a prompt: no turns here"):
        fit(of(PAIR), replace(broken, prompting=Prompting(chat=True)))


def test_answers_that_continue_a_text_are_remarked_where_they_begin_a_turn(chatty: str) -> None:
    from transformers import AutoTokenizer

    chat = TokenizerOnly(AutoTokenizer.from_pretrained(chatty), prompting=Prompting(chat=True))
    spaced = replace(PAIR, correct=(" w3",), incorrect=(" w4",))
    assert encode(of(spaced), chat).correct == ((3,),), "as they are written"
    assert [remark for remark in fit(of(spaced), chat).remarks if "begin with a space (' w3' …)" in remark]
    assert not fit(of(PAIR), chat).remarks
    assert not fit(of(spaced), replace(chat, prompting=Prompting())).remarks


def _with_template(tokenizer: Any, template: str) -> Any:
    import copy

    other = copy.deepcopy(tokenizer)
    other.chat_template = template
    return other


def test_the_first_token_of_an_answer_counts_only_when_it_was_asked_for() -> None:
    model = tiny_model(SHAPE, "float32")
    two = replace(PAIR, correct=("w3 w9",))
    refused = fit(of(two, PAIR), model)
    assert refused.usable == (1,)
    assert "2 tokens" in refused.problems[0].reason and "--answers first-token" in refused.problems[0].reason
    first = model.with_prompting(Prompting(answers="first-token"))
    findings, encoded = fit(of(two, PAIR), first), encode(of(two, PAIR), first)
    assert encoded.correct == ((3,), (3,))
    assert findings.remarks == encoded.remarks
    assert len(findings.remarks) == 1
    assert findings.remarks[0].startswith("pair 1 of 2: ") and "'w3 w9' is read as" in findings.remarks[0]
    same = fit(of(replace(PAIR, correct=("w3 w9",), incorrect=("w3 w8",))), first)
    assert same.problems[0].kind == "overlap", "answers that begin alike tell nothing apart"
    assert fit(of(replace(PAIR, correct=("zebra w3",))), first).problems[0].kind == "answer"


def test_pairs_are_left_out_by_what_the_model_says(library: RunLibrary) -> None:
    answers = [logits_by_hand([0, int(pair.clean.split()[0][1:]), 6, 7, 8]) for pair in PAIRS]
    ids = [(int(pair.correct[0][1:]), int(pair.incorrect[0][1:])) for pair in PAIRS]  # type: ignore[index]
    right = [bool(logits[a] > logits[b]) for logits, (a, b) in zip(answers, ids, strict=True)]
    assert 0 < sum(right) < len(right), "a tiny model that knows all or nothing shows nothing here"
    everything = rows(LONG, *PAIRS, UNKNOWN)
    with pytest.raises(PromptError, match="patching needs equal lengths"):
        compute_run(spec(prompts=everything, only_correct=True), library=library)
    skipped = compute_run(spec(prompts=everything, skip_unusable=True), library=library)
    assert skipped.prompts().pairs == PAIRS
    assert skipped.record["accuracy"] == pytest.approx(np.mean(right))
    assert skipped.record["messages"][0].startswith("2 of 8 pairs do not fit this model and were left out; 6 remain.")
    assert "pair 1: clean has 4 tokens" in skipped.record["messages"][0] and "'zebra'" in skipped.record["messages"][0]
    both = compute_run(spec(prompts=everything, skip_unusable=True, only_correct=True), library=library)
    expected = tuple(pair for pair, good in zip(PAIRS, right, strict=True) if good)
    assert both.prompts().pairs == expected
    assert both.record["accuracy"] == 1.0
    assert f"{6 - sum(right)} of 6 pairs are answered wrongly by this model" in both.record["messages"][1]
    assert both.request["prompts"] == {"hash": of(*expected).hash, "n_pairs": sum(right)}
    assert both.request["selection"] == {
        "only_correct": True,
        "skip_unusable": True,
        "of": of(LONG, *PAIRS, UNKNOWN).hash,
    }
    again = compute_run(spec(prompts=everything, skip_unusable=True, only_correct=True), library=library)
    assert again.cached and again.id == both.id
    wrong = tuple(pair for pair, good in zip(PAIRS, right, strict=True) if not good)
    with pytest.raises(PromptError, match="no pair is left"):
        compute_run(spec(prompts=rows(*wrong), only_correct=True), library=library)


def test_the_command_line_says_how_well_the_model_does(
    tmp_path: Path, chatty: str, library: RunLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pairs.json"
    file.write_text(json.dumps(rows(LONG, *PAIRS)))
    given = ["attribute", "--model", str(tiny_folder(SHAPE)), "--prompts", str(file), "--method", "eap"]
    assert main([*given, "--skip-unusable", "--bos", "w50", "--json"]) == 0
    reply = json.loads(capsys.readouterr().out)
    assert reply["prompting"] == {"bos": "w50"} and reply["n_pairs"] == 6
    assert reply["accuracy"] == reply["right"] / 6
    assert reply["messages"][0].startswith("1 of 7 pairs do not fit this model and were left out; 6 remain.")
    assert main([*given, "--skip-unusable", "--bos", "w50"]) == 0
    out = capsys.readouterr().out
    assert f"right on {reply['right']} of 6 pairs" in out and "start token w50" in out
    assert main([*given, "--skip-unusable", "--chat", "--tokenizer", chatty]) == 0
    assert "chat template" in capsys.readouterr().out
    assert main([*given, "--bos", "--no-bos"]) == 2
    assert "leave one out" in capsys.readouterr().err
    assert main([*given, "--skip-unusable", "--chat", "--json"]) == 2
    assert "has none" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_bos_may_stand_alone() -> None:
    assert with_bare_bos(["--bos"]) == ["--bos", "own"]
    assert with_bare_bos(["--bos", "--json"]) == ["--bos", "own", "--json"]
    assert with_bare_bos(["--bos", "<|x|>", "--json"]) == ["--bos", "<|x|>", "--json"]


@pytest.mark.skipif(not os.environ.get("EAPGP_REAL"), reason="set EAPGP_REAL=1 to run the pretrained model")
def test_the_start_token_matters_on_a_pretrained_model() -> None:
    """None and <|endoftext|> do better on plain text than <|im_start|>, which is there for chat."""
    from eapgp.models import packaged

    if not packaged.is_here("smollm2-135m"):
        pytest.skip("smollm2-135m is not on this machine; 'eapgp models get smollm2-135m' fetches it")
    usual = RunSpec(model="smollm2-135m", task="ioi", n_pairs=32, device="cpu", skip_unusable=True)
    clean = {}
    for bos in ("none", "<|im_start|>", "<|endoftext|>"):
        asked = replace(usual, bos=bos)
        model = load_for(asked)
        prompts = resolve(asked).for_model(model).prompts
        found = behaviour(model, encode(prompts, model), metric="logit-diff")
        clean[bos] = float(found.clean.mean())
        assert found.right.mean() > 0.85
        assert found.clean.mean() > 3 > 0.5 > found.corrupted.mean()
    assert clean["<|im_start|>"] < min(clean["none"], clean["<|endoftext|>"])


def test_evaluate_and_check_put_prompts_as_they_are_told(
    tmp_path: Path, chatty: str, library: RunLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    file, model = tmp_path / "pairs.json", str(tiny_folder(SHAPE))
    file.write_text(json.dumps(rows(PAIR)))
    given = ["attribute", "--model", model, "--prompts", str(file), "--method", "eap", "--json"]
    assert main([*given, "--no-bos"]) == 0
    run = json.loads(capsys.readouterr().out)
    assert main(["evaluate", "--run", run["id"], "--edges", "5", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["curve"], "circuits are run as the scores were made"
    assert [run["metric_clean"], answer["metric_clean"]] == pytest.approx([by_hand([])[0]] * 2, rel=1e-4)
    assert main(["evaluate", "--run", run["id"], "--chat", "--edges", "5"]) == 2
    assert "--chat: expected with --scores only" in capsys.readouterr().err
    scores = tmp_path / "scores.json"
    assert main([*given, "--bos", "w50", "--export", str(scores)]) == 0
    capsys.readouterr()
    of_file = ["evaluate", "--scores", str(scores), "--model", model, "--prompts", str(file), "--edges", "5", "--json"]
    assert main([*of_file, "--bos", "w50"]) == 0
    assert json.loads(capsys.readouterr().out)["metric_clean"] == pytest.approx(by_hand([50])[0], rel=1e-4)
    file.write_text(json.dumps(rows(LONG, PAIR)))
    assert main([*of_file, "--skip-unusable"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["n_pairs"] == 1 and said["messages"][0].startswith("1 of 2 pairs do not fit this model")
    file.write_text(json.dumps(rows(PAIR)))
    check = ["prompts", "check", str(file), "--model", model, "--json"]
    assert main([*check, "--chat"]) == 2
    assert "has none" in capsys.readouterr().out
    assert main([*check, "--chat", "--tokenizer", chatty]) == 0
    assert json.loads(capsys.readouterr().out)["fitting"] == 1


def test_a_study_varies_how_prompts_are_put(tmp_path: Path, library: RunLibrary) -> None:
    from eapgp.study.plan import Execution, make_study
    from eapgp.study.sweep import sweep

    file, model = tmp_path / "pairs.json", str(tiny_folder(SHAPE))
    file.write_text(json.dumps(rows(PAIR, LONG)))
    study = {
        "name": "starts",
        "models": [{"name": model, "skip_unusable": True, "vary": {"bos": ["own", "none"]}}],
        "tasks": [{"name": "own", "prompts": str(file)}],
        "methods": ["eap", {"name": "eap-ig", "vary": {"steps": [1, 2], "bos": ["w50"]}}],
        "evaluations": [{"sizes": [5]}],
    }
    plan = make_study(study)
    asked = [(cell.spec.method, cell.spec.options.get("steps"), cell.spec.bos) for cell in plan.cells]
    assert asked == [("eap", None, "own"), ("eap", None, "none"), ("eap-ig", 1, "w50"), ("eap-ig", 2, "w50")]
    result = sweep(plan, library, folder=tmp_path / "out", execution=Execution("in-process"))
    table = result.table
    assert set(table["status"]) == {"done"} and set(table["n_pairs"]) == {1}
    clean = dict(zip(table["model"], table["metric_clean"], strict=True))
    assert len(clean) == 3, "runs that differ in the start token are never averaged"
    for words, before in (("the tokenizer's start token", [0]), ("no start token", []), ("start token w50", [50])):
        assert clean[f"{model}, {words}, only pairs that fit"] == pytest.approx(by_hand(before)[0], rel=1e-4)


def test_runs_that_differ_in_how_prompts_are_put_say_so(library: RunLibrary) -> None:
    from eapgp.runs.info import differences, prompt_conditions

    usual, bare = (compute_run(spec(**way), library=library) for way in ({}, {"bos": "none"}))
    assert differences([usual.request, bare.request]) == ["start token or chat template"]
    assert prompt_conditions(usual.spec) == ()
    assert prompt_conditions(bare.spec) == ("no start token",)
    words = prompt_conditions(spec(chat=True, answers="first-token", only_correct=True, tokenizer="x/y"))
    assert words == ("tokenizer x/y", "chat template", "first token of the answers", "only pairs it gets right")
