"""Live streams: pictures of a client, and those of a camera of the server."""

from __future__ import annotations

import asyncio
import http.server
import json
import struct
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from mixformerv2.errors import FrameError
from mixformerv2.serve.limits import Limits
from mixformerv2.serve.live import jpeg_size
from mixformerv2.serve.sockets import _Stream
from tests.doubles import moving_square
from tests.unit.serve.web import serving, socket

SQUARE = moving_square()
BOX = [20, 40, 24, 24]


def jpeg(image: Any) -> bytes:
    return bytes(cv2.imencode(".jpg", image)[1].tobytes())


class Camera(http.server.BaseHTTPRequestHandler):
    """Sends pictures without end, as cameras on a network do."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        try:
            for number in range(2000):
                data = jpeg(SQUARE(number % 30))
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                time.sleep(0.02)
        except OSError:
            pass  # nobody looks any more

    def log_message(self, format: str, *values: Any) -> None:  # noqa: A002
        pass


@pytest.fixture(scope="module")
def camera() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/video.mjpg"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def client(
    small_bundle: Path, camera: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    limits = {"pixels": 400 * 400, "live_bytes": 100_000, "idle_seconds": 20.0}
    folder = tmp_path_factory.mktemp("jobs")
    live = [("the yard", camera)]
    settings: dict[str, Any] = {"model": str(small_bundle), "engine": "onnx", "live": live}
    with serving(folder, limits=limits, **settings) as client:
        yield client


def test_pictures_go_in_and_boxes_come_out(client: TestClient) -> None:
    with client.websocket_connect(socket("/api/live")) as live:
        ready = live.receive_json()
        assert (ready["event"], ready["model"], ready["engine"]) == ("ready", "small", "onnx fp32")
        live.send_bytes(jpeg(SQUARE(0)))
        first = live.receive_json()
        assert (first["number"], first["size"], first["objects"]) == (0, [160, 120], [])
        live.send_text(json.dumps({"id": 1, "box": BOX}))
        live.send_text(json.dumps({"id": 3, "box": [60, 40, 30, 30]}))
        live.send_bytes(jpeg(SQUARE(1)))
        second = live.receive_json()
        assert second["objects"][0] == [1, *BOX, 1.0, "tracked"]
        assert [one[0] for one in second["objects"]] == [1, 3]
        live.send_bytes(jpeg(SQUARE(2)))
        third = live.receive_json()
        assert third["number"] == 2
        assert [one[0] for one in third["objects"]] == [1, 3]
        assert third["objects"][0][1:5] != BOX
        live.send_text(json.dumps({"id": 3}))
        live.send_bytes(jpeg(SQUARE(3)))
        assert [one[0] for one in live.receive_json()["objects"]] == [1]
    for _ in range(200):  # the place of the stream is free again
        if client.app.state.streams == 0:  # type: ignore[attr-defined]
            break
        time.sleep(0.05)
    assert client.app.state.streams == 0  # type: ignore[attr-defined]


def test_a_box_that_is_forgotten_before_the_next_picture_is_not_followed(
    client: TestClient,
) -> None:
    with client.websocket_connect(socket("/api/live")) as live:
        live.receive_json()
        live.send_text(json.dumps({"id": 1, "box": BOX}))
        live.send_text(json.dumps({"id": 1}))
        live.send_bytes(jpeg(SQUARE(0)))
        assert live.receive_json()["objects"] == []


def test_a_box_outside_of_the_picture_ends_nothing(client: TestClient) -> None:
    with client.websocket_connect(socket("/api/live")) as live:
        live.receive_json()
        live.send_text(json.dumps({"box": [1000, 1000, 5, 5]}))
        live.send_bytes(jpeg(SQUARE(0)))
        assert "outside" in live.receive_json()["sentence"]
        assert live.receive_json()["objects"] == []


def huge() -> bytes:
    """A small JPEG whose header promises a picture of 65000 x 65000."""
    data = bytearray(jpeg(np.zeros((16, 16, 3), np.uint8)))
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", 65000, 65000)
    return bytes(data)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"not a picture", "JPEG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "JPEG"),
        (huge(), "65000 x 65000"),
        (jpeg(SQUARE(0))[:200], ""),
        (b"\xff\xd8" + bytes(100_000), "bytes"),
        ("no order", "send {"),
        ("[1]", "send {"),
        ('{"id": 1e9, "box": [1, 2, 3, 4]}', "send {"),
        ('{"id": 1, "box": [1, 2, "NaN", 4]}', "send {"),
        ("[" * 50_000, "send {"),
        ('{"id": 1, "box": [' + "9" * 400 + ", 2, 3, 4]}", "send {"),
    ],
)
def test_what_is_no_picture_ends_the_stream_with_a_reason(
    client: TestClient, sent: bytes | str, words: str
) -> None:
    with client.websocket_connect(socket("/api/live")) as live:
        live.receive_json()
        if isinstance(sent, bytes):
            live.send_bytes(sent)
        else:
            live.send_text(sent)
        with pytest.raises(WebSocketDisconnect) as ended:
            _ = [live.receive_json() for _ in range(9)]
        assert words in ended.value.reason


def test_a_camera_of_the_server(client: TestClient) -> None:
    assert client.get("/api/info").json()["live"] == [{"id": 0, "name": "the yard"}]
    with client.websocket_connect(socket("/api/live?source=0")) as live:
        assert live.receive_json()["event"] == "ready"
        live.send_text(json.dumps({"id": 1, "box": BOX}))
        seen: list[Any] = []
        for _ in range(200):
            data = live.receive_bytes()
            (length,) = struct.unpack(">I", data[:4])
            event = json.loads(data[4 : 4 + length])
            picture = cv2.imdecode(np.frombuffer(data[4 + length :], np.uint8), cv2.IMREAD_COLOR)
            assert picture is not None
            assert picture.shape == (120, 160, 3)
            seen += event["objects"]
            if len(seen) > 3:
                break
        assert {one[0] for one in seen} == {1}
        assert seen[0][1:5] == BOX


def test_the_size_of_a_jpeg_is_known_before_it_is_decoded() -> None:
    assert jpeg_size(jpeg(np.zeros((30, 70, 3), np.uint8))) == (70, 30)
    assert jpeg_size(huge()) == (65000, 65000)
    for wrong in (b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\x00\x00" * 3, b"GIF89a"):
        with pytest.raises(FrameError):
            jpeg_size(wrong)


class _Slow:
    """A worker whose model takes longer to load than a silent client may be silent."""

    async def send(self, event: dict[str, Any], data: bytes = b"") -> None:
        pass

    async def events(self, *, stall: float, total: float) -> AsyncIterator[tuple[Any, bytes]]:
        await asyncio.sleep(0.3)
        yield {"event": "ready"}, b""
        await asyncio.sleep(60)


class _Silent:
    """A client that sends nothing."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    async def send_json(self, event: Any) -> None:
        self.heard.append(event["event"])

    async def close(self, code: int, reason: str) -> None:
        self.heard.append(reason)


def test_silence_counts_from_when_the_model_is_there() -> None:
    store: Any = SimpleNamespace(limits=Limits(idle_seconds=0.1))
    client, worker, pool = _Silent(), _Slow(), object()
    stream = _Stream(client, worker, pool, store, None)  # type: ignore[arg-type]
    asyncio.run(asyncio.wait_for(stream.run(), 20))
    assert client.heard == ["ready", "nothing came for 0 s"]
