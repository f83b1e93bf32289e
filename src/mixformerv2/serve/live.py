"""A live stream in a worker: pictures of a browser, or of a camera of this machine."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import FrameError, MixFormerError, SourceError
from ..tracking.multi import MultiTracker
from ..tracking.tracker import Tracker
from ..video.source import open_source
from .wire import Messages, Wire

if TYPE_CHECKING:
    from .engines import Engines

__all__ = ["jpeg_size", "run"]

_SHOWN_SIDE = 960  # pixels of the pictures of a camera that are sent to the page
_WITHOUT_SIZE = {*range(0xD0, 0xD9), 0x01}
_NO_FRAME = {0xC4, 0xC8, 0xCC}


def run(task: dict[str, Any], wire: Wire, messages: Messages, engines: Engines) -> None:
    """Track in pictures as they come, until the other side hangs up."""
    engine, config = engines.get()
    multi = MultiTracker.around(Tracker.with_engine(engine, config))
    info = engine.info
    wire.send("ready", model=config.name, engine=f"{info.name} {info.precision}")
    given: str | None = task["source"]
    session = _Session(multi, wire)
    if given is None:
        for message, picture in messages.pictures():
            session.orders(messages.orders())
            session.take(message, _decode(picture, task["pixels"]), message.get("number", 0))
    else:
        for image, shown, index in _camera(given, messages):
            session.orders(messages.orders())
            session.take({}, image, index, shown)


class _Session:
    """The targets of one stream."""

    def __init__(self, multi: MultiTracker, wire: Wire) -> None:
        self._multi = multi
        self._wire = wire
        self._wanted: dict[int, list[float]] = {}

    def orders(self, orders: list[dict[str, Any]]) -> None:
        """New boxes and targets to forget; boxes are taken up with the next picture."""
        for order in orders:
            number = int(order.get("id", 1))
            if "box" in order:
                self._wanted[number] = order["box"]
            else:
                self._wanted.pop(number, None)
            if number in self._multi.ids:
                self._multi.remove(number)

    def take(
        self,
        message: dict[str, Any],
        image: NDArray[np.uint8],
        number: int,
        shown: bytes = b"",
    ) -> None:
        """Find all targets in a picture, and say where they are."""
        began = time.perf_counter()
        if "box" in message:  # belongs to this very picture
            self.orders([message])
        results = self._multi.update(image) if len(self._multi) else {}
        rows = [[i, *r.box, r.score, r.state] for i, r in results.items()]
        for target, box in self._wanted.items():
            try:
                self._multi.add(image, box, id=target)
                rows.append([target, *box, 1.0, "tracked"])
            except MixFormerError as error:
                self._wire.send("note", sentence=str(error))
        self._wanted.clear()
        self._wire.send(
            "result",
            shown,
            number=number,
            size=[image.shape[1], image.shape[0]],
            objects=rows,
            ms=round(1e3 * (time.perf_counter() - began), 2),
        )


def _camera(given: str, messages: Messages) -> Iterator[tuple[NDArray[np.uint8], bytes, int]]:
    with open_source(given, read_ahead=1) as source:
        for frame in source:
            if messages.stopped.is_set():
                return
            if frame.image is None:
                continue
            scale = min(1.0, _SHOWN_SIDE / max(frame.image.shape[:2]))
            small = cv2.resize(frame.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            good, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])
            if good:
                yield frame.image, data.tobytes(), frame.index
    if not messages.stopped.is_set():
        raise SourceError(f"{source.name} stopped sending")


def _decode(data: bytes, pixels: int) -> NDArray[np.uint8]:
    width, height = jpeg_size(data)
    if width * height > pixels:
        raise FrameError(f"pictures of {width} x {height} are more than this server takes")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise FrameError("a picture of the stream cannot be decoded; send whole JPEGs")
    return np.asarray(image, np.uint8)


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height that a JPEG's header promises, before anything is decoded.

    Raises:
        FrameError: it is no JPEG.
    """
    wrong = FrameError("a live stream is made of JPEG pictures")
    if data[:2] != b"\xff\xd8":
        raise wrong
    place = 2
    while place + 9 <= len(data):
        if data[place] != 0xFF:
            raise wrong
        mark = data[place + 1]
        if mark == 0xFF:
            place += 1
        elif mark in _WITHOUT_SIZE:
            place += 2
        elif 0xC0 <= mark <= 0xCF and mark not in _NO_FRAME:
            height, width = struct.unpack_from(">HH", data, place + 5)
            if not width or not height:
                raise wrong
            return width, height
        else:
            place += 2 + struct.unpack_from(">H", data, place + 2)[0]
    raise wrong
