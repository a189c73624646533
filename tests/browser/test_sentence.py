"""Your own sentence: answers as one types, a twin by clicks, the circuit of one pair, and a task made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from tests.browser.app_helpers import LONG, pick, settled, until
from tests.browser.conftest import PHONE


@pytest.fixture(scope="module")
def app(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return serve("app.py", env={"EAPGP_HOME": str(tmp_path_factory.mktemp("home"))})


def first_answer(page: Any) -> str:
    return str(page.locator(".eapgp-next div span").first.inner_text())


def linked(page: Any, name: str, usual: str) -> str:
    """A field's value as the page's link has it."""
    return parse_qs(urlparse(page.url).query).get(name, [usual])[0]


def type_sentence(page: Any, text: str) -> None:
    page.locator(".st-key-field-says input").fill(text)


def test_answers_follow_the_typing_and_a_twin_takes_two_clicks(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="sentence")
    page.locator(".eapgp-next").wait_for(timeout=LONG)
    assert first_answer(page) == "Mary"
    type_sentence(page, "My sister has never been to Lisbon, the capital of")
    until(page, lambda: first_answer(page) == "Portugal", what="the answer to what was typed")
    page.get_by_text("Choose the word that decides the answer").wait_for()
    page.locator(".st-key-field-at").get_by_text("Lisbon", exact=True).click()
    pick(page, "word", "Paris", exact=True)
    page.locator(".eapgp-pair .differs").filter(has_text="Paris").wait_for()
    assert "France" in page.locator(".eapgp-pair .eapgp-side").nth(1).inner_text()
    settled(page)
    again = open_page(app, path=page.url.removeprefix(app).lstrip("/"))
    again.locator(".eapgp-pair .differs").filter(has_text="Paris").wait_for(timeout=LONG)


def test_a_word_that_stands_there_twice_is_exchanged_where_it_was_clicked(
    app: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(app, path="sentence")
    page.locator(".eapgp-next").wait_for(timeout=LONG)
    pills = page.locator(".st-key-field-at [role=radio]")
    until(page, lambda: pills.count() > 10, what="the words")
    names = [name.strip("\u200b") for name in pills.all_inner_texts()]
    johns = [place for place, name in enumerate(names) if name == "John"]
    assert len(johns) == 2
    for place in johns:  # the second is chosen already
        pills.nth(place).click()
        until(page, lambda place=place: linked(page, "at", "10") == str(place + 1), what=f"word {place + 1}")
        until(page, lambda place=place: pills.nth(place).get_attribute("aria-checked") == "true", what="it is marked")
        assert page.locator(".st-key-field-at [aria-checked=true]").count() == 1
        settled(page)


def test_one_pair_gives_a_circuit_and_a_task(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="sentence")
    page.locator(".st-key-sentence-run button").first.click(timeout=LONG)
    page.locator(".st-key-sentence-circuit").wait_for(timeout=LONG)
    finding = page.locator(".eapgp-finding")
    until(page, lambda: "of 479 edges keep" in finding.inner_text(), what="what the circuit keeps")
    page.locator(".st-key-sentence-task button").first.click()
    page.get_by_text("32 pairs are kept").wait_for(timeout=LONG)
    page.locator(".st-key-sentence-open button").first.click()
    page.wait_for_url("**/prompts*")
    page.locator(".st-key-prompts-kept").get_by_text("sentence-task (32 own pairs)").wait_for(timeout=LONG)


def test_text_is_shown_as_text_and_the_page_fits_a_phone(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="sentence", size=PHONE, touch=True)
    page.locator(".eapgp-next").wait_for(timeout=LONG)
    type_sentence(page, "<b>Mary</b> and John")
    until(page, lambda: page.locator(".st-key-field-at").get_by_text("John", exact=True).count() > 0, what="tokens")
    settled(page)
    assert page.locator("[data-testid=stMain] b:text-is('Mary')").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
