"""The picture of the page in the documentation: two named objects of the demo clip.

    make page-picture        # in .venv-web, which has the browser's driver; needs Chromium

Starts `mixformerv2 serve` in a folder of its own, does with the mouse what a user does, and takes
the picture at the end.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

PROJECT = Path(__file__).resolve().parents[1]
DEMO = PROJECT / "src" / "mixformerv2" / "assets" / "demo.mp4"
RED, BROWN = (175.0, 136.6, 93.0, 86.4), (338.0, 208.0, 126.0, 116.0)
"""The cup in frame 0 and its double in frame 170."""
SHOWN = 157
SIZE = {"width": 1360, "height": 900}
WAIT = 120_000  # ms; frames are tracked meanwhile


@contextmanager
def serving(folder: str) -> Iterator[str]:
    """Address of a server of this folder."""
    command = [sys.executable, "-m", "mixformerv2", "serve", "--no-open", "--port", "0"]
    process = subprocess.Popen([*command, "--folder", folder], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if "the page is at " not in line:
            raise SystemExit(f"serve did not start: {line}")
        yield line.split()[-1]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def drag(page: Page, box: tuple[float, float, float, float]) -> None:
    """Draw a box, in pixels of the clip."""
    view = page.locator("#view").bounding_box()
    assert view is not None
    scale = view["width"] / 640
    x, y, w, h = (value * scale for value in box)
    page.mouse.move(view["x"] + x, view["y"] + y)
    page.mouse.down()
    page.mouse.move(view["x"] + x + w / 2, view["y"] + y + h / 3)
    page.mouse.move(view["x"] + x + w, view["y"] + y + h)
    page.mouse.up()


def show(page: Page, frame: int) -> None:
    """Go to a frame."""
    page.fill("#frame", str(frame))
    page.press("#frame", "Enter")
    page.wait_for_selector(f'#timeline[aria-valuenow="{frame}"]')


def track(page: Page) -> None:
    """Press the button and wait for the last frame."""
    page.click("#track")
    page.wait_for_selector('#track:has-text("All tracked")')


def name(page: Page, word: str) -> None:
    """Call the chosen object something."""
    page.fill("#object-name", word)
    page.press("#object-name", "Enter")
    page.wait_for_selector(f'#objects .name:has-text("{word}")')


def play(page: Page, address: str) -> None:
    """What a user does."""
    page.goto(address)
    page.locator("#offers button").first.wait_for()
    page.set_input_files("#file", str(DEMO))
    page.wait_for_selector("#play:enabled")
    drag(page, RED)
    name(page, "red cup")
    show(page, 170)
    page.click("#add")
    drag(page, BROWN)
    name(page, "its double")
    track(page)
    show(page, SHOWN)
    page.locator("#frame").blur()
    page.wait_for_timeout(1500)  # until the picture of that frame is drawn


def main() -> None:
    """Take the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "images" / "serve.jpg")
    options = parser.parse_args()
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        parser.error("Chromium is not there: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with (
        tempfile.TemporaryDirectory() as folder,
        serving(folder) as address,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="dark")
        page.set_default_timeout(WAIT)
        play(page, address)
        page.screenshot(path=options.out, type="jpeg", quality=82)
        browser.close()
    print(options.out)


if __name__ == "__main__":
    main()
