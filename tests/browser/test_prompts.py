"""The Prompts page in a real browser: a task's pairs, words, own pairs from anybody, and the way to Explore."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.app_helpers import LONG, open_tab, until
from tests.browser.conftest import PHONE, wait_ready

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPTED = "When Mary and John went to the store, Paul gave a drink to"


@pytest.fixture(scope="module")
def app(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The app with an empty library of its own."""
    return serve("app.py", env={"EAPGP_HOME": str(tmp_path_factory.mktemp("home"))})


def upload(page: Any, folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    page.locator(".st-key-own-upload input[type=file]").set_input_files(str(path))


def test_a_task_s_pairs_are_aligned_answered_and_looked_up_by_keyboard(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="prompts", query="pairs=8&split=test")
    page.get_by_text("8 of 8", exact=True).wait_for(timeout=LONG)
    page.locator(".st-key-prompts-readout").filter(has_text="100 %").wait_for(timeout=LONG)
    page.locator("ol.eapgp-align").wait_for()
    first = page.locator("ol.eapgp-align").inner_text()
    assert page.locator("ol.eapgp-align li.differs").count() == 1
    box = page.locator(".st-key-field-row input")
    box.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    until(page, lambda: "row=2" in page.url, what="the chosen pair in the URL")
    until(page, lambda: page.locator("ol.eapgp-align").inner_text() != first, what="the other pair's tokens")
    open_tab(page, "Is it one token?")
    word = page.locator(".st-key-field-word input")
    word.fill("Mary")
    word.press("Enter")
    page.get_by_text("instead: that is one token").wait_for(timeout=LONG)
    open_tab(page, "Metrics")
    page.get_by_text("M = Σ p(correct) − Σ p(incorrect)").wait_for()
    again = open_page(app, path="prompts", query=page.url.split("?")[1])
    again.get_by_text("M = Σ p(correct) − Σ p(incorrect)").wait_for()
    assert again.locator(".st-key-field-split input").input_value() == "Held out"


def test_own_pairs_from_anybody_are_checked_mended_and_scored(
    app: str, open_page: Callable[..., Any], tmp_path: Path
) -> None:
    page = open_page(app, path="prompts", query="source=own&tab=problems&method=eap", size=PHONE, theme="dark")
    header = "clean,corrupted,correct,incorrect\n"
    upload(page, tmp_path, "holes.csv", f'{header}"{CLEAN}","{CORRUPTED}",, John\n')
    page.get_by_text("holes.csv: row 1, column correct: an answer was expected").wait_for()
    assert page.get_by_role("button", name="Example").is_visible(), "the table is still there"
    page.reload()
    wait_ready(page)
    hostile = "<img src=x onerror='window.hurt=1'> **When** [x](javascript:hurt=1) $x$"
    rows = [(CLEAN, CORRUPTED, "Mary", " John"), (hostile, "# a", " Mary", " John")]
    rows.append((CLEAN, CORRUPTED.removesuffix(" to"), " Mary", " John"))
    upload(page, tmp_path, "mine.csv", header + "".join('"{}","{}",{},{}\n'.format(*row) for row in rows))
    page.get_by_text("None of the 3 pairs can be used").wait_for(timeout=LONG)
    page.get_by_role("button", name="Write the answers so that each is one token").click()
    page.get_by_text("1 of 3").wait_for(timeout=LONG)
    open_tab(page, "Pairs")
    box = page.locator(".st-key-field-row input")
    box.fill("3")
    box.press("Enter")
    page.get_by_text("clean has 14 tokens, corrupted has 13").wait_for()
    assert page.evaluate("window.hurt") is None
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= PHONE[0] + 1
    name = page.locator(".st-key-field-name input")
    name.fill("My pairs")
    name.press("Enter")
    wait_ready(page)
    page.get_by_role("button", name="Use this pair").click()
    until(page, lambda: "/prompts" not in page.url and "task=own-" in page.url, what="Explore with these pairs")
    page.get_by_role("heading", name="My-pairs").wait_for(timeout=LONG)
    page.locator(".st-key-explore-circuit .edges .edge").first.wait_for(state="attached")
    again = open_page(app, path="prompts", query=page.url.split("?")[1])
    again.get_by_text("My-pairs (1 own pair)").first.wait_for()


def test_a_table_of_any_columns_is_read_by_naming_them(app: str, open_page: Callable[..., Any], tmp_path: Path) -> None:
    page = open_page(app, path="prompts", query="source=own&method=eap")
    rows = "".join(
        f'{CLEAN}\t{other}\t Mary\t<b onclick="1">{i}</b>\n' for i, other in enumerate((CORRUPTED, CORRUPTED))
    )
    upload(page, tmp_path, "table.tsv", "Question\tTwin\tReply\tRemark\n" + rows)
    page.get_by_text("table.tsv: its columns are not recognised. Say which is which.").wait_for(timeout=LONG)
    for name, column in (("clean", "Question"), ("corrupted", "Twin"), ("correct", "Reply")):
        box = page.locator(f".st-key-own-column-{name} input")
        box.fill(column)
        box.press("Enter")
    page.get_by_role("button", name="Read the file so").click()
    page.get_by_text("Read so: clean = Question, corrupted = Twin, correct = Reply").wait_for(timeout=LONG)
    page.get_by_text("2 of 2", exact=True).wait_for(timeout=LONG)
    page.get_by_role("button", name="Columns", exact=True).click()
    page.get_by_text("Which column is which?").wait_for()
