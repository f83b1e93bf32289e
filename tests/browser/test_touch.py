"""By touch on a phone: two boxes, pause and carry on, the timeline."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import DEMO, SCREENS, SLOW, Server, visit
from tests.browser.test_page import CUP, ask

OTHER = (400.0, 150.0, 80.0, 80.0)
ROUNDS = 2
"""The demo clip to and fro: long enough to be paused."""


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mixformerv2.video import VideoWriter, open_source

    path = tmp_path_factory.mktemp("clips") / "long.mp4"
    with open_source(DEMO) as source:
        pictures, rate = [frame.image for frame in source], source.fps
    with VideoWriter(path, fps=rate) as writer:
        for turn in range(ROUNDS):
            for picture in pictures[:: -1 if turn % 2 else 1]:
                writer.write(picture)
    return path


@pytest.fixture
def phone(browser: Browser, server: Server) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.set_default_timeout(SLOW)
    visit(page, server)
    yield page
    context.close()


def swipe(page: Page, box: tuple[float, float, float, float], width: int = 640) -> None:
    """Draw a box, in pixels of the video, with a finger."""
    page.locator("#view").scroll_into_view_if_needed()
    view = page.locator("#view").bounding_box()
    assert view is not None
    scale = view["width"] / width
    x, y, w, h = (value * scale for value in box)
    finger = page.context.new_cdp_session(page)
    for kind, part in (("touchStart", 0.0), ("touchMove", 0.5), ("touchMove", 1.0)):
        point = {"x": view["x"] + x + part * w, "y": view["y"] + y + part * h}
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    finger.detach()


def test_two_boxes_by_touch_pause_and_carry_on(phone: Page, long_clip: Path) -> None:
    page = phone
    page.set_input_files("#file", str(long_clip))
    expect(page.locator("#play")).to_be_enabled(timeout=SLOW)
    for count, box in enumerate((CUP, OTHER), 1):
        swipe(page, box)
        expect(page.locator("#objects .object")).to_have_count(count, timeout=SLOW)
    address, _, job = page.url.partition("/#job=")
    place = f"{address}/api/jobs/{job}"
    drawn = [one["prompts"][0]["box"] for one in ask(place)["objects"]]
    assert drawn[0] == pytest.approx(CUP, abs=2.0)  # a phone's pixel is 1.6 of the video's
    assert drawn[1] == pytest.approx(OTHER, abs=2.0)

    button = page.locator("#track")
    button.tap()
    expect(button).to_have_text("Pause", timeout=SLOW)
    expect(page.locator("#objects .object").first).to_contain_text("tracked", timeout=SLOW)
    button.tap()
    expect(button).to_have_text("Carry on", timeout=SLOW)
    assert ask(place)["pending"] > 0
    button.tap()
    expect(button).to_have_text("✓ All tracked", timeout=SLOW)
    found = ask(f"{place}/results")["objects"]
    assert [len(one["rows"]) for one in found] == [400, 400]
    assert all(None not in one["rows"] for one in found)

    timeline = page.locator("#timeline")
    timeline.scroll_into_view_if_needed()
    edge = timeline.bounding_box()
    assert edge is not None
    page.touchscreen.tap(edge["x"] + edge["width"] / 2, edge["y"] + edge["height"] / 2)
    middle = re.compile("^(19[0-9]|20[0-9]|210)$")
    expect(timeline).to_have_attribute("aria-valuenow", middle, timeout=SLOW)
    page.screenshot(path=SCREENS / "touch.png")
