"""The head of a page: what stands in prompts is escaped, and a pair is marked where its sides differ."""

from __future__ import annotations

import html
import re

from eapgp.evaluation.answers import PairAnswers
from eapgp.prompts.pairs import PromptPair
from eapgp.ui.parts.head import pair_html, words_of


def shown(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", text))


def test_text_of_prompts_cannot_become_markup() -> None:
    bad = "<img src=x onerror=alert(1)>"
    tokens = ((bad, bad, False), (f"␣{bad}", "␣b", True))
    answers = PairAnswers(
        tokens, ((bad, 0.9, "right"),), ((bad, 0.1, "right"),), (1, 0), {"clean": (0.9, 0.0), "corrupted": (0.1, 0.0)}
    )
    drawn = pair_html(tokens, answers)
    assert "<img" not in drawn and drawn.count(html.escape(bad)) == 4
    assert "90 %" in shown(drawn) and "10 %" in shown(drawn)


def test_one_answer_is_named_and_several_are_counted() -> None:
    tokens = (("The", "The", False),)
    totals = {"clean": (0.99, 0.01), "corrupted": (0.2, 0.8)}
    rows = (("␣Mary", 0.5, "right"), ("␣John", 0.01, "wrong"))
    several = shown(pair_html(tokens, PairAnswers(tokens, rows, rows, (60, 1), totals)))
    assert "60 right" in several and "John" in several and "Mary" not in several


def test_a_pair_that_no_tokenizer_has_read_is_marked_word_by_word() -> None:
    pair = PromptPair("Mary and John", "Mary and Anne too", (" a",), (" b",))
    assert words_of(pair) == (
        ("Mary", "Mary", False),
        ("␣and", "␣and", False),
        ("␣John", "␣Anne", True),
        ("", "␣too", True),
    )
