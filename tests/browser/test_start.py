"""Start: the story by keyboard and on a phone, its links, and the questions at its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from eapgp.models.packaged import is_here
from eapgp.ui.start.fields import SCENES
from eapgp.ui.start.scenes import REAL
from tests.browser.app_helpers import LONG, settled, until
from tests.browser.conftest import PHONE


@pytest.fixture(scope="module")
def app(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where the real model was not fetched."""
    home, models = (str(tmp_path_factory.mktemp(name)) for name in ("home", "models"))
    return serve("app.py", env={"EAPGP_HOME": home, "EAPGP_MODELS": models})


@pytest.fixture(scope="module")
def real_app(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    if not is_here(REAL.model):
        pytest.skip("smollm2-135m was not fetched: eapgp models get smollm2-135m")
    return serve("app.py", env={"EAPGP_HOME": str(tmp_path_factory.mktemp("home")), "EAPGP_WARM_UP": "0"})


def said(page: Any) -> Any:
    return page.locator(".eapgp-scene")


def test_arrow_keys_tell_the_story_and_the_link_knows_the_scene(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app)
    said(page).filter(has_text="William").wait_for()
    assert page.get_by_test_id("stSidebar").count() == 0 or not page.get_by_test_id("stSidebar").is_visible()
    assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('.eapgp-scene')).fontSize)") >= 24
    page.keyboard.press("ArrowRight")
    said(page).filter(has_text="479 edges").wait_for()
    page.wait_for_url("**scene=2*")
    page.keyboard.press("ArrowRight")
    said(page).filter(has_text="47 of 479 edges keep 94 % [92, 96] of the behaviour.").wait_for()
    page.keyboard.press("ArrowLeft")
    said(page).filter(has_text="Which of these matter").wait_for()


@pytest.mark.parametrize("scene", range(1, len(SCENES) + 1))
def test_a_scene_is_short_has_a_figure_and_fits_a_phone(app: str, open_page: Callable[..., Any], scene: int) -> None:
    page = open_page(app, query=f"scene={scene}", size=PHONE, touch=True)
    said(page).wait_for(timeout=LONG)
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    own = "[data-testid=stMain] :is(.eapgp-scene, [data-testid=stCaptionContainer], [data-testid=stWidgetLabel])"
    words = " ".join(page.locator(own).all_inner_texts()).split()
    assert len(words) <= 90 if scene == len(SCENES) else len(words) <= 60


def test_an_exchanged_word_changes_the_answer(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app)
    said(page).filter(has_text="99.6 %").wait_for()
    page.locator(".st-key-field-swapped").get_by_text("Exchange the word").click()
    said(page).filter(has_text="51 %").wait_for()
    page.locator(".eapgp-side").filter(has_text="after corrupted").wait_for()


def test_the_planted_scene_draws_the_circuit_that_its_sentence_counts(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, query="scene=4")
    said(page).filter(has_text="EAP finds 7 of the 8 planted edges among the 8 it keeps").wait_for(timeout=LONG)
    page.locator(".counts").get_by_text("8 edges").wait_for()
    page.locator(".edges .edge.is-missed").first.wait_for(state="attached")
    assert page.locator(".edges .edge.is-missed").count() == 1


def test_questions_are_checked_and_kept_in_the_link(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, query=f"scene={len(SCENES)}&q2=a")
    said(page).filter(has_text="1 of 3 right").wait_for()
    page.locator(".st-key-field-q1").get_by_text("moves the metric").click()
    said(page).filter(has_text="2 of 3 right").wait_for()
    until(page, lambda: "q1=b" in page.url, what="the answer in the link")


def test_an_old_link_to_explore_still_leads_there(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, query="k=30&sel=a3.h1")
    page.wait_for_url("**/explore?**")
    assert "k=30" in page.url and "sel=a3.h1" in page.url
    page.locator(".st-key-readout").wait_for()


def test_the_story_is_the_real_model_s_where_it_is_at_hand(real_app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(real_app)
    said(page).filter(has_text="Ireland").wait_for(timeout=LONG)
    page.locator(".eapgp-pair .differs").filter(has_text="Dublin").wait_for()
    for scene, words in ((2, "123,211 edges"), (3, "of 123,211 edges keep"), (5, "nearer"), (6, "at this size")):
        page.goto(f"{real_app}/?scene={scene}")
        said(page).filter(has_text=words).wait_for(timeout=LONG)
    page.goto(f"{real_app}/?scene=3")
    said(page).filter(has_text="keep").wait_for(timeout=LONG)
    before = page.locator(".eapgp-dial b").inner_text()
    page.get_by_text("Remove head").click()
    until(page, lambda: page.locator(".eapgp-dial b").inner_text() != before, what="the dial without the head")
