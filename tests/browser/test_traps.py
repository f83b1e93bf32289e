"""What a new user does and the page once took for something else."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.test_page import CUP, drag, job_of, open_demo, show, track
from tests.browser.test_touch import phone  # noqa: F401

OTHER = (350.0, 40.0, 60.0, 50.0)


def press(page: Page, what: Locator, ms: int = 250) -> None:
    """A click of human length."""
    place = what.bounding_box()
    assert place is not None
    page.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    page.mouse.down()
    page.wait_for_timeout(ms)
    page.mouse.up()


def boxes(page: Page) -> list[list[list[float]]]:
    """Of each object, those given by hand."""
    return [[p["box"] for p in one["prompts"]] for one in job_of(page)["objects"]]


def test_the_first_box_can_be_changed_before_tracking(page: Page) -> None:
    open_demo(page)
    drag(page, CUP)
    expect(page.locator("#objects .object")).to_have_count(1)
    x, y, w, h = boxes(page)[0][0]
    drag(page, (x + w, y + h, 20, 10))  # its lower right corner
    expect(page.locator("#box-w")).to_have_value(f"{w + 20:g}")
    assert boxes(page)[0][0] == pytest.approx([x, y, w + 20, h + 10], abs=0.5)
    drag(page, (x + w / 2, y + h / 2, -10, 6))  # its middle
    expect(page.locator("#box-x")).not_to_have_value(f"{x:g}")
    assert boxes(page)[0][0][:2] == pytest.approx([x - 10, y + 6], abs=0.5)
    page.keyboard.press("b")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#box-x")).to_have_value(f"{x - 9:g}")
    assert len(job_of(page)["objects"]) == 1
    drag(page, OTHER)  # beside it: one more
    expect(page.locator("#objects .object")).to_have_count(2)
    page.keyboard.press("Delete")
    expect(page.locator("#objects .object")).to_have_count(1)


def test_an_object_may_begin_within_another_one(page: Page) -> None:
    open_demo(page)
    drag(page, CUP)
    expect(page.locator("#objects .object")).to_have_count(1)
    page.click("#add")
    x, y, w, h = CUP
    drag(page, (x + w / 4, y + h / 4, 20, 20))
    expect(page.locator("#objects .object")).to_have_count(2)
    drag(page, (x + 2, y + h - 2, 2, 1))  # a click into the other one chooses it
    expect(page.locator("#objects .object").first).to_have_attribute("aria-pressed", "true")
    assert len(job_of(page)["objects"]) == 2


def test_after_a_reload_a_drag_still_adds(page: Page) -> None:
    open_demo(page)
    drag(page, CUP)
    expect(page.locator("#objects .object")).to_have_count(1)
    page.reload()
    expect(page.locator("#play")).to_be_enabled()
    expect(page.locator("#objects .object")).to_have_count(1)
    show(page, 100)
    drag(page, OTHER)
    expect(page.locator("#objects .object")).to_have_count(2)
    assert [len(one) for one in boxes(page)] == [1, 1]


def test_what_is_pressed_or_typed_while_the_server_tells_of_a_job_counts(page: Page) -> None:
    open_demo(page)
    drag(page, CUP)
    drag(page, OTHER)
    expect(page.locator("#objects .object")).to_have_count(2)
    track(page)
    drag(page, (600, 5, 2, 1))  # nothing
    with page.expect_download() as waiting:
        page.click("#get-mp4")
        expect(page.locator("#progress-text")).to_contain_text("Drawing the video")
        first, second = page.locator("#objects .object").all()
        press(page, first)
        expect(first).to_have_attribute("aria-pressed", "true")
        press(page, second)
        expect(second).to_have_attribute("aria-pressed", "true")
        page.fill("#box-x", "12")
        page.click("#box-y")
        page.wait_for_timeout(400)
        expect(page.locator("#box-x")).to_have_value("12")
    assert waiting.value.suggested_filename.endswith(".mp4")


def test_results_are_not_removed_by_one_key_or_click(page: Page) -> None:
    open_demo(page)
    drag(page, CUP)
    track(page)
    show(page, 0)
    page.locator("#view").focus()
    page.keyboard.press("Delete")
    expect(page.locator("#toast")).to_contain_text("tracked in 199 frames. Press again")
    expect(page.locator("#objects .object")).to_have_count(1)
    page.wait_for_timeout(4500)
    page.click("#objects .drop-object")
    expect(page.locator("#toast")).to_contain_text("Press again to remove it")
    expect(page.locator("#objects .object")).to_have_count(1)
    page.click("#objects .drop-object")
    expect(page.locator("#objects .object")).to_have_count(0)


def test_tracking_that_is_asked_for_while_the_video_is_read_begins_then(page: Page) -> None:
    page.set_input_files("#file", "src/mixformerv2/assets/demo.mp4")
    expect(page.locator("#job")).to_be_visible()
    expect(page.locator("#view")).to_be_visible()
    page.wait_for_function("document.getElementById('hint').textContent.length > 0")
    drag(page, CUP)
    expect(page.locator("#track")).to_be_enabled()
    page.click("#track")
    drag(page, OTHER)  # another box does not take it back
    expect(page.locator("#track")).to_have_text("✓ All tracked")


def test_two_fingers_draw_nothing(phone: Page) -> None:  # noqa: F811
    page = phone
    open_demo(page)
    page.locator("#view").scroll_into_view_if_needed()
    view = page.locator("#view").bounding_box()
    assert view is not None
    finger = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        given = [
            {"x": view["x"] + x, "y": view["y"] + y, "id": n} for n, (x, y) in enumerate(points)
        ]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": given})

    touch("touchStart", (100, 60))
    touch("touchMove", (130, 80))
    touch("touchStart", (130, 80), (220, 120))
    touch("touchMove", (110, 60), (240, 140))
    touch("touchEnd", (110, 60))
    touch("touchEnd")
    page.wait_for_timeout(300)
    expect(page.locator("#objects .object")).to_have_count(0)
