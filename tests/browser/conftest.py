"""The page in a real browser: run by `make test-browser`, in an environment of its own.

`make test` does not look in here, because a browser is not among its packages. Where these tests
are asked for and something is missing they fail.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

if not os.environ.get("MIXFORMERV2_BROWSER"):
    collect_ignore_glob = ["test_*.py"]

PROJECT = Path(__file__).resolve().parents[2]
DEMO = PROJECT / "src" / "mixformerv2" / "assets" / "demo.mp4"
SCREENS = PROJECT / "out" / "browser"
ENGINE = "onnx"  # of page and command alike, to the last digit
SLOW = 180_000  # ms: a busy machine is no failure


def chromium() -> str:
    """The system's browser."""
    for name in ("chromium", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    pytest.fail("no Chromium found; install it, on Debian: apt-get install chromium")


class Server:
    """`mixformerv2 serve`, as a user starts it."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._words = words
        self._folder = folder
        self.start()

    def start(self, port: int = 0) -> None:
        command = [sys.executable, "-m", "mixformerv2", "serve", "--no-open", "--port", str(port)]
        command += ["--engine", ENGINE]
        self.process = subprocess.Popen(
            [*command, "--folder", str(self._folder), *self._words],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "the page is at " in line, line
        self.address = line.split()[-1]

    @property
    def port(self) -> int:
        return int(self.address.rstrip("/").rpartition(":")[2])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("jobs"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def mjpeg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo clip as the picture of Chromium's make-believe camera."""
    import cv2

    from mixformerv2.video import open_source

    path = tmp_path_factory.mktemp("camera") / "demo.mjpeg"
    with open_source(DEMO) as clip, path.open("wb") as out:
        for frame in clip:
            if frame.index == 60:  # it begins anew at its end: before the target is far away
                break
            out.write(cv2.imencode(".jpg", frame.image)[1].tobytes())
    return path


@pytest.fixture(scope="session")
def browser(mjpeg: Path) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium(),
            # Inside a container there is no sandbox to be had, and the pages are our own.
            args=["--no-sandbox", *camera, f"--use-file-for-fake-video-capture={mjpeg}"],
        )
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complains of."""
    return []


def visit(page: Page, server: Server) -> None:
    """Open the first view."""
    page.goto(server.address)
    page.locator("#offers button").first.wait_for()


@pytest.fixture
def page(browser: Browser, server: Server, complaints: list[str]) -> Iterator[Page]:
    """A page of the server; complaints of the browser and requests to elsewhere fail the test."""
    context = browser.new_context(
        viewport={"width": 1360, "height": 900}, color_scheme="dark", accept_downloads=True
    )
    page = context.new_page()
    page.set_default_timeout(SLOW)
    wrong = complaints
    page.on("pageerror", lambda error: wrong.append(str(error)))

    def heard(message: Any) -> None:
        if message.type in ("error", "warning"):
            wrong.append(f"{message.text} ({message.location['url']})")

    def asked(request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            wrong.append(f"asked for {request.url}")

    page.on("console", heard)
    page.on("request", asked)
    visit(page, server)
    yield page
    context.close()
    assert wrong == []


def pytest_configure(config: pytest.Config) -> None:
    SCREENS.mkdir(parents=True, exist_ok=True)
