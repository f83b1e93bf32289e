"""The page that waits for a box: what it shows, what it takes, and from whom."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from queue import Queue
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from mixformerv2.box import Box
from mixformerv2.errors import SourceError
from mixformerv2.serve import select
from mixformerv2.serve.browser import open_page


class Page:
    """A run of `select_boxes` in a thread, and a browser to talk to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, title: str) -> None:
        opened: Queue[str] = Queue()
        monkeypatch.setattr(select, "open_page", opened.put)
        self.boxes: list[Box] = []
        self.image = np.zeros((48, 64, 3), np.uint8)
        self.image[:, 32:] = 200
        self.thread = threading.Thread(
            target=lambda: self.boxes.extend(select.select_boxes(self.image, title=title))
        )
        self.thread.start()
        self.address = urlsplit(opened.get(timeout=10))

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.address.port or 0, timeout=10)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            connection.close()

    def send(self, content: object) -> tuple[int, bytes]:
        path = self.address.path + "boxes"
        return self.ask("POST", path, json.dumps(content).encode())[:2]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    page = Page(monkeypatch, "<b>clip</b>.mp4")
    yield page
    if page.thread.is_alive():
        page.send([[1, 2, 3, 4]])
    page.thread.join(10)


def test_it_shows_the_frame_and_returns_the_boxes(page: Page) -> None:
    assert page.address.hostname == "127.0.0.1"
    status, body, headers = page.ask("GET", page.address.path)
    assert status == 200
    assert "&lt;b&gt;clip&lt;/b&gt;.mp4" in body.decode()
    assert "<b>clip" not in body.decode()
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    status, body, headers = page.ask("GET", page.address.path + "frame.jpg")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    shown = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert np.abs(shown.astype(int) - page.image).mean() < 4  # JPEG
    assert page.send([[1.5, 2, 30, 40], [10, 10, 5, 5]]) == (204, b"")
    page.thread.join(10)
    assert page.boxes == [(1.5, 2, 30, 40), (10, 10, 5, 5)]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "at least one"),
        ({}, "at least one"),
        ([[1, 2, 3]], "four numbers"),
        ([[1, 2, 0, 4]], "above zero"),
        ([[1, 2, "x", 4]], "four numbers"),
        ([[100, 100, 5, 5]], "outside of the frame"),
    ],
)
def test_what_is_no_box_is_answered_with_a_sentence(
    page: Page, content: object, sentence: str
) -> None:
    status, body = page.send(content)
    assert status == 400
    assert sentence in body.decode()
    assert page.thread.is_alive()  # it waits on


def test_strangers_get_nothing(page: Page) -> None:
    path = page.address.path
    for wrong in ("/", "/frame.jpg", path[:-2] + "/", path[:-1], "/" + "x" * 22 + "/boxes"):
        assert page.ask("GET", wrong)[0] == 404
        assert page.ask("POST", wrong, b"[[1, 2, 3, 4]]")[0] == 404
    assert page.ask("GET", path + "../select.py")[0] == 404
    # Another site whose name was pointed at this machine.
    assert page.ask("GET", path, Host="evil.example")[0] == 404
    assert page.ask("POST", path + "boxes", b"[[1, 2, 3, 4]]", Host="evil.example")[0] == 404
    assert page.ask("GET", path, Host="localhost:1234")[0] == 200  # a forwarded port
    assert page.thread.is_alive()


def test_a_browser_that_goes_away_is_nothing_for_the_terminal(
    page: Page, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nor is a request that is none: the terminal has a progress bar."""
    asked = threading.Event()
    whole = select._Server.shutdown_request

    def ended(self: select._Server, request: socket.socket) -> None:
        whole(self, request)
        asked.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(select._Server, "shutdown_request", ended)
        with socket.create_connection(("127.0.0.1", page.address.port or 0)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: [\r\n\r\n")
        assert asked.wait(10)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="always has a display")
@pytest.mark.parametrize(
    ("name", "opened"), [(None, 0), ("DISPLAY", 1), ("WAYLAND_DISPLAY", 1), ("BROWSER", 1)]
)
def test_no_browser_of_the_terminal_is_opened(
    name: str | None, opened: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """w3m and kin would take the terminal over, and cannot draw."""
    called: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: not called.append(address))
    for one in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(one, raising=False)
    if name is not None:
        monkeypatch.setenv(name, ":0")
    assert open_page("http://localhost/") is bool(opened)
    assert len(called) == opened


def test_a_long_answer_is_refused(page: Page) -> None:
    assert page.ask("POST", page.address.path + "boxes", b"[" * (65 << 10))[0] == 413


def test_it_listens_on_the_port_that_is_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SourceError, match=f"port {port}: Address already in use; port 0"):
            select.select_boxes(np.zeros((8, 8, 3), np.uint8), open_browser=False, port=port)
