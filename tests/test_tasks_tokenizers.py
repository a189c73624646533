"""Pairs that fit a tokenizer: real ones, and ones with the rules of well-known families."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eapgp.errors import OptionError, PromptError
from eapgp.models.checkpoint import byte_tokenizer
from eapgp.models.packaged import folder_of, is_here
from eapgp.prompts import TokenizerOnly, encode, fit
from eapgp.prompts.pairs import PromptPair, PromptSet
from eapgp.runs.compute import make_prompt_set
from eapgp.runs.spec import RunSpec
from eapgp.tasks import TASKS, make_prompts, posable, registry
from tools.tokenizers.families import FAMILIES, SIZE, gpt2
from tools.training.vocabulary import build_tokenizer

REAL = ("gpt2", "smollm2")
NAMES = (*REAL, *(family.name for family in FAMILIES))
THREES = "Llama 3"  # digits in groups of three: greater-than is refused
N = 64
LLAMA, QWEN = FAMILIES[0], FAMILIES[5]


@pytest.fixture(scope="module", params=NAMES)
def named(request: pytest.FixtureRequest) -> tuple[str, Any]:
    return request.param, _read(request.param, request)


def _read(name: str, request: pytest.FixtureRequest) -> Any:
    if name == "gpt2":
        return gpt2(request.getfixturevalue("shared") / "data" / "gpt2-tokenizer")
    if name == "smollm2":
        if not is_here("smollm2-135m"):
            pytest.skip("smollm2-135m is absent: 'eapgp models get smollm2-135m' fetches it")
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(str(folder_of("smollm2-135m")))
    return next(family for family in FAMILIES if family.name == name).build(SIZE)


def _tasks(name: str) -> list[str]:
    return [task for task in TASKS if (name, task) != (THREES, "greater-than")]


def _reader(tokenizer: Any) -> TokenizerOnly:
    return TokenizerOnly(tokenizer, prepend_bos=tokenizer.bos_token_id is not None)


# -- every pair fits, and there are enough -------------------------------------------------------------


def test_every_task_has_pairs_that_fit(named: tuple[str, Any]) -> None:
    name, tokenizer = named
    for task in _tasks(name):
        for options in ({}, {"corruption": "hard"}) if task == "ioi" else ({},):
            prompts = make_prompts(task, N, seed=4, tokenizer=tokenizer, **options)
            assert len({(pair.clean, pair.corrupted) for pair in prompts}) == N
            findings = fit(prompts, _reader(tokenizer))
            assert findings.usable == tuple(range(N)) and findings.remarks == (), (task, findings.problems[:1])
        assert posable(task, tokenizer) == ""


def test_what_is_answered_is_what_follows_the_prompt(named: tuple[str, Any]) -> None:
    """A right answer's id is the last one of prompt and answer written in one text."""
    name, tokenizer = named
    for task in _tasks(name):
        prompts = make_prompts(task, 24, seed=2, tokenizer=tokenizer)
        encoded = encode(prompts, _reader(tokenizer))
        for i, pair in enumerate(prompts):
            answer = encoded.correct[i][-1]
            if (name, task) in {("gpt2", "greater-than"), ("GPT-NeoX", "greater-than")}:
                assert tokenizer.decode([answer]).strip() == str(pair.correct[-1])  # some years are one token there
                continue
            whole = tokenizer(f"{pair.clean}{pair.correct[-1]}", add_special_tokens=False)["input_ids"]
            assert whole == [*tokenizer(pair.clean, add_special_tokens=False)["input_ids"], answer]


def test_the_words_that_change_stand_at_the_same_positions(named: tuple[str, Any]) -> None:
    name, tokenizer = named
    for task in _tasks(name):
        encoded = encode(make_prompts(task, N, seed=1, tokenizer=tokenizer), _reader(tokenizer))
        for clean, corrupted in zip(encoded.clean, encoded.corrupted, strict=True):
            changed = [place for place, pair in enumerate(zip(clean, corrupted, strict=True)) if pair[0] != pair[1]]
            if task == "ioi":
                assert len(changed) == 1, "one name of one token"
            elif task != "sva":  # where a verb may change too
                assert 1 <= changed[-1] - changed[0] + 1 <= 6, "the tokens of one word"


def test_equal_seeds_give_equal_pairs_and_a_prefix(named: tuple[str, Any]) -> None:
    name, tokenizer = named
    for task in _tasks(name):
        many = make_prompts(task, 150, seed=5, tokenizer=tokenizer)
        assert make_prompts(task, 150, seed=5, tokenizer=tokenizer).hash == many.hash
        assert make_prompts(task, 40, seed=5, tokenizer=tokenizer).pairs == many.pairs[:40]
        assert make_prompts(task, 40, seed=6, tokenizer=tokenizer).pairs != many.pairs[:40]


def test_a_combination_stays_in_its_split(named: tuple[str, Any]) -> None:
    """What is held out from the bundled model's training is so whatever the tokenizer."""
    _, tokenizer = named

    def couples(pairs: PromptSet) -> set[frozenset[str]]:
        return {frozenset((str(pair.correct[0]), str(pair.incorrect[0]))) for pair in pairs}

    train = couples(make_prompts("ioi", 2000, split="train"))
    test = couples(make_prompts("ioi", 300, split="test", tokenizer=tokenizer))
    assert test and not train & test


# -- years ---------------------------------------------------------------------------------------------


def test_the_next_token_decides_what_greater_than_asks(named: tuple[str, Any]) -> None:
    name, tokenizer = named
    if name == THREES:
        assert re.search(
            r"1732 is written as .*'173' \+ '2'.*digits stand in threes", posable("greater-than", tokenizer)
        )
        with pytest.raises(PromptError, match="greater-than cannot be posed"):
            make_prompts("greater-than", 1, tokenizer=tokenizer)
        return
    two = name in ("gpt2", "GPT-NeoX")
    for pair in make_prompts("greater-than", 200, seed=3, tokenizer=tokenizer):
        century, start = re.search(r"(\d\d)(\d\d)", pair.clean).groups()
        assert pair.clean.endswith(f" {century}") and f"{century}0" in pair.corrupted
        border = int(start) if two else int(start[0])
        right, wrong = ([int(answer) for answer in side] for side in (pair.correct, pair.incorrect))
        assert min(right) > border and max(right) == (99 if two else 9) and right == sorted(right)
        assert max(wrong) == (border if two else border - 1) and min(wrong) == 0
        if two:
            continue
        assert len(right) + len(wrong) == 9 and start[0] not in "09"


def test_a_number_is_continued_where_the_tokenizer_puts_a_space_in_front() -> None:
    tokenizer = LLAMA.build(SIZE)
    assert tokenizer.tokenize("3") == ["▁", "3"], "alone it is two tokens"
    pair = PromptPair("from 1732 to 17", "from 1701 to 17", ("4", "5"), ("1", "2"))
    encoded = encode(PromptSet("own", (pair,), "prob-diff"), TokenizerOnly(tokenizer))
    assert tokenizer.convert_ids_to_tokens(list(encoded.correct[0])) == ["4", "5"]
    assert fit(PromptSet("own", (pair,), "prob-diff"), TokenizerOnly(tokenizer)).remarks, (
        "own digits are still remarked"
    )


# -- the words stay where they fit, and are chosen where they do not --------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_the_bundled_models_and_gpt2s_pairs_are_those_without_a_tokenizer(task: str, request: Any) -> None:
    for tokenizer in (build_tokenizer(), _read("gpt2", request)):
        for split in ("all", "train", "test"):
            fitted = make_prompts(task, 300, seed=7, split=split, tokenizer=tokenizer)
            assert fitted.pairs == make_prompts(task, 300, seed=7, split=split).pairs
            assert fitted.origin == make_prompts(task, 300, seed=7, split=split).origin


def test_words_of_several_tokens_are_left_out() -> None:
    tokenizer = LLAMA.build(SIZE)
    pairs = make_prompts("gender-bias", 500, tokenizer=tokenizer).pairs
    jobs = {pair.note.split(" (")[0] for pair in pairs}
    everyone = {pair.note.split(" (")[0] for pair in make_prompts("gender-bias", 500).pairs}
    assert jobs < everyone
    lengths = {job: len(tokenizer.tokenize(job)) for job in everyone}
    persons = {len(tokenizer.tokenize(word)) for word in ("woman", "girl", "mother", "man", "boy", "father")}
    assert {lengths[job] for job in jobs} <= persons


def test_a_task_says_why_it_cannot_be_posed() -> None:
    letters = byte_tokenizer()
    reasons = {task: posable(task, letters) for task in TASKS}
    assert "0 of the 60 names are one token" in reasons["ioi"]
    assert "“he” and “she” are not one token each" in reasons["gender-bias"]
    assert "0 of the 40 countries are one token" in reasons["country-capital"]
    assert "none of the 32 verbs is one token in both forms" in reasons["sva"]
    assert "0 of the 18 classes have a name of one token" in reasons["hypernymy"]
    assert reasons["greater-than"] == "", "single bytes are single digits"
    for task, reason in reasons.items():
        if reason:
            with pytest.raises(PromptError) as raised:
                make_prompts(task, 5, tokenizer=letters)
            assert f"task {task} cannot be posed with this model's tokenizer: {reason}." in str(raised.value)


def test_how_many_there_are_is_said_where_they_are_too_few() -> None:
    tokenizer = LLAMA.build(SIZE)
    with pytest.raises(OptionError, match=r"with this tokenizer\). Ask for at most") as raised:
        make_prompts("country-capital", 10**6, split="test", tokenizer=tokenizer)
    most = int(re.search(r"at most ([\d,]+)", str(raised.value)).group(1).replace(",", ""))
    pairs = make_prompts("country-capital", most, split="test", tokenizer=tokenizer)
    assert len({(pair.clean, pair.corrupted) for pair in pairs}) == most == len(fit(pairs, _reader(tokenizer)).usable)


def test_a_tokenizer_that_fits_no_prompts_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name is one token, but of no two prompts has the other as many: all of a million would be tried."""
    tried: list[int] = []

    def none(prompts: PromptSet, reader: Any, **_: Any) -> Any:
        tried.append(len(prompts))
        return replace(fit(prompts, reader), usable=())

    monkeypatch.setattr(registry, "fit", none)
    tokenizer = LLAMA.build(SIZE)
    assert "no two prompts are" in posable("ioi", tokenizer)
    assert sum(tried) == registry.IN_VAIN
    with pytest.raises(PromptError, match=r"cannot be posed with this model's tokenizer: .* no two prompts are"):
        make_prompts("ioi", 5, tokenizer=tokenizer)
    assert sum(tried) == 2 * registry.IN_VAIN


def test_threads_that_share_a_tokenizer_get_the_same_pairs() -> None:
    tokenizer = LLAMA.build(SIZE)
    alone = {task: make_prompts(task, 100, tokenizer=tokenizer).hash for task in TASKS}
    with ThreadPoolExecutor(6) as pool:
        together = pool.map(lambda task: (task, make_prompts(task, 100, tokenizer=tokenizer).hash), [*TASKS] * 4)
    assert all(alone[task] == value for task, value in together)


# -- runs ------------------------------------------------------------------------------------------------


def test_a_specs_prompts_fit_its_model(tmp_path: Path) -> None:
    QWEN.build(SIZE).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    prompts = make_prompt_set(RunSpec(model=str(tmp_path), task="greater-than", n_pairs=5, seed=1))
    assert all(len(str(answer)) == 1 for pair in prompts for answer in pair.correct)
    assert prompts.pairs == make_prompts("greater-than", 5, seed=1, tokenizer=QWEN.build(SIZE)).pairs


def test_prompts_of_the_bundled_model_need_no_torch() -> None:
    code = (
        "import sys; from eapgp.runs.compute import resolve; from eapgp.runs.spec import RunSpec; resolve(RunSpec());"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
