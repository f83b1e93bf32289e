"""What stands behind a `Source`: one reader for each kind of thing that holds frames.

A reader opens in its constructor (or raises `SourceError`), says what it knows about the frames,
and then gives them out once, in order, without a hole in the numbers.
"""

from __future__ import annotations

import glob
import heapq
import logging
import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from .address import STREAMS, public_address, scheme_of
from .clock import NO_STAMP, Clock
from .upright import MOST_PIXELS, Upright, upright

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame as AVFrame

__all__ = [
    "DEFAULT_FPS",
    "MOST_PIXELS",
    "PICTURE_SUFFIXES",
    "SLOWEST_FPS",
    "CameraReader",
    "ContainerReader",
    "PictureReader",
    "Reader",
    "Upright",
    "VideoFrame",
    "natural_key",
    "pictures_in",
    "public_address",
    "upright",
]

logger = logging.getLogger(__name__)

DEFAULT_FPS = 30.0
"""What a source without a clock of its own counts as."""

SLOWEST_FPS = 1e-5
"""A frame a day, and a bit less: the longest that a frame can last in an MP4."""

PICTURE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jp2", ".png", ".bmp", ".dib", ".webp"}
    | {".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif"}
)

# Formats of FFmpeg that turn any text into a picture of letters.
_NOT_VIDEO = {"tty", "lavfi"}
_NETWORK_TIMEOUT = 15.0  # seconds to connect, and the longest silence after that
_FLATTEST = Fraction(1, 10)  # of the sides of a pixel; beyond, it is nonsense
_HIGHEST_FPS = 1000.0  # above, it is the clock of the file and not a rate of pictures


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One frame of a source.

    Attributes:
        index: Number in the source, the first is 0. Broken frames count.
        time: Seconds since the first frame.
        image: `[H, W, 3]` uint8, BGR; None where the frame could not be decoded.
    """

    index: int
    time: float
    image: NDArray[np.uint8] | None


class Reader(Protocol):
    """Gives out the frames of one thing, once, in order."""

    name: str
    fps: float | None
    count: int | None
    live: bool
    cut_short: str | None
    """Why the source ended before its end, once it did."""

    @property
    def aspect(self) -> Fraction | None:
        """Width of a pixel by its height, upright; None where it is square or nobody knows."""
        ...

    def frames(self, start: int) -> Iterator[VideoFrame]:
        """Frames from number `start` on."""
        ...

    def close(self) -> None:
        """Let go of the file or device. Called by the thread that read from it."""
        ...


def natural_key(path: Path) -> list[tuple[int, int | str]]:
    """Sorting key under which frame 2 comes before frame 10.

    Example:
        >>> sorted([Path("f10.png"), Path("f2.png")], key=natural_key)[0].name
        'f2.png'
    """
    parts = re.split(r"(\d+)", str(path).lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def pictures_in(place: str) -> list[Path]:
    """Pictures of a folder, or of a glob such as `frames/*.png`, in natural order.

    Raises:
        SourceError: there is none.
    """
    folder = Path(place)
    if folder.is_dir():
        # As in a glob; `._1.jpg` is what macOS leaves beside 1.jpg, and no picture.
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
        where = f"folder {place}"
    else:
        found = [Path(path) for path in glob.glob(place, recursive=True)]
        where = f"pattern {place}"
    pictures = [p for p in found if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file()]
    if not pictures:
        kinds = ", ".join(sorted({p.suffix or p.name for p in found})[:5])
        only = f", only {kinds}" if kinds else ""
        inner = folder / "img"  # where benchmarks keep the pictures of a sequence
        way_out = str(inner) if inner.is_dir() else "a folder of .jpg or .png"
        raise SourceError(f"{where} holds no pictures{only}; give {way_out}")
    return sorted(pictures, key=natural_key)


class PictureReader:
    """Pictures one after the other, as files or as arrays."""

    live = False
    fps: float | None = None
    aspect: Fraction | None = None

    def __init__(self, pictures: Sequence[Path | str | NDArray[Any]], name: str) -> None:
        if not pictures:
            raise SourceError(f"{name}: the list of pictures is empty; give at least one")
        for number, picture in enumerate(pictures):
            if not isinstance(picture, np.ndarray | str | os.PathLike):
                raise SourceError(f"{name}: entry {number} is {_foreign(picture)}")
        self.name = name
        self.cut_short: str | None = None
        self.count: int | None = len(pictures)
        self._pictures = pictures

    def frames(self, start: int) -> Iterator[VideoFrame]:
        for index in range(start, len(self._pictures)):
            yield VideoFrame(index, index / DEFAULT_FPS, _load(self._pictures[index]))

    def close(self) -> None:
        pass


def _foreign(picture: Any) -> str:
    """What came in place of a picture, and what to do."""
    if picture is None:
        return "None, as OpenCV gives for a picture that it cannot read; check its path"
    kind = f"{type(picture).__module__}.{type(picture).__qualname__}"
    way_out = "give paths, or arrays as OpenCV reads them"
    if kind.startswith("PIL."):
        way_out = 'give numpy.asarray(image.convert("RGB"))[..., ::-1]: frames here are BGR'
    return f"of type {kind}; {way_out}"


def _load(picture: Path | str | NDArray[Any]) -> NDArray[np.uint8] | None:
    """A picture as 8-bit BGR, whatever it was: grey, 16 bits, with alpha, turned by EXIF."""
    import cv2

    if isinstance(picture, np.ndarray):
        from ..tracking.frame import as_bgr

        return as_bgr(picture)
    try:
        # Read here and decode there: OpenCV cannot open every name on every system.
        data = np.fromfile(picture, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except (OSError, cv2.error) as error:
        if getattr(error, "code", None) == cv2.Error.StsNoMem:
            raise MemoryError(f"{picture}: {error}") from error  # no fault of the picture
        logger.debug("%s: %s", picture, error)
        return None
    return None if image is None else np.asarray(image, np.uint8)


class CameraReader:
    """A camera of this machine, by its number."""

    live = True
    count: int | None = None
    aspect: Fraction | None = None

    def __init__(self, number: int) -> None:
        import cv2

        self.name = f"camera {number}"
        self.cut_short: str | None = None
        self._camera = cv2.VideoCapture(number) if number >= 0 else None
        if self._camera is None or not self._camera.isOpened():
            raise SourceError(
                f"camera {number} cannot be opened; is it plugged in, free and allowed to be used? "
                "The first camera is 0"
            )
        self.fps = _sensible_fps(self._camera.get(cv2.CAP_PROP_FPS))

    def frames(self, start: int) -> Iterator[VideoFrame]:
        began = time.monotonic()
        index = 0
        while True:
            good, image = self._camera.read() if self._camera else (False, None)
            if not good or image is None:
                self.cut_short = "the camera stopped sending"
                return
            if index >= start:
                yield VideoFrame(index, time.monotonic() - began, np.asarray(image, np.uint8))
            index += 1

    def close(self) -> None:
        if self._camera is not None:
            self._camera.release()


class ContainerReader:
    """A video file or address, decoded by FFmpeg through PyAV."""

    def __init__(self, place: str, *, network: bool) -> None:
        self.name = public_address(place) if network else Path(place).name
        self.cut_short: str | None = None
        self._container = _open_container(place, self.name, network)
        stream = _video_stream(self._container, self.name)
        if stream.width * stream.height > MOST_PIXELS:
            self._container.close()
            raise SourceError(
                f"{self.name} has frames of {stream.width} x {stream.height} pixels, and "
                f"{MOST_PIXELS >> 20} million is the most; scale it down"
            )
        # Frame threads would report an error several frames late; the tracker needs the cores.
        stream.thread_type = "SLICE"
        self._stream = stream
        self.fps = _sensible_fps(stream.average_rate or stream.guessed_rate)
        self._length = self._seconds()
        self._latest: tuple[int, int] = (NO_STAMP, 0)  # stamp and duration of the last packet shown
        self.live = network and self._is_endless(scheme_of(place))
        self.count: int | None = None if self.live else stream.frames or self._estimated_count()
        pixel = Fraction(stream.sample_aspect_ratio or 1)
        self._pixel = pixel if _FLATTEST <= pixel <= 1 / _FLATTEST and pixel != 1 else None
        self._upright = Upright()

    @property
    def aspect(self) -> Fraction | None:
        return 1 / self._pixel if self._pixel and self._upright.lies else self._pixel

    def _seconds(self) -> float | None:
        """Length that the header promises."""
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        return self._container.duration / 1e6 if self._container.duration else None

    def _is_endless(self, scheme: str) -> bool:
        """Whether a stream: by its protocol, or as the server knows neither size nor length."""
        return scheme in STREAMS or (self._length is None and self._container.size <= 0)

    def _estimated_count(self) -> int | None:
        return round(self._length * self.fps) if self._length and self.fps else None

    def frames(self, start: int) -> Iterator[VideoFrame]:
        clock = Clock(self._stream.time_base, 1 / (self.fps or DEFAULT_FPS))
        for index, (pts, frame) in enumerate(self._shown()):
            when = clock.at(pts, index)
            if index >= start:
                yield VideoFrame(index, when, self._upright.picture(frame) if frame else None)
        self._notice_early_end(clock.latest)

    def _shown(self) -> Iterator[tuple[int, AVFrame | None]]:
        """Time stamps and frames in the order of showing; None for what cannot be decoded."""
        from av.error import FFmpegError

        # Packets come in the order of decoding: one that fails waits here, by its time of showing,
        # until the frames that come before it are out.
        failed: list[int] = []
        packets = self._container.demux(self._stream)
        going = True
        while going:
            try:
                packet = next(packets, None)
            except MemoryError:  # some of PyAV's errors are this as well, and no fault of the file
                raise
            except FFmpegError as error:
                self.cut_short = error.strerror or str(error)
                packet = None
            going = packet is not None
            if packet is not None and packet.pts is not None:
                self._latest = max(self._latest, (packet.pts, packet.duration or 0))
            try:
                decoded = packet.decode() if packet is not None else self._stream.decode(None)
            except MemoryError:
                raise
            except FFmpegError:
                if packet is not None and packet.size:
                    heapq.heappush(failed, NO_STAMP if packet.pts is None else packet.pts)
                continue
            for frame in decoded:
                stamp = NO_STAMP if frame.pts is None else frame.pts
                while failed and (failed[0] < stamp or stamp == NO_STAMP):
                    yield heapq.heappop(failed), None
                yield stamp, frame
        for stamp in sorted(failed):
            yield stamp, None

    def _notice_early_end(self, latest: float) -> None:
        """A file that was cut off ends without any error: only its header knows better."""
        if self.live or self._length is None or self.cut_short is not None:
            return
        frame = 1 / (self.fps or DEFAULT_FPS)
        # Where the rate varies, the last frame may stay for long.
        end = latest + max(frame, float(self._latest[1] * (self._stream.time_base or 0)))
        # Without a length of its own the stream is measured by the file, sound included.
        slack = 2.5 * frame if self._stream.duration else max(1.0, 2.5 * frame)
        if end < self._length - slack:
            self.cut_short = f"its header promises {self._length:.1f} s and it holds {end:.1f} s"

    def close(self) -> None:
        self._container.close()


def _open_container(place: str, name: str, network: bool) -> InputContainer:
    import av
    from av.error import ExitError, FFmpegError, InvalidDataError

    options = {"rtsp_transport": "tcp"} if network and place.lower().startswith("rtsp") else {}
    try:
        # "file:" keeps a name such as "concat:a|b" from being taken for an instruction.
        return av.open(
            place if network else f"file:{place}",
            options=options,
            timeout=_NETWORK_TIMEOUT if network else None,
            metadata_errors="replace",
        )
    except InvalidDataError as error:
        if network and scheme_of(place) in STREAMS:
            raise SourceError(
                f"{name} answers but sends no video; is its camera on, and the path right?"
            ) from error
        hint = (
            "is it whole? An MP4 that was cut off while it was written or copied has lost its index"
        )
        raise SourceError(f"{name} is not a video that can be read: {hint}") from error
    except ExitError as error:  # PyAV's word for its own time limit
        limit = f"{_NETWORK_TIMEOUT:.0f} s"
        raise SourceError(f"{name} did not answer within {limit}; is it running?") from error
    except (FFmpegError, OSError) as error:
        reason = (error.strerror or str(error)).rstrip(".")
        raise SourceError(
            f"{name} cannot be opened: {reason}; check the name and that it can be reached"
        ) from error


def _video_stream(container: InputContainer, name: str) -> Any:
    from av.stream import Disposition

    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None
    ]
    if not streams or container.format.name in _NOT_VIDEO:
        container.close()
        raise SourceError(f"{name} holds no video, only {container.format.long_name}; give a video")
    return container.streams.best("video") or streams[0]


def _sensible_fps(rate: Any) -> float | None:
    value = float(rate or 0)
    return value if math.isfinite(value) and SLOWEST_FPS <= value <= _HIGHEST_FPS else None
