"""Sentences of one's own: what words could be, twins of equal length, and many pairs of one."""

from __future__ import annotations

import pytest

from eapgp.errors import PromptError
from eapgp.models import load_model
from eapgp.prompts import PromptPair, fit
from eapgp.tasks import sentence

TEXT = "When Mary and John went to the store, John gave a drink to"
PAIR = PromptPair(TEXT, TEXT.replace(", John", ", Paul"), (" Mary",), (" John",))


@pytest.fixture(scope="module")
def model():
    return load_model("demo")


def test_a_word_can_be_what_changes_the_answer() -> None:
    assert sentence.alternatives("teacher")[0] == "teachers", "the other number first"
    assert "France" not in sentence.alternatives("Lisbon") and "Paris" in sentence.alternatives("Lisbon")
    assert set(sentence.alternatives("nurse")) & {"engineer", "man"}
    assert "nurse" not in sentence.alternatives("secretary"), "a job is changed for one of the other gender"
    assert sentence.alternatives("colourless") == () and sentence.kind_of("colourless") == ""


def test_a_number_can_be_another_of_as_many_digits(model) -> None:
    assert sentence.alternatives("7")[:3] == ("8", "6", "9") and len(sentence.alternatives("7")) == 9
    assert sentence.alternatives("32")[:2] == ("33", "31") and "05" in sentence.alternatives("32")
    years = sentence.alternatives("1732")
    assert {"1733", "1799", "1632"} <= set(years) and all(len(one) == 4 for one in years) and "1732" not in years
    assert sentence.alternatives("three")[0] == "one" and sentence.kind_of("1732") == sentence.NUMBER
    text = "The war lasted from the year 1532 to the year 15"
    token = next(one for one in sentence.tokens_of(text, model.tokenizer) if one.text == "32")
    fits = sentence.equal_length(text, token, sentence.alternatives("32"), model.tokenizer)
    assert len(fits) > 50, "two digits are a token of this model"
    pair = PromptPair(text, text.replace("1532", "1502"), (" 40",), (" 20",))
    assert sentence.slots(pair) == {"war": "event"}, "which answers are right depends on the number"


def test_tokens_are_the_characters_they_stand_for(model) -> None:
    tokens = sentence.tokens_of(TEXT, model.tokenizer)
    assert all(TEXT[token.start : token.end] == token.text for token in tokens)
    assert [token.text for token in tokens][:3] == ["When", "Mary", "and"]
    assert sentence.replaced(TEXT, tokens[9], "Paul") == PAIR.corrupted


def test_twins_keep_every_other_token(model) -> None:
    token = sentence.tokens_of(TEXT, model.tokenizer)[9]
    words = sentence.equal_length(TEXT, token, ("Paul", "John", "nosuchword", "Anna Maria"), model.tokenizer)
    assert words == ("Paul",), "not the word itself, none that is unknown, none of two tokens"


def test_many_pairs_of_one_share_its_form(model) -> None:
    made = sentence.make_alike(PAIR, model, n=32, seed=1)
    assert len(made) == 32 and made.pairs[0] == PAIR and len(set(made.pairs)) == 32
    assert fit(made, model).usable == tuple(range(32))
    for pair in made:
        right, wrong = (answers[0].strip() for answers in (pair.correct, pair.incorrect))
        assert pair.clean.count(wrong) == 2 and pair.clean.count(right) == 1 and right != wrong
        assert pair.corrupted.count(wrong) == 1, "the repeated name is what the twin changes"
    assert made.pairs != sentence.make_alike(PAIR, model, n=32, seed=2).pairs
    assert made.pairs == sentence.make_alike(PAIR, model, n=32, seed=1).pairs


def test_a_capital_takes_its_country_along(model) -> None:
    text = "My sister has never been to Lisbon, the capital of"
    pair = PromptPair(text, text.replace("Lisbon", "Beirut"), (" Portugal",), (" Lebanon",))
    countries = dict(sentence.words.CAPITALS)
    for one in sentence.make_alike(pair, model, n=10):
        (capital,) = [word for word in countries if word in one.clean]
        assert one.correct == (f" {countries[capital]}",)


def test_a_sentence_without_a_listed_word_is_no_template(model) -> None:
    with pytest.raises(PromptError, match="word that can change"):
        sentence.make_alike(PromptPair("It is very", "It was very", (" good",), (" bad",)), model)


def test_what_the_model_would_write(model) -> None:
    from eapgp.evaluation.answers import likely_at, likely_next

    answers = likely_next(model, TEXT)
    assert answers[0][0] == "␣Mary" and answers[0][1] > 0.9
    assert [chance for _, chance, _ in answers] == sorted((chance for _, chance, _ in answers), reverse=True)
    there = dict(likely_at(model, TEXT, 9, 20))
    assert " John" in there or " Mary" in there, "a name stands where one stood"
    with pytest.raises(PromptError, match="empty"):
        likely_next(model, "  ")
