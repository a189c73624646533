"""A short animation of Start for the README, played in the real app.

    python tests/browser/animation.py OUT.gif [--base URL]

Without --base the app is started on a free port with an empty library and stopped afterwards. A word is exchanged and
the answer falls; the circuit shrinks, and a head is taken out of it; the path is walked.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.browser.conftest import chromium_path
from tests.browser.shots import rest, running_app

SIZE, WIDTH, COLOURS = (1100, 690), 880, 96
PATIENCE = 90_000  # ms: the first circuit loads the model
LOOK, GLANCE = 2600, 900  # ms that a picture stands

Still = tuple[Image.Image, int]


def still(page: Page, milliseconds: int) -> Still:
    """What the page shows, and for how long it is looked at."""
    rest(page)
    page.mouse.move(0, 0)
    whole = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    return whole.resize((WIDTH, round(WIDTH * whole.height / whole.width)), Image.Resampling.LANCZOS), milliseconds


def scene(page: Page, base: str, number: int) -> None:
    """Open a scene and wait for its sentence."""
    page.goto(f"{base}/?scene={number}")
    page.locator(".eapgp-scene").wait_for()
    rest(page)


def steps(page: Page, place: str, key: str, times: int) -> Iterator[None]:
    """Turn a slider by the keyboard, one step each."""
    handle = page.locator(f".st-key-{place}").get_by_role("slider").first
    for _ in range(times):
        handle.press(key)
        yield


def play(page: Page, base: str) -> Iterator[Still]:
    """The story, picture by picture."""
    scene(page, base, 1)
    yield still(page, LOOK)
    page.locator(".st-key-field-swapped").get_by_text("Exchange the word").click()
    yield still(page, LOOK)
    scene(page, base, 3)
    yield still(page, LOOK)
    for _ in steps(page, "field-size", "ArrowLeft", 2):
        yield still(page, GLANCE)
    for _ in steps(page, "field-size", "ArrowRight", 2):
        yield still(page, GLANCE)
    page.get_by_text("Remove head").click()
    page.locator(".eapgp-dial").wait_for()
    yield still(page, LOOK)
    scene(page, base, 5)
    yield still(page, GLANCE)
    for _ in steps(page, "path-step", "ArrowRight", 6):
        yield still(page, GLANCE)
    scene(page, base, 6)
    yield still(page, LOOK)


def write(stills: list[Still], target: Path) -> int:
    """A GIF that repeats, in few colours that all pictures share; its size in bytes."""
    pictures, durations = zip(*stills, strict=True)
    sheet = Image.new("RGB", (pictures[0].width, sum(one.height for one in pictures)))
    for place, one in enumerate(pictures):
        sheet.paste(one, (0, place * one.height))
    palette = sheet.quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
    few = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in pictures]
    few[0].save(target, save_all=True, append_images=few[1:], duration=list(durations), loop=0, optimize=True)
    return target.stat().st_size


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="A short animation of Start.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--base", help="address of a running app; without it one is started")
    asked = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme="light")
        page.set_default_timeout(PATIENCE)
        if asked.base:
            stills = list(play(page, asked.base))
        else:
            with running_app() as base:
                stills = list(play(page, base))
        browser.close()
    print(f"{asked.out}: {len(stills)} pictures, {write(stills, asked.out) / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
