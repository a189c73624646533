"""The generators: valid for GPT-2's tokenizer and the bundled one, distinct, seeded, split cleanly."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from eapgp.errors import OptionError, UnknownNameError
from eapgp.prompts import TokenizerOnly, encode
from eapgp.tasks import TASKS, make_prompts
from eapgp.tasks.words import CAPITALS, KINDS, NAMES, VERBS
from tools.training.vocabulary import UNKNOWN, build_tokenizer

N = 400
VARIANTS = [*((name, {}) for name in TASKS), ("ioi", {"corruption": "hard"})]
IDS = [f"{name}{'-hard' if options else ''}" for name, options in VARIANTS]


@pytest.fixture(scope="module")
def gpt2(shared: Path):
    """GPT-2's real tokenizer."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    folder = shared / "data" / "gpt2-tokenizer"
    tokenizer = Tokenizer(BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>"
    )


@pytest.fixture(scope="module")
def words():
    """The bundled model's tokenizer, built from the tasks."""
    return build_tokenizer()


@pytest.mark.parametrize(("task", "options"), VARIANTS, ids=IDS)
@pytest.mark.parametrize("which", ["gpt2", "words"])
def test_every_pair_encodes(task, options, which, request):
    tokenizer = request.getfixturevalue(which)
    prompts = make_prompts(task, N, seed=11, **options)
    encoded = encode(prompts, TokenizerOnly(tokenizer))  # raises on unequal lengths and long answers
    for i, pair in enumerate(prompts):
        clean = encoded.clean[i, 1 : encoded.lengths[i]]
        assert tokenizer.decode(clean) == pair.clean
        assert encoded.clean[i, 0] == tokenizer.bos_token_id
        assert [tokenizer.decode([a]) for a in encoded.correct[i]] == list(pair.correct)
        assert not set(encoded.correct[i]) & set(encoded.incorrect[i])
        if (which, task) == ("gpt2", "greater-than"):
            continue  # GPT-2 may join the two halves of a year (" 1367"); the task asks for the second half
        # Right answers must be continuations as the tokenizer would write them.
        whole = tokenizer(pair.clean + str(pair.correct[-1]), add_special_tokens=False)["input_ids"]
        assert whole == [*clean, encoded.correct[i][-1]]


@pytest.mark.parametrize(("task", "options"), VARIANTS, ids=IDS)
def test_pairs_are_distinct_and_well_formed(task, options):
    prompts = make_prompts(task, N, seed=3, **options)
    assert len({(pair.clean, pair.corrupted) for pair in prompts}) == N
    for pair in prompts:
        assert pair.clean != pair.corrupted
        for text in (pair.clean, pair.corrupted):
            assert re.match(r"[A-Z]", text) and text == text.strip() and "  " not in text and "{" not in text
        answers = (*pair.correct, *pair.incorrect)
        assert all(re.fullmatch(r"\d\d" if task == "greater-than" else r" [A-Za-z]+", str(a)) for a in answers)


@pytest.mark.parametrize("task", TASKS)
def test_equal_seeds_give_equal_pairs_and_a_prefix(task):
    many = make_prompts(task, 60, seed=5)
    assert make_prompts(task, 60, seed=5).hash == many.hash
    assert make_prompts(task, 20, seed=5).pairs == many.pairs[:20]
    assert make_prompts(task, 60, seed=6).hash != many.hash


@pytest.mark.parametrize(("task", "options"), VARIANTS, ids=IDS)
def test_no_test_prompt_is_a_training_prompt(task, options):
    train = {text for p in make_prompts(task, 4000, split="train", **options) for text in (p.clean, p.corrupted)}
    test = {text for p in make_prompts(task, 500, split="test", **options) for text in (p.clean, p.corrupted)}
    assert len(test) > 60
    assert not train & test


def test_held_out_names_never_meet_in_training():
    def couples(split, n):
        prompts = make_prompts("ioi", n, split=split)
        return {frozenset(w for w in re.findall(r"[A-Z][a-z]+", p.clean[4:]) if w in NAMES) for p in prompts}

    train, test = couples("train", 20_000), couples("test", 6_000)
    assert all(len(couple) == 2 for couple in train | test)
    assert not train & test
    assert len(train) + len(test) == len(NAMES) * (len(NAMES) - 1) // 2


@pytest.mark.parametrize("task", TASKS)
def test_the_maximum_exists_and_one_more_is_an_error(task):
    with pytest.raises(OptionError, match="distinct ones exist") as raised:
        make_prompts(task, 10**7, split="test")
    most = int(re.search(r"at most ([\d,]+)", str(raised.value)).group(1).replace(",", ""))
    assert most >= 500
    with pytest.raises(OptionError):
        make_prompts(task, most + 1, split="test")
    if most < 6000:
        pairs = make_prompts(task, most, split="test")
        assert len({(p.clean, p.corrupted) for p in pairs}) == most


def test_all_is_train_and_test_together():
    def texts(split, n):
        return {(p.clean, p.corrupted) for p in make_prompts("country-capital", n, split=split)}

    train, test = texts("train", 9920), texts("test", 560)
    assert texts("all", 10_480) == train | test


def test_ioi_corruptions():
    for third, hard in zip(
        make_prompts("ioi", 50, seed=1), make_prompts("ioi", 50, seed=1, corruption="hard"), strict=True
    ):
        assert third.clean == hard.clean and third.correct == hard.correct
        receiver, giver = third.correct[0].strip(), third.incorrect[0].strip()
        count = {name: len(re.findall(rf"\b{name}\b", hard.corrupted)) for name in (receiver, giver)}
        assert count == {receiver: 2, giver: 1}
        assert len(re.findall(rf"\b{giver}\b", third.clean)) == 2
        names = [w for w in re.findall(r"[A-Z][a-z]+", third.corrupted) if w in NAMES]
        assert len(names) == len(set(names)) == 3


def test_greater_than_answers_split_at_the_start_year():
    for pair in make_prompts("greater-than", 100, seed=2):
        century, start = re.search(r"(\d\d)(\d\d)", pair.clean).groups()
        assert pair.clean.endswith(f" {century}") and pair.corrupted == pair.clean.replace(start, "01", 1).replace(
            f"{century}{start}", f"{century}01"
        )
        assert [int(a) for a in pair.correct] == list(range(int(start) + 1, 100))
        assert [int(a) for a in pair.incorrect] == list(range(int(start) + 1))


def test_agreement_flips_only_the_number():
    singular = {f" {a}" for a, _ in VERBS}
    for pair in make_prompts("sva", 100, seed=2):
        assert set(pair.correct) in (singular, {f" {b}" for _, b in VERBS})
        assert set(pair.incorrect) != set(pair.correct)
        changed = [(a, b) for a, b in zip(pair.clean.split(), pair.corrupted.split(), strict=True) if a != b]
        assert 1 <= len(changed) <= 2  # the noun, and the relative verb that agrees with it
        assert all({len(a) - len(b)} & {1, -1, 2, -2} for a, b in changed)


def test_facts_are_answered_by_the_lists():
    country = {f" {b}": a for a, b in CAPITALS}
    for pair in make_prompts("country-capital", 60, seed=2):
        assert country[pair.correct[0]] in pair.clean and country[pair.incorrect[0]] in pair.corrupted
    kinds = {tuple(f" {w}" for w in answers): members for answers, members in KINDS.items()}
    for pair in make_prompts("hypernymy", 60, seed=2):
        assert any(f" {member} and other" in pair.clean for member in kinds[pair.correct])
        assert any(f" {member} and other" in pair.corrupted for member in kinds[pair.incorrect])


def test_word_lists_have_no_repetition():
    members = [word for words in KINDS.values() for word in words]
    for listed in (NAMES, CAPITALS, VERBS, members, [a for answers in KINDS for a in answers]):
        assert len(listed) == len(set(listed))


def test_no_sentence_is_a_published_one(shared):
    import csv

    published = set()
    for path in (shared / "data" / "six-tasks").glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                published |= {row[c].strip() for c in ("clean", "corrupted", "corrupted_hard") if row.get(c)}
    assert len(published) > 10_000
    for task in TASKS:
        for pair in make_prompts(task, 2000, seed=9):
            assert pair.clean not in published and pair.corrupted not in published


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_examples_and_phrases_are_in_the_vocabulary(task, words):
    from eapgp.prompts import PromptSet

    encode(PromptSet(task.name, (task.example,), task.metric), TokenizerOnly(words))
    unknown = words.convert_tokens_to_ids(UNKNOWN)
    assert all(unknown not in words(text, add_special_tokens=False)["input_ids"] for text in task.phrases())
    assert len(task.explanation) > 200 and task.title


def test_bad_arguments_are_explained():
    with pytest.raises(UnknownNameError, match="Did you mean 'ioi'"):
        make_prompts("io", 3)
    with pytest.raises(OptionError, match="at least 1; got 0"):
        make_prompts("ioi", 0)
    with pytest.raises(OptionError, match="seed"):
        make_prompts("ioi", 3, seed=-1)
    with pytest.raises(UnknownNameError, match=r"unknown split 'tset'.*Did you mean 'test'"):
        make_prompts("ioi", 3, split="tset")
    with pytest.raises(UnknownNameError, match="third-name, hard"):
        make_prompts("ioi", 3, corruption="harsh")
    with pytest.raises(OptionError, match=r"task 'ioi' has no option 'corrupt'.* Did you mean 'corruption'"):
        make_prompts("ioi", 3, corrupt="hard")
    with pytest.raises(OptionError, match="task 'sva' has no option 'corruption'"):
        make_prompts("sva", 3, corruption="hard")
