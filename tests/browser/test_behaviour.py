"""What holds on every page: shared and cancelled jobs, links, the back button, tooltips, very large graphs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eapgp.ui.base.routes import PAGES
from tests.browser.app_helpers import LONG, fill, run_button, settled, until
from tests.browser.conftest import ROOT, Server, wait_ready
from tests.large_runs import random_scores, store

SLOW = "method=exact&pairs=2000"  # a minute and more on two cores


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def app(serve: Callable[..., str], home: Path) -> str:
    return serve("app.py", env={"EAPGP_HOME": str(home)})


@pytest.fixture
def second_server(home: Path) -> Iterator[Callable[[], str]]:
    started: list[Server] = []

    def start() -> str:
        started.append(Server(ROOT / "app.py", {"EAPGP_HOME": str(home)}))
        return started[-1].url

    yield start
    for server in started:
        server.stop()


def bar_of(page: Any) -> Any:
    return page.locator(".st-key-jobs-bar")


def own_progress(page: Any) -> Any:
    return page.locator(".st-key-cancel-button button").first


def test_jobs_are_shared_queued_seen_on_every_page_and_cancelled_at_once(
    app: str, open_page: Callable[..., Any]
) -> None:
    first = open_page(app, path="explore", query=SLOW)
    run_button(first).click()
    own_progress(first).wait_for()
    first.wait_for_url("**job=run-*")
    link = first.url.split("?")[1]

    second = open_page(app, path="explore", query=link)  # the link of the first tab: the same job, no second one
    own_progress(second).wait_for()
    third = open_page(app, path="explore", query=f"{SLOW}&seed=1")
    run_button(third).click()
    third.get_by_text(re.compile("Waiting · 1 job ahead")).first.wait_for()
    bar_of(third).get_by_text("2 jobs").wait_for()

    runs = open_page(app, path="runs")
    bar_of(runs).get_by_text("2 jobs").wait_for()
    bar_of(runs).get_by_role("button", name="Cancel").last.click()  # the waiting one
    third.get_by_text("Cancelled. Press Run").wait_for()
    bar_of(runs).get_by_text("1 job", exact=True).wait_for()

    first.context.close()  # a closed tab loses nothing
    own_progress(second).wait_for()
    second.locator("[data-testid=stSidebar]").get_by_text(re.compile(r"[\d.]+ %")).first.wait_for(timeout=LONG)
    start = time.monotonic()
    own_progress(second).click()
    second.get_by_text("Cancelled. Press Run").wait_for()
    print(f"cancelled on screen after {time.monotonic() - start:.2f} s")


def test_a_result_survives_a_restart_and_its_link_opens_it(
    app: str, second_server: Callable[[], str], open_page: Callable[..., Any]
) -> None:
    page = open_page(app, path="explore", query="method=eap&pairs=5&k=40")
    run_button(page).click()
    page.get_by_text("your library").wait_for(timeout=LONG)
    link = page.url.split("?")[1]
    again = open_page(second_server(), query=link)
    again.get_by_text("your library").wait_for()
    assert run_button(again).inner_text().strip().endswith("Computed")
    again.locator(".st-key-explore-circuit .counts").get_by_text("40 selected").wait_for()


def test_back_and_forward_restore_the_view_and_settings_go_from_page_to_page(
    app: str, open_page: Callable[..., Any]
) -> None:
    def by_steps() -> None:
        page.locator(".st-key-field-by").get_by_role("combobox").click()
        page.get_by_role("option", name="Step settings", exact=True).click()

    page = open_page(app, path="explore", query="k=30")
    fill(page, "seed", "3")
    fill(page, "seed", "4")
    page.go_back()
    page.wait_for_url("**seed=3*")
    box = page.locator(".st-key-field-seed input")
    until(page, lambda: box.input_value() == "3", what="the seed of the page before")
    page.go_forward()
    page.wait_for_url("**seed=4*")
    until(page, lambda: box.input_value() == "4", what="the seed of the page after")

    page.get_by_role("link", name="Compare", exact=True).first.click()
    page.wait_for_url("**/compare*")
    wait_ready(page)
    until(page, lambda: "seed=4" in page.url, seconds=120, what="the seed in the URL of Compare")
    assert page.locator(".st-key-field-seed input").input_value() == "4"
    settled(page)
    opened = page.url
    assert "these=" not in opened  # what the page chose by itself is no entry of the history
    by_steps()
    until(page, lambda: "by=steps" in page.url, what="step settings side by side")
    settled(page)
    page.go_back()
    until(page, lambda: page.url == opened, what="Compare as it was")
    settled(page)
    by_steps()  # a run of the script that follows no button of the browser
    until(page, lambda: "by=steps" in page.url, what="step settings again")
    settled(page)
    page.go_back()
    until(page, lambda: page.url == opened, what="Compare as it was, again")
    settled(page)
    page.go_back()
    until(page, lambda: page.url != opened, what="the entry before Compare's settings")
    if "/compare" in page.url:  # the navigation may have opened it before its settings were in its address
        settled(page)
        page.go_back()
    until(page, lambda: "/compare" not in page.url, what="the page before")
    page.locator(".st-key-explore-circuit .counts").get_by_text("30 selected").wait_for()


def test_every_control_on_every_page_has_a_tooltip(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="explore")
    bare = []
    for place, (name, _, _) in enumerate(PAGES):
        page.goto(f"{app}/{'' if place == 0 else name}")
        wait_ready(page)
        settled(page, jobs=False)
        bare += [f"/{name}: {text}" for text in page.evaluate(WITHOUT_HELP)]
    assert bare == []


# A widget has help where its label carries Streamlit's help icon; a button where it lies in a tooltip's target.
WITHOUT_HELP = """() => {
  const shown = (element) => element.getBoundingClientRect().width > 0;
  const widgets = ["stSelectbox", "stNumberInput", "stTextInput", "stTextArea", "stMultiSelect", "stButtonGroup",
    "stCheckbox", "stSlider", "stFileUploader", "stRadio"];
  const bare = widgets.flatMap((id) => [...document.querySelectorAll(`[data-testid=${id}]`)])
    .filter((element) => shown(element) && !element.querySelector("[data-testid=stTooltipIcon], [aria-label^='Help']"))
    .map((element) => `${element.dataset.testid} ${element.innerText.split("\\n")[0]}`);
  const buttons = ["stButton", "stDownloadButton", "stFormSubmitButton", "stPopover", "stLinkButton"]
    .flatMap((id) => [...document.querySelectorAll(`[data-testid=${id}]`)])
    .filter((element) => shown(element) && !element.querySelector("[data-testid=stTooltipHoverTarget]"))
    .map((element) => `${element.dataset.testid} ${element.innerText.replaceAll("\\n", " ")}`);
  return [...bare, ...buttons];
}"""


def test_two_million_edges_open_and_send_only_what_is_drawn(
    app: str, home: Path, open_page: Callable[..., Any]
) -> None:
    run = store(home, random_scores(), model="gpt2-xl")
    received: list[int] = []
    page = open_page("about:blank", ready=False)
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(len(frame or ""))))
    start = time.monotonic()
    page.goto(f"{app}/?run={run.id}&k=20000")
    page.locator(".st-key-explore-circuit .edges .edge").first.wait_for(state="attached")
    print(f"2,235,025 scores: drawn after {time.monotonic() - start:.2f} s")
    settled(page)
    print(f"{sum(received) / 1e6:.2f} MB received")
    assert sum(received) < 2_000_000
    page.locator(".st-key-explore-circuit .counts").get_by_text("strongest 5,000 drawn").wait_for()
    page.get_by_text("5,000 strongest of 2,235,025 edges").wait_for()
    assert page.locator(".st-key-readout-run button").first.is_visible()  # the model is not fetched unasked
    box = page.locator(".st-key-field-edge input")
    box.fill("a47.h24->logits")
    box.press("Enter")
    page.get_by_text("1 edge fits").wait_for()
