"""Every page at both themes by axe-core, by keyboard alone, and at the width of a phone.

axe-core comes from npm (`make npm`) and is served from this machine; without it these tests skip.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eapgp.ui.base.routes import PAGES
from tests.browser.app_helpers import LONG, settled
from tests.browser.conftest import PHONE, ROOT, wait_ready

AXE = Path(os.environ.get("AXE") or ROOT / "node_modules" / "axe-core" / "axe.min.js")
# What stays, as (rule, CSS selector, reason); a violation elsewhere, or of another rule there, fails.
KNOWN = (
    (
        "label-content-name-mismatch",
        "g.node",
        "a node is named in full (a9.h9) where the picture has room for 9.9 until it is zoomed in, and the "
        "letters q, k, v at its foot are ports, not its label",
    ),
)
ADDRESSES = {name: "" if place == 0 else name for place, (name, _, _) in enumerate(PAGES)}


@pytest.fixture(scope="module")
def app(serve: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> str:
    return serve("app.py", env={"EAPGP_HOME": str(tmp_path_factory.mktemp("home"))})


def violations(page: Any) -> list[str]:
    """Serious and critical violations on the page as it is, without those of KNOWN.

    Parts that wait for a rerun are faded by Streamlit for the time being and left out.
    """
    page.add_script_tag(path=str(AXE))
    found = page.evaluate(
        """async (known) => {
          const result = await axe.run({ exclude: ["[data-stale=true]"] }, { resultTypes: ["violations"] });
          const inside = (target) => target.flat().reduce((root, selector) => {
            const element = root?.querySelector(selector);
            return element?.shadowRoot ?? element;
          }, document);
          const fits = (target, selector) => inside(target)?.matches?.(selector);
          const excused = (rule, target) => known.some(([id, selector]) => id === rule && fits(target, selector));
          return result.violations
            .filter((violation) => ["serious", "critical"].includes(violation.impact))
            .flatMap((violation) => violation.nodes
              .filter((node) => !excused(violation.id, node.target))
              .map((node) => `${violation.id} at ${node.target}: ${node.html.slice(0, 160)}`));
        }""",
        [[rule, selector] for rule, selector, _ in KNOWN],
    )
    return list(found)


def settled_width(page: Any) -> int:
    """Width of the page's content once tables and figures have followed the window; the last one after ten seconds."""
    for _ in range(20):
        page.wait_for_timeout(500)
        wide = int(page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth"))
        if wide <= PHONE[0]:
            break
    return wide


@pytest.mark.skipif(not AXE.is_file(), reason=f"axe-core is not at {AXE}: run 'make npm', or set AXE")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page_and_a_phone_need_not_scroll_sideways(
    app: str, open_page: Callable[..., Any], theme: str
) -> None:
    page = open_page(app, path="explore", theme=theme)
    problems = []
    for name, address in ADDRESSES.items():
        page.goto(f"{app}/{address}")
        wait_ready(page)
        settled(page, jobs=False)
        problems += [f"/{name}: {line}" for line in violations(page)]
        page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        wide = settled_width(page)
        if wide > PHONE[0]:
            problems.append(f"/{name}: {wide} px wide on a phone of {PHONE[0]}")
        page.set_viewport_size({"width": 1440, "height": 900})
    assert problems == []


def test_explore_by_keyboard_alone(app: str, open_page: Callable[..., Any]) -> None:
    page = open_page(app, path="explore")
    page.locator(".st-key-explore-circuit .edges .edge").first.wait_for(state="attached", timeout=LONG)
    settled(page)
    focused = """() => {
      let at = document.activeElement;
      while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
      const style = getComputedStyle(at);
      const ring = style.outlineStyle !== "none" || style.boxShadow !== "none" || at.matches(":focus-visible");
      const name = at.getAttribute("aria-label") || at.innerText || at.getAttribute("title") || "";
      return { name: name.trim().slice(0, 60), tag: at.tagName, ring, node: at.matches?.("g.node") ?? false };
    }"""
    wanted = {"Compare", "Number of edges, logarithmic", "Edges", "node"}
    for _ in range(90):
        page.keyboard.press("Tab")
        now = page.evaluate(focused)
        assert now["ring"] or now["tag"] == "BODY", f"focus is not visible on {now}"
        wanted -= {name for name in wanted if now["name"].endswith(name)}  # an icon's name may stand before
        if now["node"]:
            wanted -= {"node"}
            page.keyboard.press("Enter")
            page.wait_for_url("**sel=*")
            wait_ready(page)
            break
    page.keyboard.press("Escape")
    assert wanted <= {"Edges"}, f"not reached by Tab: {sorted(wanted)}"
