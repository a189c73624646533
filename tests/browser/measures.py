"""What the first screen of every page holds, measured in the real app, as docs/ui.md shows it.

    python -m tests.browser.measures --write docs/ui.json [--label before|after] [--base URL] [--page NAME] …

Without --base the app is started on a free port with an empty library. Each page is opened anew at both sizes of
`SIZES`, as its address in the navigation says, and measured once nothing on it is drawn or computed any more:

- visible: the share of the first figure's height that is seen without scrolling, legends and tools included. The first
  figure is the first chart, circuit, table of results or row of bars in the main part; figures that stand beside each
  other in a row are one.
- shift: cumulative layout shift as browsers count it: the largest sum of shifts within a window of at most five
  seconds, without gaps of a second, without what follows a key or a click, and without the one shift of the still empty
  main part by which Streamlit makes room for its sidebar (0.22 to 0.24).
- controls: everything on the page, above and below the fold, that a mouse or a key can work: buttons, links, inputs,
  lists, tabs, sliders, and every option of a row of choices for itself. Left out are the sidebar, the navigation, the
  bars of plotly and of tables, the boxes and lines of a circuit, and help marks, which are counted apart; onScreen:
  those above the fold.
- words: on the first screen, the sidebar and the figure's labels included.
- step: on Path, the longest of three steps of its slider, in ms, from the key to every mark being moved.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from eapgp.ui.base.routes import PAGES
from tests.browser.app_helpers import move_step, settled
from tests.browser.conftest import chromium_path, wait_ready
from tests.browser.shots import ROOT, rest, running_app

SIZES = ((1280, 720), (1366, 768))
VISIBLE, SHIFT, CONTROLS = 0.9, 0.1, 25
"""What docs/ui.md asks of a page: at least, below, at most."""

DOCUMENT, NUMBERS = ROOT / "docs" / "ui.md", ROOT / "docs" / "ui.json"
Measures = dict[str, dict[str, dict[str, float]]]  # page → size → measure → value

WATCH_SHIFTS = """
window.shifts = [];
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) {
    const what = one.sources.map((s) => { const n = s.node; const e = n?.nodeType === 1 ? n : n?.parentElement;
      return e ? `${e.tagName}.${e.closest('[class*=st-key]')?.className ?? e.className}` : '' });
    const MAIN = '[data-testid="stMain"]';
    const whole = one.sources.some(({ node }) => node?.matches?.(MAIN) || node?.querySelector?.(MAIN));
    if (!one.hadRecentInput && !whole) window.shifts.push({ at: one.startTime, value: one.value, what });
  }
}).observe({ type: "layout-shift", buffered: true });
"""

FIGURES = (
    '[data-testid="stPlotlyChart"], iframe[data-testid="stIFrame"], [data-testid="stDataFrame"], .eapgp-next, '
    ".st-key-scene-pair, .circuit-panes, .circuit-view"
)

READ = """(FIGURES) => {
  const CONTROLS = 'button, a[href], input, select, textarea, summary, [role="slider"], [role="combobox"], '
    + '[role="tab"], [role="radio"], [role="switch"], [contenteditable="true"]';
  const APART = '[data-testid="stSidebar"], [data-testid="stHeader"], [data-testid="stToolbar"], .modebar, '
    + '[data-testid="stElementToolbar"], svg, canvas, [aria-hidden="true"]';
  // Buttons with a tooltip lie in such a frame too: a help mark is one that says nothing itself.
  const isHelp = (one) => within(one, '[data-testid="stTooltipIcon"]') && !one.innerText?.trim()
    && !one.closest('[data-testid^="stBaseButton"]');
  // The arrow of a list and the steps of a number do what the field beside them does.
  const isDouble = (one) => one.tagName === 'BUTTON' && one.tabIndex < 0 && !one.getAttribute('role');
  const main = document.querySelector('[data-testid="stMain"]') ?? document.body;

  const rooms = (root) => [...root.querySelectorAll('*')].flatMap((one) =>
    one.shadowRoot ? [one.shadowRoot, ...rooms(one.shadowRoot)] : []);
  const all = (selector) => [main, ...rooms(main)].flatMap((root) => [...root.querySelectorAll(selector)]);
  const seen = (one) => {
    const box = one.getBoundingClientRect();
    return box.width > 1 && box.height > 1 && one.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  };
  const within = (one, selector) => {
    for (let at = one; at; at = at.getRootNode().host ?? null) {
      if (at.closest(selector)) return true;
    }
    return false;
  };

  // The scene figure of several panes counts as one where they share a row.
  const boxes = all(FIGURES)
    .filter((one) => seen(one) && !within(one, '[data-testid="stSidebar"], .st-key-settings-chip'))
    .map((one) => ({ one, box: one.getBoundingClientRect() }))
    .filter(({ box }) => box.height > 40 && box.width > 150)
    .sort((a, b) => a.box.top - b.box.top);
  const outer = boxes.filter(({ one }) => !boxes.some((other) => other.one !== one && other.one.contains(one)));
  const first = outer[0];
  const row = first ? outer.filter(({ box }) => Math.abs(box.top - first.box.top) < 24) : [];
  const top = Math.min(...row.map(({ box }) => box.top));
  const bottom = Math.max(...row.map(({ box }) => box.bottom));
  const header = document.querySelector('[data-testid="stHeader"]')?.getBoundingClientRect().bottom ?? 0;
  const shown = Math.max(0, Math.min(bottom, innerHeight) - Math.max(top, header));

  const names = (one) => one.getAttribute('aria-label') || one.innerText?.trim() || one.className || one.tagName;
  const worked = all(CONTROLS).filter((one) => seen(one) && !within(one, APART) && !isDouble(one));
  const inner = (one) => worked.some((other) => other !== one && other.contains(one));
  const controls = worked.filter((one) => !isHelp(one) && !inner(one));
  const help = worked.filter(isHelp).length;
  const onScreen = (one) => one.getBoundingClientRect().top < innerHeight && one.getBoundingClientRect().bottom > 0;

  let words = 0;
  for (const root of [document.body, ...rooms(document.body)]) {
    const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      const text = walk.currentNode.data.trim();
      const parent = walk.currentNode.parentElement;
      if (!text || !parent || /^(STYLE|SCRIPT)$/.test(parent.tagName) || !seen(parent)) continue;
      const range = document.createRange();
      range.selectNodeContents(walk.currentNode);
      const box = range.getBoundingClientRect();
      const some = text.split(/\\s+/).filter((word) => /\\p{L}|\\d/u.test(word));
      if (box.top < innerHeight && box.bottom > 0) words += some.length;
    }
  }

  let shift = 0, sum = 0, begin = -1e9, last = -1e9;
  for (const one of window.shifts ?? []) {
    if (one.at - last > 1000 || one.at - begin > 5000) { sum = 0; begin = one.at; }
    last = one.at;
    sum += one.value;
    shift = Math.max(shift, sum);
  }
  return {
    measures: { visible: row.length ? shown / (bottom - top) : 0, top, height: bottom - top, shift,
                controls: controls.length, onScreen: controls.filter(onScreen).length, help, words },
    detail: { figure: first ? first.one.className : 'none',
              controls: controls.map(names), shifts: window.shifts },
  };
}"""


def addresses() -> dict[str, str]:
    """Where the navigation leads."""
    return {name: f"/{'' if place == 0 else name}" for place, (name, _, _) in enumerate(PAGES)}


def measure(browser: Browser, address: str, size: tuple[int, int]) -> tuple[dict[str, float], dict[str, Any]]:
    """The measures of one page, opened anew, and what they are made of."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]})
    try:
        context.add_init_script(WATCH_SHIFTS)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.goto(address)
        wait_ready(page)
        settled(page)
        page.locator(FIGURES).first.wait_for(state="visible")
        rest(page)
        answer = page.evaluate(READ, FIGURES)
        if page.locator(".st-key-path-step input").count():
            answer["measures"]["step"] = max(move_step(page, step) for step in (1, 2, 3))
    finally:
        context.close()
    return {name: round(value, 3) for name, value in answer["measures"].items()}, answer["detail"]


def measures(browser: Browser, base: str, pages: Iterable[str] = (), *, say: bool = False) -> Measures:
    """The measures of pages (all where none is named) at both sizes."""
    known = addresses()
    measured: Measures = {}
    for name in pages or known:
        measured[name] = {}
        for size in SIZES:
            values, detail = measure(browser, base + known[name], size)
            measured[name][f"{size[0]}×{size[1]}"] = values
            if say:
                print(name, size, values, json.dumps(detail, ensure_ascii=False)[:3000], flush=True)
    return measured


def failures(measured: Measures, *, shift: float | None = SHIFT) -> list[str]:
    """What of `VISIBLE`, `SHIFT` (None: not asked) and `CONTROLS` a page does not keep."""
    said = []
    for page, sizes in measured.items():
        for size, values in sizes.items():
            if values["visible"] < VISIBLE:
                said.append(f"{page} at {size}: {values['visible']:.0%} of the first figure is visible")
            if shift is not None and values["shift"] >= shift:
                said.append(f"{page} at {size}: layout shift {values['shift']:.2f}")
            if values["controls"] > CONTROLS:
                said.append(f"{page} at {size}: {values['controls']:.0f} controls")
    return said


def table(stored: Mapping[str, Any]) -> str:
    """Before and after, page by page, as a table in Markdown."""
    labels = [label for label in ("before", "after") if label in stored]
    heads = [f"{what} {label}" for what in _COLUMNS.values() for label in labels]
    lines = [f"| page | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for name, title, _ in PAGES:
        cells = []
        for what in _COLUMNS:
            for label in labels:
                cells.append(_cell(stored[label]["pages"].get(name, {}), what))
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


_COLUMNS = {"visible": "visible", "shift": "shift", "controls": "controls", "help": "help marks", "words": "words"}


def _cell(sizes: Mapping[str, Mapping[str, float]], what: str) -> str:
    """A measure at both sizes; once where they agree."""
    form = {"visible": "{:.0%}", "shift": "{:.2f}"}.get(what, "{:.0f}")
    said = [form.format(values[what]).replace("%", " %") for values in sizes.values()]
    return " / ".join(dict.fromkeys(said)) or "–"


def write(path: Path, label: str, measured: Measures, commit: str) -> None:
    """Keep the numbers under a label, and bring the document's table up to date."""
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    pages = {**stored.get(label, {}).get("pages", {}), **measured}
    stored[label] = {"commit": commit, "pages": pages}
    path.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if DOCUMENT.exists():
        before, _, rest_of = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest_of.partition(END)
        made = table(stored) + step_sentence(stored)
        DOCUMENT.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}", encoding="utf-8")


def step_sentence(stored: Mapping[str, Any]) -> str:
    """How long a step of Path's slider takes in the browser, where that was measured."""
    sizes = stored.get("after", {}).get("pages", {}).get("path", {}).values()
    times = [values["step"] for values in sizes if "step" in values]
    if not times:
        return ""
    shown = " and ".join(f"{time:.0f}" for time in times)
    return f"\n\nA step of Path's slider moves every mark in {shown} ms, in the browser alone (asked for: 50)."


BEGIN, END = "<!-- made by python -m tests.browser.measures -->", "<!-- end -->"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measures the first screen of every page.")
    parser.add_argument("--base", help="address of a running app; without it one is started")
    parser.add_argument("--page", action="append", default=[], choices=[name for name, _, _ in PAGES])
    parser.add_argument("--write", type=Path, help="the JSON file that keeps the numbers, docs/ui.json")
    parser.add_argument("--label", default="after", choices=["before", "after"])
    asked = parser.parse_args()
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=arguments)
        if asked.base:
            measured = measures(browser, asked.base, asked.page, say=True)
        else:
            with running_app() as base:
                measured = measures(browser, base, asked.page, say=True)
        browser.close()
    if asked.write:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
        write(asked.write, asked.label, measured, commit.stdout.strip())
    problems = failures(measured)
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
