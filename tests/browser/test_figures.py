"""Figures in a real browser: hostile text stays text, hovering names the right cell, nothing loads from elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from eapgp.attribution.result import EdgeScores
from eapgp.figures import direct, heatmap
from eapgp.graph import Graph

EVIL = ["<img src=x onerror=window.hit=1>", "<a href='javascript:window.hit=1'>x</a>", "&lt;b&gt;", "$x^2$", "%{y}"]


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A blank page of the session's browser."""
    tab = browser.new_page(viewport={"width": 900, "height": 700})
    yield tab
    tab.close()


def show(page: Any, fig: go.Figure, folder: Path) -> list[str]:
    """Open the figure as a file; returns the list that collects errors and outside requests."""
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
    file = folder / "figure.html"
    fig.write_html(file, include_plotlyjs=True, div_id="figure")
    page.goto(file.as_uri())
    page.wait_for_selector("#figure .plot-container .main-svg")
    return wrong


def hover(page: Any, row: float, column: float, expected: str) -> str:
    """Move to a data position and wait for the label that starts as expected; returns what is shown."""
    x, y = page.evaluate(
        """([row, column]) => {
            const figure = document.getElementById("figure"), box = figure.getBoundingClientRect();
            const {xaxis, yaxis} = figure._fullLayout;
            return [box.left + xaxis._offset + xaxis.d2p(column), box.top + yaxis._offset + yaxis.d2p(row)];
        }""",
        [row, column],
    )
    label = ".hoverlayer .hovertext"
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    page.wait_for_selector(label)
    with contextlib.suppress(Exception):  # a late label shows in the caller's assertion
        wanted = "([where, text]) => document.querySelector(where)?.textContent.startsWith(text)"
        page.wait_for_function(wanted, arg=[label, expected], timeout=4000)
    return str(page.text_content(label))


def test_hostile_tokens_are_drawn_as_text(page: Any, tmp_path: Path) -> None:
    rows = [(token, 5.0 - place) for place, token in enumerate(EVIL)]
    wrong = show(page, direct.token_bars(rows, title="tokens"), tmp_path)
    ticks = page.eval_on_selector_all("#figure .ytick text", "all => all.map(one => one.textContent)")
    assert ticks == [EVIL[0][:15] + "…", EVIL[1][:15] + "…", *EVIL[2:]]
    assert hover(page, 0, 2.0, EVIL[0]).startswith(EVIL[0])
    assert (
        page.evaluate("document.querySelectorAll('#figure img, #figure a[href*=javascript], #figure script').length")
        == 0
    )
    assert page.evaluate("window.hit") is None
    assert wrong == []


def test_hovering_names_the_edge_under_the_pointer(page: Any, tmp_path: Path) -> None:
    """Every cell of a block, its middle (where the block's label stands) included."""
    graph = Graph(4, 4)
    values = np.where(graph.mask, np.arange(graph.mask.size).reshape(graph.mask.shape) / 100, 0.0)
    wrong = show(page, heatmap.score_heatmap(EdgeScores(graph, values), clickable=0), tmp_path)
    for row, column in ((0, 0), (0, 1), (0, 2), (5, 14), (0, graph.n_destinations - 1)):
        name = f"{graph.sources[row]} → {graph.destinations[column]}"
        seen = hover(page, row, column, name)
        assert seen.startswith(name), seen
        assert f"{values[row, column]:.4g}" in seen
    assert wrong == []
