"""Draw boxes on a frame in the local browser: one page, one answer, and the server is gone."""

from __future__ import annotations

import hmac
import html
import json
import logging
import secrets
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..errors import BoxError, FrameError, SourceError
from .browser import open_page

__all__ = ["select_boxes"]

logger = logging.getLogger(__name__)

_PAGE = Path(__file__).with_name("page") / "select.html"
_LONGEST_ANSWER = 64 << 10
_LOOPBACK = "127.0.0.1"
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; connect-src 'self'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'",
}


def select_boxes(
    image: NDArray[np.uint8], *, title: str = "video", open_browser: bool = True, port: int = 0
) -> list[Box]:
    """Show a frame in the browser and wait until boxes are drawn on it.

    The server listens on loopback alone, under an address with a random part that is printed on
    stderr: over SSH, forward its port and open it by hand. Ctrl-C ends the waiting.

    Args:
        image: `[H, W, 3]` uint8, BGR.
        title: What the page calls it.
        open_browser: Open the page at once, where there is a browser.
        port: To listen on; 0 takes a free one.

    Returns:
        At least one box, in pixels of the frame.

    Raises:
        SourceError: The port cannot be had.
    """
    selection = _Selection(image, title)
    try:
        server = _Server((_LOOPBACK, port), _Handler)
    except OSError as error:
        raise SourceError(
            f"no page can be opened on {_LOOPBACK}, port {port}: {error.strerror}; port 0 takes a "
            "free one"
        ) from error
    server.selection = selection
    address = f"http://{_LOOPBACK}:{server.server_address[1]}/{selection.token}/"
    threading.Thread(target=server.serve_forever, name="select", daemon=True).start()
    try:
        print(f"draw a box in the browser: {address}", file=sys.stderr, flush=True)  # noqa: T201
        if open_browser:
            open_page(address)
        while not selection.done.wait(0.2):
            pass
    finally:
        server.shutdown()
        server.server_close()
    return selection.boxes


class _Selection:
    """The frame, and the boxes once they came."""

    def __init__(self, image: NDArray[np.uint8], title: str) -> None:
        import cv2

        good, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        if not good:
            raise FrameError(f"a frame of shape {image.shape} cannot be shown")
        self.token = secrets.token_urlsafe(16)
        self.picture = data.tobytes()
        page = _PAGE.read_text("utf-8").replace("{{title}}", html.escape(title))
        self.page = page.encode()
        self.size = (image.shape[1], image.shape[0])
        self.boxes: list[Box] = []
        self.done = threading.Event()

    def answer(self, body: bytes) -> None:
        """Take what the page sent.

        Raises:
            BoxError: It is no list of boxes on the frame.
        """
        try:
            content = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise BoxError("the page sent no JSON") from error
        if not isinstance(content, list) or not content:
            raise BoxError("draw at least one box")
        boxes = [Box.parse(one) for one in content]
        for box in boxes:
            if box.intersect(*self.size) is None:
                raise BoxError(f"box {box.xywh} lies outside of the frame of {self.size}")
        self.boxes = boxes
        self.done.set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    selection: _Selection

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away, or a request that is none, is nothing to tell the terminal."""
        logger.debug("a request was not answered", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 30

    def do_GET(self) -> None:
        selection = self.server.selection
        match self._wanted():
            case "":
                self._send(200, "text/html; charset=utf-8", selection.page)
            case "frame.jpg":
                self._send(200, "image/jpeg", selection.picture)
            case _:
                self._send(404, "text/plain", b"not here")

    def do_POST(self) -> None:
        if self._wanted() != "boxes":
            self._send(404, "text/plain", b"not here")
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > _LONGEST_ANSWER:
            self._send(413, "text/plain", b"too long")
            return
        try:
            self.server.selection.answer(self.rfile.read(int(length)))
        except BoxError as error:
            self._send(400, "text/plain; charset=utf-8", str(error).encode())
        else:
            self._send(204, "text/plain", b"")

    def _wanted(self) -> str | None:
        """What is asked for below the secret part of the address; None without the secret."""
        # A page of another site that points its name at this machine still sends its own name.
        host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        if host not in (_LOOPBACK, "localhost"):
            return None
        _, _, path = self.path.partition("/")
        token, slash, rest = path.partition("/")
        known = hmac.compare_digest(token.encode(), self.server.selection.token.encode())
        return rest if known and slash else None

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: Any) -> None:  # noqa: A002
        pass  # the address holds the secret, and the terminal has a progress bar
