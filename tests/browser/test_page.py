"""The whole path of a user: upload, draw, track, watch, correct, download."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import av
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DEMO, ENGINE, SCREENS, SLOW, Server, visit

CUP = (175.08, 136.59, 92.93, 86.37)
WIDTHS = {"desktop": (1360, 900), "tablet": (820, 1180), "phone": (390, 844)}

expect.set_options(timeout=SLOW)


def open_demo(page: Page) -> None:
    """Upload the demo clip and wait until every frame of it can be shown."""
    page.set_input_files("#file", str(DEMO))
    expect(page.locator("#job")).to_be_visible()
    expect(page.locator("#play")).to_be_enabled()


def drag(page: Page, box: tuple[float, float, float, float], width: int = 640) -> None:
    """Draw a box, in pixels of the video, with the mouse."""
    view = page.locator("#view").bounding_box()
    assert view is not None
    scale = view["width"] / width
    x, y, w, h = (value * scale for value in box)
    page.mouse.move(view["x"] + x, view["y"] + y)
    page.mouse.down()
    page.mouse.move(view["x"] + x + w / 2, view["y"] + y + h / 3)
    page.mouse.move(view["x"] + x + w, view["y"] + y + h)
    page.mouse.up()


def job_of(page: Page) -> dict[str, Any]:
    """The job that the page shows, as the API has it."""
    found = re.fullmatch(r"(.*)/#job=(.+)", page.url)
    assert found is not None
    return ask(f"{found[1]}/api/jobs/{found[2]}")


def ask(address: str, method: str = "GET", body: bytes | None = None) -> Any:
    request = urllib.request.Request(address, body, method=method)
    if body is not None:
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or b"null")


def track(page: Page) -> None:
    page.click("#track")
    expect(page.locator("#track")).to_have_text("✓ All tracked")


def download(page: Page, selector: str, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.click(selector)
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def show(page: Page, frame: int) -> None:
    page.fill("#frame", str(frame))
    page.press("#frame", "Enter")
    expect(page.locator("#timeline")).to_have_attribute("aria-valuenow", str(frame))


def test_upload_draw_track_correct_download(page: Page, tmp_path: Path) -> None:
    open_demo(page)
    drag(page, CUP)
    expect(page.locator("#objects .object")).to_have_count(1)
    box = job_of(page)["objects"][0]["prompts"][0]["box"]
    assert box == pytest.approx(CUP, abs=1.0)
    expect(page.locator("#object-name")).to_be_visible()  # it can be named at once
    track(page)

    # The same numbers as the command's, to the last digit.
    mine = download(page, "#downloads >> text=CSV", tmp_path)
    assert mine.name == "demo_tracked.csv"
    theirs = tmp_path / "command.csv"
    words = ["track", str(DEMO), "--box", ",".join(map(str, box)), "--engine", ENGINE]
    words += ["--boxes", str(theirs), "--quiet"]
    subprocess.run([sys.executable, "-m", "mixformerv2", *words], check=True)
    assert mine.read_bytes() == theirs.read_bytes()

    # A correction in the middle: both sides of it are tracked anew, the rest stays.
    before = rows_of(mine)
    show(page, 120)
    target = tuple(before[120][:4])
    drag(page, (target[0] + target[2] / 2, target[1] + target[3] / 2, 20, 10))  # moves it
    expect(page.locator("#track")).to_have_text("Carry on")
    prompts = job_of(page)["objects"][0]["prompts"]
    assert [one["frame"] for one in prompts] == [0, 120]
    assert prompts[1]["box"][0] == pytest.approx(target[0] + 20, abs=1.0)
    track(page)
    after = rows_of(download(page, "#downloads >> text=CSV", tmp_path))
    assert len(after) == len(before) == 200
    assert after[0] == before[0]
    assert after[120][:4] == prompts[1]["box"]
    assert after[119] != before[119]
    assert after[121] != before[121]

    # A name for the video and label tools.
    page.fill("#object-name", "red cup")
    page.press("#object-name", "Enter")
    expect(page.locator("#objects .name")).to_have_text("red cup")
    assert job_of(page)["objects"][0]["name"] == "red cup"
    every = download(page, "#downloads >> text=CVAT", tmp_path).read_text()
    page.check("#thin")
    few = download(page, "#downloads >> text=CVAT", tmp_path).read_text()
    assert 'label="red cup"' in every
    assert every.count("<box") == 200 > few.count("<box") + 50

    video = download(page, "#get-mp4", tmp_path)
    with av.open(str(video)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 200
    for name in ("JSON", "MOT", "COCO", "CVAT", "Label Studio"):
        path = download(page, f"#downloads >> text={name}", tmp_path)
        assert path.stat().st_size > 1000


def rows_of(path: Path) -> list[list[float]]:
    with path.open() as file:
        return [[float(row[c]) for c in ("x", "y", "w", "h")] for row in csv.DictReader(file)]


def test_by_keyboard_alone(page: Page) -> None:
    open_demo(page)
    page.keyboard.press("b")
    for _ in range(4):
        page.keyboard.press("Alt+ArrowLeft")
    page.keyboard.press("Alt+Shift+ArrowLeft")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator("#objects .object")).to_have_count(1)
    assert job_of(page)["objects"][0]["prompts"][0]["box"] == [200, 134, 150, 90]
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    expect(page.locator("#track")).to_have_text("✓ All tracked")
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#timeline")).to_have_attribute("aria-valuenow", "9")
    page.keyboard.press("l")
    expect(page.locator("#crops img")).to_have_count(2)
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")


def test_before_tracking_add_never_turns_the_next_box_into_a_correction(page: Page) -> None:
    open_demo(page)
    drag(page, CUP)
    page.fill("#object-name", "cup")
    page.press("#object-name", "Enter")
    expect(page.locator("#objects .name")).to_have_text("cup")
    page.click("#add")  # where each drag adds an object anyhow
    expect(page.locator("#add")).to_have_attribute("aria-pressed", "true")
    drag(page, (350, 40, 60, 50))
    expect(page.locator("#objects .object")).to_have_count(2)
    page.click("#add")
    page.click("#add")  # taken back: the next drag corrects
    drag(page, (360, 60, 60, 50))
    expect(page.locator("#objects .object")).to_have_count(2)
    assert [len(one["prompts"]) for one in job_of(page)["objects"]] == [1, 1]


def test_a_reload_finds_the_job_and_so_does_a_restart(
    page: Page, tmp_path: Path, complaints: list[str]
) -> None:
    server = Server(tmp_path / "jobs")
    try:
        visit(page, server)
        open_demo(page)
        drag(page, CUP)
        page.click("#track")
        expect(page.locator("#track")).to_have_text("Pause")
        page.reload()
        expect(page.locator("#title")).to_have_text("demo.mp4")
        expect(page.locator("#track")).to_have_text(re.compile("Pause|All tracked"))
        port = server.port
        server.stop()
        server.start(port)
        expect(page.locator("#track")).to_have_text("✓ All tracked")
        rows = ask(f"{server.address}api/jobs/{page.url.rpartition('=')[2]}/results")
        assert None not in rows["objects"][0]["rows"]
    finally:
        server.stop()
        page.goto("about:blank")
        # While the server is away each try to reach it is noted by the browser.
        complaints[:] = [one for one in complaints if "ERR_CONNECTION_REFUSED" not in one]


def test_rows_that_come_while_nobody_listens_are_fetched(page: Page) -> None:
    seen = [0]

    def connect(socket: Any) -> None:
        server = socket.connect_to_server()

        def pass_on(message: str) -> None:
            of_rows = '"rows"' in message
            seen[0] += of_rows
            if of_rows and seen[0] == 2:  # a fast machine tells of 200 frames in few messages
                socket.close()  # and it is lost with the connection
            else:
                socket.send(message)

        server.on_message(pass_on)

    page.route_web_socket("**/events", connect)
    open_demo(page)
    drag(page, CUP)
    expect(page.locator("#objects .object")).to_have_count(1)
    track(page)
    assert seen[0] >= 2
    missing = "import('/page/state.js').then(({ state }) => state.rows.get(1).includes(null))"
    assert page.evaluate(missing) is False


def test_a_box_that_is_drawn_while_another_is_saved_is_kept(page: Page) -> None:
    open_demo(page)
    held: list[Any] = []
    page.route("**/prompts/*", lambda route: held.append(route))
    drag(page, CUP)
    drag(page, (400, 40, 60, 70))
    page.wait_for_timeout(200)
    assert len(held) == 1
    held[0].continue_()
    expect(page.locator("#objects .object")).to_have_count(1)
    page.wait_for_timeout(200)
    held[1].continue_()
    expect(page.locator("#objects .object")).to_have_count(2)
    found = [one["prompts"][0]["box"] for one in job_of(page)["objects"]]
    assert found == [pytest.approx(CUP, abs=1.0), pytest.approx((400, 40, 60, 70), abs=1.0)]


def test_a_wish_to_leave_out_earlier_frames_outlives_the_next_box(page: Page) -> None:
    open_demo(page)
    show(page, 190)
    page.uncheck("#backward")
    drag(page, CUP)
    expect(page.locator("#objects .object")).to_have_count(1)
    expect(page.locator("#backward")).not_to_be_checked()
    track(page)
    expect(page.locator("#backward")).not_to_be_checked()
    job = job_of(page)
    assert (job["backward"], job["pending"]) == (False, 0)


def test_a_job_that_comes_late_is_not_shown_to_who_has_gone_elsewhere(page: Page) -> None:
    open_demo(page)
    held: list[Any] = []
    page.route("**/api/jobs/*", lambda route: held.append(route))
    there = page.url
    page.click("#home")
    expect(page.locator("#start")).to_be_visible()
    page.evaluate("address => { location.href = address }", there)
    page.wait_for_timeout(200)
    page.click("#home")
    expect(page.locator("#start")).to_be_visible()
    (late,) = held
    late.continue_()
    page.wait_for_timeout(500)
    expect(page.locator("#start")).to_be_visible()
    expect(page.locator("#job")).to_be_hidden()


@pytest.mark.parametrize("name", WIDTHS)
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_it_fits_and_can_be_read(page: Page, name: str, theme: str) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    width, height = WIDTHS[name]
    page.set_viewport_size({"width": width, "height": height})
    page.screenshot(path=SCREENS / f"start-{name}-{theme}.png")
    open_demo(page)
    drag(page, CUP)
    expect(page.locator("#objects .object")).to_have_count(1)
    page.screenshot(path=SCREENS / f"drawn-{name}-{theme}.png")
    track(page)
    show(page, 20)
    page.check("#look-on")
    expect(page.locator("#crops img")).to_have_count(2)
    page.screenshot(path=SCREENS / f"tracked-{name}-{theme}.png", full_page=True)
    # Nothing is wider than the screen, and everything that can be pressed has a name.
    box = page.locator("main").bounding_box()
    assert box is not None
    assert box["width"] <= width
    for role in ("button", "link", "checkbox", "spinbutton", "slider", "combobox"):
        for one in page.get_by_role(role).all():  # type: ignore[arg-type]
            edge = one.bounding_box()
            assert edge is None or edge["x"] + edge["width"] <= width + 1
    tree = page.locator("main").aria_snapshot()
    assert not re.search(r"- (button|link|checkbox|spinbutton|slider|combobox)\s*(:|$)", tree, re.M)


def test_the_camera_of_this_device(page: Page) -> None:
    page.click("text=Use this device's camera")
    expect(page.locator("#live-facts")).to_contain_text("there and back")  # pictures flow
    expect(page.locator("#live-veil")).to_be_hidden()
    view = page.locator("#live-view").bounding_box()
    assert view is not None
    scale = view["width"] / 640
    x, y, w, h = (value * scale for value in CUP)
    page.mouse.move(view["x"] + x, view["y"] + y)
    page.mouse.down()
    page.mouse.move(view["x"] + x + w, view["y"] + y + h)
    page.mouse.up()
    expect(page.locator("#live-objects .now")).to_have_text(re.compile(r"\d\.\d\d"))
    expect(page.locator("#live-facts")).to_contain_text("there and back")
    page.screenshot(path=SCREENS / "live.png")
    page.click("#live-stop")
    expect(page.locator("#start")).to_be_visible()


def test_it_works_while_three_others_track(page: Page, server: Server) -> None:
    others = []
    for _ in range(3):
        request = urllib.request.Request(
            f"{server.address}api/jobs?name=other", DEMO.read_bytes(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            others.append(json.loads(answer.read())["id"])
        place = f"{server.address}api/jobs/{others[-1]}"
        body = json.dumps({"box": CUP}).encode()
        ask(f"{place}/objects/1/prompts/0", "PUT", body)
        ask(f"{place}/track", "POST", b"{}")
    open_demo(page)
    drag(page, CUP)
    track(page)
    for other in others:
        place = f"{server.address}api/jobs/{other}"
        assert ask(place)["error"] is None
        ask(place, "DELETE")


def test_a_wrong_file_is_answered_with_a_sentence(
    page: Page, tmp_path: Path, complaints: list[str]
) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"#EXTM3U\nfile:///etc/passwd\n")
    page.set_input_files("#file", str(tmp_path / "clip.mp4"))
    expect(page.locator("#toast")).to_contain_text("This is not a video")
    expect(page.locator("#drop-text")).to_have_text("Drop a video here, or choose one")
    assert any("415" in one for one in complaints)  # browsers note each refusal
    complaints.clear()
