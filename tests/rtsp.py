"""A camera that speaks RTSP: H.264 in RTP, inside the RTSP connection.

It runs on whether or not somebody looks, as cameras do: a client that comes back gets what is shown
then. After RFC 2326 (the methods, and 10.12 for RTP between them), RFC 3550 (RTP) and RFC 6184
(H.264 in RTP).
"""

from __future__ import annotations

import base64
import itertools
import socketserver
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from types import TracebackType

import av

from .clips import numbered

__all__ = ["Camera"]

_CLOCK = 90_000  # ticks of RTP's time stamps in a second
_LARGEST = 1400  # bytes of one RTP packet
_SPS, _PPS, _FRAGMENT = 7, 8, 28


def _units(count: int) -> list[list[bytes]]:
    """NAL units of numbered frames, each frame a key frame."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = 64, 48, "yuv420p"
    codec.time_base = Fraction(1, 25)
    codec.options = {"g": "1", "bf": "0", "tune": "zerolatency", "x264-params": "annexb=1"}
    frames = (av.VideoFrame.from_ndarray(numbered(n), format="bgr24") for n in range(count))
    packets = [p for f in frames for p in codec.encode(f.reformat(format="yuv420p"))]
    packets += codec.encode(None)
    return [
        [unit.lstrip(b"\0") for unit in bytes(p).split(b"\0\0\1") if unit.strip(b"\0")]
        for p in packets
    ]


def _payloads(unit: bytes) -> Iterator[bytes]:
    """A NAL unit whole, or in fragments (RFC 6184, 5.8)."""
    if len(unit) <= _LARGEST:
        yield unit
        return
    indicator, kind = unit[0] & 0xE0 | _FRAGMENT, unit[0] & 0x1F
    for start in range(1, len(unit), _LARGEST):
        first, last = start == 1, start + _LARGEST >= len(unit)
        yield bytes([indicator, first << 7 | last << 6 | kind]) + unit[start : start + _LARGEST]


class Camera:
    """Serves numbered frames at a steady rate and drops each client after some of them.

    Args:
        shows: Frames that each following client gets before its connection is cut; None cuts it
            before a word. Clients after those are cut as well.
        fps: Frames a second.
        silent: Do not cut after the last frame, but send nothing more until the client goes.

    Attributes:
        address: To open.
        asked: How many clients came.
    """

    FRAMES = 32
    """The picture's number is that of the camera's frame modulo this."""

    def __init__(
        self, shows: Iterable[int | None], fps: float = 25.0, silent: bool = False
    ) -> None:
        self._shows = itertools.chain(shows, itertools.repeat(None))
        self._fps = fps
        self._pictures = _units(self.FRAMES)
        self._began = time.monotonic()
        self._silent = silent
        self.asked = 0
        camera = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                camera.asked += 1
                show = next(camera._shows)
                if show is not None:
                    camera._talk(self, show)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"rtsp://127.0.0.1:{self._server.server_address[1]}/live"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self) -> Camera:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _talk(self, client: socketserver.StreamRequestHandler, show: int) -> None:
        """Answer requests until the client wants to see."""
        while request := client.rfile.readline().decode().split():
            fields = {}
            while line := client.rfile.readline().decode().strip():
                name, _, value = line.partition(":")
                fields[name.lower()] = value.strip()
            head, body = self._answer(request[0], fields)
            lines = ["RTSP/1.0 200 OK", f"CSeq: {fields['cseq']}", *head, "", body]
            client.wfile.write("\r\n".join(lines).encode())
            if request[0] == "PLAY":
                self._show(client, show)
                return

    def _answer(self, method: str, fields: dict[str, str]) -> tuple[list[str], str]:
        if method == "OPTIONS":
            return ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"], ""
        if method == "DESCRIBE":
            body = self._description()
            return ["Content-Type: application/sdp", f"Content-Length: {len(body)}"], body
        session = ["Session: 1"]
        if method == "SETUP":
            return [f"Transport: {fields['transport'].partition(',')[0]}", *session], ""
        return session, ""

    def _description(self) -> str:
        sets = [u for u in self._pictures[0] if u[0] & 0x1F in (_SPS, _PPS)]
        sprop = ",".join(base64.b64encode(unit).decode() for unit in sets)
        lines = [
            "v=0",
            "o=- 0 0 IN IP4 127.0.0.1",
            "s=camera",
            "c=IN IP4 0.0.0.0",
            "t=0 0",
            "m=video 0 RTP/AVP 96",
            f"a=rtpmap:96 H264/{_CLOCK}",
            f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sprop}",
            f"a=framerate:{self._fps:g}",
            "a=control:video",
        ]
        return "".join(f"{line}\r\n" for line in lines)

    def _show(self, client: socketserver.StreamRequestHandler, show: int) -> None:
        """Frames as they are taken, from the one after now."""
        number = int((time.monotonic() - self._began) * self._fps) + 1
        sequence = itertools.count()
        for index in range(number, number + show):
            time.sleep(max(0.0, self._began + index / self._fps - time.monotonic()))
            payloads = [p for u in self._pictures[index % self.FRAMES] for p in _payloads(u)]
            for place, payload in enumerate(payloads):
                marker = (place == len(payloads) - 1) << 7
                stamp = round(index * _CLOCK / self._fps) & 0xFFFFFFFF
                rtp = struct.pack(">BBHII", 0x80, marker | 96, next(sequence), stamp, 1) + payload
                client.wfile.write(struct.pack(">cBH", b"$", 0, len(rtp)) + rtp)
        if self._silent:
            client.rfile.read(1)  # the client's last word, or its going
