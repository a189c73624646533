"""The Faithfulness page in a real browser, on the bundled results."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.app_helpers import LONG, open_tab, until
from tests.browser.conftest import PHONE, wait_ready


@pytest.fixture(scope="module")
def app(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The app with an empty library of its own."""
    return serve("app.py", env={"EAPGP_HOME": str(tmp_path_factory.mktemp("home"))})


def test_bundled_curves_are_there_at_once_with_areas_and_differences(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="faithfulness", query="base=0")
    plot = page.locator(".st-key-faith-curves .js-plotly-plot")
    plot.wait_for()
    shown = plot.inner_text()
    assert "EAP-IG" in shown and "50 edges shown" in shown
    page.get_by_text("A curve that reaches 1 early").wait_for()
    metrics = page.locator(".st-key-faith-readout [data-testid=stMetric]")
    assert metrics.count() == 4 and "[" in metrics.first.inner_text()
    open_tab(page, "Differences")
    page.locator(".st-key-faith-difference-0 .js-plotly-plot").wait_for()
    open_tab(page, "How it was made")
    page.get_by_text("eapgp evaluate --run").first.wait_for()
    assert "tab=made" in page.url and "base=0" in page.url
    page.locator(".st-key-field-by").get_by_text("Both").click()
    page.wait_for_url("**by=both*")
    until(page, lambda: "EAP-IG, nodes" in " ".join(plot.all_inner_texts()), seconds=LONG / 1000, what="nodes' curves")
    page.get_by_text("circuits of the best nodes with every edge between them").wait_for()
    page.get_by_text("--by nodes").first.wait_for()


def test_a_clicked_point_sets_the_size_and_explore_opens_on_it(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="faithfulness", query="base=0&k=47")
    plot = page.locator(".st-key-faith-curves .js-plotly-plot")
    plot.wait_for()
    box = plot.locator(".scatterlayer .trace .points path").nth(3).bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    until(page, lambda: "k=47" not in page.url and "k=" in page.url, what="the clicked size in the URL")
    size = page.url.split("k=")[1].split("&")[0]
    page.get_by_role("button", name="Open in Explore").click()
    until(page, lambda: "/faithfulness" not in page.url and f"k={size}" in page.url, what="Explore at that size")
    wait_ready(page)
    page.locator(".st-key-explore-circuit .edges .edge").first.wait_for(state="attached")


def test_evidence_is_measured_in_the_background_and_random_circuits_join(
    app: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(app, path="faithfulness", query="tab=evidence&k=10", size=PHONE, theme="dark")
    page.locator(".st-key-faith-minimality .js-plotly-plot").wait_for(timeout=LONG)
    page.locator(".st-key-faith-complement .js-plotly-plot").wait_for()
    page.get_by_text("Everything but the circuit still reaches").wait_for()
    open_tab(page, "One or several?")
    page.get_by_text("with 10 edges each they keep").wait_for(timeout=LONG)
    page.locator(".st-key-faith-pairs .js-plotly-plot").wait_for()
    page.locator(".st-key-faith-cluster .edges .edge").first.wait_for(state="attached")
    plot = page.locator(".st-key-faith-curves .js-plotly-plot")
    # While the figure is drawn anew, the old one can stand beside it for a moment.
    until(
        page,
        lambda: "Random circuits" in " ".join(plot.all_inner_texts()),
        seconds=LONG / 1000,
        what="the random circuits",
    )


def test_a_learned_mask_is_asked_for_and_drawn_beside_the_circuits(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="faithfulness", query="base=0&k=10&tab=reference&learn=60")
    page.get_by_role("button", name="Learn a mask").click()
    page.get_by_text(re.compile("with 10 edges .* keeps .* a learned mask")).wait_for(timeout=2 * LONG)
    plot = page.locator(".st-key-faith-reference-curves .js-plotly-plot")
    plot.wait_for()
    assert "Learned mask" in plot.inner_text() and "10 edges shown" in plot.inner_text()
    panes = page.locator(".st-key-faith-reference-panes")
    panes.locator(".edges .edge").first.wait_for(state="attached")
    page.get_by_text("A learned mask is the best circuit that is known").wait_for()
    page.locator(".st-key-field-pruned label").first.click()
    page.get_by_role("button", name="Learn a mask").wait_for()
    assert "pruned=1" in page.url


def test_a_bad_parameter_is_named(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="faithfulness", query="measure=faith&base=0")
    page.get_by_text("expected one of faithfulness, metric, accuracy, kl").wait_for()
    page.locator(".st-key-faith-curves .js-plotly-plot").wait_for()
