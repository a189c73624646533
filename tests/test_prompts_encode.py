"""Texts to token ids: lengths, padding, answers, alignment, and what is said when it does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eapgp.errors import PairLengthError, PromptError
from eapgp.prompts import PromptPair, PromptSet, TokenizerOnly, align, display_tokens, encode, fit
from eapgp.prompts.prompting import ONE_TOKEN_PAIRS
from eapgp.tasks import make_prompts
from tools.training.vocabulary import build_tokenizer

GOOD = PromptPair(
    "When Mary and John went to the store, John gave a drink to",
    "When Mary and John went to the store, Paul gave a drink to",
    (" Mary",),
    (" John",),
)


@pytest.fixture(scope="module")
def words():
    return build_tokenizer()


@pytest.fixture(scope="module")
def sentencepiece(shared: Path):
    """A tokenizer that puts a space in front by itself."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(shared / "data" / "models" / "stories260K"), local_files_only=True)


def _set(*pairs, metric="logit-diff", **origin):
    return PromptSet("custom", tuple(pairs), metric, origin)


def test_padding_mask_and_take(words):
    short = PromptPair("They flew to Paris", "They flew to Rome", (" the",), (" a",))
    encoded = encode(_set(GOOD, short), TokenizerOnly(words))
    assert encoded.n == 2 and encoded.lengths.tolist() == [15, 5]
    assert encoded.clean.dtype == encoded.lengths.dtype == np.int64
    assert encoded.mask.sum(axis=1).tolist() == [15, 5] and encoded.mask[1, :5].all()
    assert (encoded.clean[:, 0] == words.bos_token_id).all()
    assert (encoded.clean[0] != encoded.corrupted[0]).nonzero()[0].tolist() == [10]
    assert encoded.clean.min() >= 0 and encoded.clean.max() < len(words)
    alone = encode(_set(short), TokenizerOnly(words))
    taken = encoded.take([1])
    np.testing.assert_array_equal(taken.clean, alone.clean)
    assert taken.correct == alone.correct and taken.lengths.tolist() == [5]
    without = encode(_set(GOOD), TokenizerOnly(words, prepend_bos=False))
    np.testing.assert_array_equal(without.clean[0], encoded.clean[0, 1:])


def test_unequal_lengths_say_which_pair_and_how_long(words):
    bad = replace(
        GOOD, corrupted="When Mary and John went to the store, Paul gave a big drink to".replace(" big", " the")
    )
    with pytest.raises(
        PairLengthError,
        match=r"^pair 2: clean has 14 tokens, corrupted has 15; patching needs equal lengths\. "
        r"Reword one prompt or drop the pair\.$",
    ):
        encode(_set(GOOD, bad), TokenizerOnly(words))


def test_advice_on_a_generated_pair_is_none_that_only_an_author_could_follow(words):
    bad = replace(
        GOOD, corrupted="When Mary and John went to the store, Paul gave a big drink to".replace(" big", " the")
    )
    drawn = replace(_set(GOOD, bad), origin={"kind": "generated", "seed": 0})
    (problem,) = fit(drawn, TokenizerOnly(words)).problems
    assert problem.reason.endswith(
        "equal lengths. The task made this pair: take another seed or task, or prompts of your own."
    )
    (own,) = fit(_set(GOOD, bad), TokenizerOnly(words)).problems
    assert own.reason.endswith("Reword one prompt or drop the pair.")


def test_answers_that_are_no_single_token(words):
    with pytest.raises(PromptError, match=r"pair 1: correct answer ' Mary John' is 2 tokens \('␣Mary', '␣John'\)"):
        encode(_set(replace(GOOD, correct=(" Mary John",))), TokenizerOnly(words))
    with pytest.raises(PromptError, match=r"'Mary' is not in this model's vocabulary.*' Mary' is one token: did you"):
        encode(_set(replace(GOOD, correct=("Mary",))), TokenizerOnly(words))
    with pytest.raises(PromptError, match=r"incorrect answer ' Zorro' is not in .*Choose a word that is one token"):
        encode(_set(replace(GOOD, incorrect=(" Zorro",))), TokenizerOnly(words))
    with pytest.raises(PromptError, match=r"no correct answer"):
        encode(_set(replace(GOOD, correct=())), TokenizerOnly(words))


def test_token_ids_are_taken_as_they_are_and_checked(words):
    by_text = encode(_set(GOOD), TokenizerOnly(words))
    ids = replace(GOOD, correct=by_text.correct[0], incorrect=by_text.incorrect[0])
    assert encode(_set(ids), TokenizerOnly(words)).correct == by_text.correct
    with pytest.raises(PromptError, match=r"pair 1: correct answer 14235 is no token id: .* 0 to 948"):
        encode(_set(replace(GOOD, correct=(14235,))), TokenizerOnly(words))
    with pytest.raises(PromptError, match=r"-1 is no token id"):
        encode(_set(replace(GOOD, correct=(-1,))), TokenizerOnly(words))


def test_overlapping_answers_are_an_error_for_a_logit_difference_only(words):
    both = replace(GOOD, correct=(" Mary", " John"))
    with pytest.raises(PromptError, match="'␣John' is both a correct and an incorrect answer"):
        encode(_set(both), TokenizerOnly(words))
    assert len(encode(_set(both, metric="prob-diff"), TokenizerOnly(words)).correct[0]) == 2


def test_repeated_answers_count_once(words):
    encoded = encode(_set(replace(GOOD, correct=(" Mary", " Paul", " Mary"))), TokenizerOnly(words))
    assert len(encoded.correct[0]) == 2


def test_unknown_words_are_named(words):
    bad = PromptPair("When Zorro and John left", "When Mary and John left", (" Mary",), (" John",))
    with pytest.raises(PromptError, match="pair 1: clean holds 'Zorro', which this model's vocabulary does not have"):
        encode(_set(bad), TokenizerOnly(words))


def test_empty_inputs(words):
    with pytest.raises(PromptError, match="no prompt pairs"):
        encode(_set(), TokenizerOnly(words))
    with pytest.raises(PromptError, match="pair 1: corrupted is empty"):
        encode(_set(replace(GOOD, corrupted="")), TokenizerOnly(words))


def test_missing_bos_is_an_error(words):
    import copy

    bare = copy.deepcopy(words)
    bare.bos_token = None
    with pytest.raises(PromptError, match="BOS token was asked for"):
        encode(_set(GOOD), TokenizerOnly(bare))
    assert encode(_set(GOOD), TokenizerOnly(bare, prepend_bos=False)).n == 1


def test_sentencepiece_takes_a_word_with_or_without_its_space(sentencepiece):
    for answer in (" She", "She"):
        pair = PromptPair("Mia liked to run.", "Max liked to run.", (answer,), (346,))
        assert encode(_set(pair), TokenizerOnly(sentencepiece)).correct == ((338,),)


def test_sentencepiece_display(sentencepiece):
    ids = sentencepiece("She ran", add_special_tokens=False)["input_ids"]
    assert "".join(display_tokens(sentencepiece, ids)) == "␣She␣ran"


def test_fit_keeps_what_can_be_encoded_and_says_why(words):
    bad = replace(GOOD, correct=(" Zorro",))
    found = fit(_set(GOOD, bad, GOOD), TokenizerOnly(words))
    assert found.usable == (0, 2) and found.remarks == ()
    assert [problem.pair for problem in found.problems] == [1]
    assert found.problems[0].message.startswith("pair 2: correct answer ' Zorro'")


def test_word_pairs_keep_those_that_are_one_token_in_both_forms(words):
    pair = PromptPair("They say the pilot", "They say the pilots", (" is", " Xs", " goes"), (" are", " be", " Xgo"))
    encoded = encode(_set(pair, metric="prob-diff", answers=ONE_TOKEN_PAIRS), TokenizerOnly(words))
    assert [words.decode([i]) for i in encoded.correct[0] + encoded.incorrect[0]] == [" is", " are"]
    with pytest.raises(PromptError):
        encode(_set(pair, metric="prob-diff"), TokenizerOnly(words))


def test_alignment_marks_the_positions_that_differ(words):
    encoded = encode(make_prompts("greater-than", 1, seed=4), TokenizerOnly(words))
    rows = align(words, encoded.clean[0], encoded.corrupted[0])
    assert len(rows) == encoded.lengths[0]
    changed = [row for row in rows if row[2]]
    assert len(changed) == 1 and changed[0][1] == "01"
    assert rows[0][0] == "<|endoftext|>" and any(token.startswith("␣") for token, _, _ in rows)
    uneven = align(words, encoded.clean[0], encoded.corrupted[0][:-1])
    assert len(uneven) == len(rows) and uneven[-1][1:] == ("", True)


def test_display_reads_bytes_beyond_ascii(shared):
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    folder = shared / "data" / "gpt2-tokenizer"
    raw = Tokenizer(BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw)
    ids = tokenizer(" déjà vu\n", add_special_tokens=False)["input_ids"]
    assert "".join(display_tokens(tokenizer, ids)) == "␣déjà␣vu⏎"


def test_hash_depends_on_texts_answers_and_order():
    a = _set(GOOD, replace(GOOD, clean="x"))
    assert a.hash == _set(GOOD, replace(GOOD, clean="x")).hash
    others = [
        _set(*reversed(a.pairs)),
        _set(GOOD, replace(GOOD, clean="y")),
        _set(GOOD, replace(GOOD, clean="x", correct=(" Paul",))),
        _set(replace(GOOD, correct=GOOD.incorrect, incorrect=GOOD.correct), replace(GOOD, clean="x")),
    ]
    assert len({a.hash, *(other.hash for other in others)}) == 5
    assert _set(replace(GOOD, correct=(5,))).hash != _set(replace(GOOD, correct=("5",))).hash
