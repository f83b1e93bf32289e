"""One way to read frames, whatever they come from.

```python
with open_source("clip.mp4") as source:          # or a folder, a glob, 0, "rtsp://...", a list
    print(source.name, source.fps, source.count, source.size)
    for frame in source:
        if frame.image is None:                  # broken: it keeps its number
            continue
        use(frame.index, frame.time, frame.image)
```
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, MixFormerError, SourceError
from .address import local_name
from .live import RECONNECT, LiveReader
from .readers import (
    PICTURE_SUFFIXES,
    CameraReader,
    ContainerReader,
    PictureReader,
    Reader,
    VideoFrame,
    pictures_in,
)

__all__ = ["Source", "SourceLike", "UndecodableError", "VideoFrame", "open_source"]

logger = logging.getLogger(__name__)

SourceLike = str | Path | int | Sequence[str | Path | NDArray[Any]]
"""What `open_source` takes."""

_SIZES = 100  # that are kept: enough to know that they vary
_READ_AHEAD_BYTES = 128 << 20  # so that eight frames of 8K do not fill a small machine


def open_source(
    source: SourceLike, *, read_ahead: int = 8, start: int = 0, reconnect: float = RECONNECT
) -> Source:
    """Open anything that holds frames.

    | given | read as |
    |---|---|
    | `"clip.mp4"` | a video, by FFmpeg; turned upright as its metadata says |
    | `"frames/"`, `"frames/*.png"` | pictures in natural order (2 before 10) |
    | `0` or `"0"` | a camera of this machine |
    | `"rtsp://..."`, `"http://..."` | an address |
    | `[path or array, ...]` | pictures in the order given; arrays as OpenCV gives them |

    Frames come as `[H, W, 3]` uint8, BGR. Deeper pictures keep their upper eight bits, alpha is
    dropped. A thread decodes ahead into a queue of fixed length, so memory does not grow with the
    source. A live source drops what nobody fetches in time; its numbers keep counting. When it
    breaks off it is opened again with growing pauses, and time and numbers go on.

    Args:
        source: See the table.
        read_ahead: Frames that are decoded in advance, at least 1.
        start: Number of the first frame to give out. Numbers and times stay those of the source.
        reconnect: Seconds without a picture after which a stream is given up; 0 ends at the first
            drop.

    Raises:
        SourceError: It cannot be opened, or holds no frame that can be decoded.

    Example:
        >>> import numpy as np
        >>> with open_source([np.zeros((4, 6), np.uint8)] * 3) as source:
        ...     source.size, [frame.index for frame in source]
        ((6, 4), [0, 1, 2])
    """
    if read_ahead < 1:
        raise ConfigError(f"read_ahead must be at least 1 frame, got {read_ahead}")
    if start < 0:
        raise ConfigError(f"the first frame is 0; cannot start at frame {start}")
    if not reconnect >= 0:
        raise ConfigError(f"reconnect must be a number of seconds from 0, got {reconnect}")
    return Source(_reader(source, reconnect), read_ahead=read_ahead, start=start)


def _reader(source: SourceLike, reconnect: float) -> Reader:
    listed = hasattr(source, "__len__") and not isinstance(source, bytes | dict)
    if isinstance(source, bool) or not (listed or isinstance(source, int | Path)):
        # A generator is none either: pictures are counted, and the first is looked at before.
        raise SourceError(f"{source!r} is no source; give a path, an address, a camera or a list")
    if isinstance(source, int):
        return CameraReader(source)
    if isinstance(source, str | Path):
        return _reader_of_text(local_name(str(source)), reconnect)
    shape = getattr(source, "shape", None)  # of an array, in place of a list of them
    if shape is not None and _is_picture(shape):
        raise SourceError(
            f"an array of shape {shape} is one picture; give a list of such, or a path"
        )
    return PictureReader(list(source), f"list of {len(source)} pictures")


def _is_picture(shape: tuple[int, ...]) -> bool:
    """Whether an array is a frame, and not frames one behind the other."""
    return len(shape) < 3 or (len(shape) == 3 and shape[2] in (1, 3, 4))


def _reader_of_text(text: str, reconnect: float) -> Reader:
    path = Path(text)
    if not text.strip():
        raise SourceError("the source is an empty name; give a video, a folder or an address")
    # By `os.path`: `Path` raises where a name is longer than any file's, as addresses are.
    if os.path.isdir(text):
        return PictureReader(pictures_in(text), path.resolve().name)
    if os.path.exists(text):
        return _reader_of_file(path)
    if text.isascii() and text.isdigit():
        return CameraReader(int(text))
    if "://" in text:
        reader = ContainerReader(text, network=True)
        return LiveReader(reader, text, reconnect) if reader.live else reader
    if any(letter in text for letter in "*?["):
        return PictureReader(pictures_in(text), path.parent.resolve().name)
    raise SourceError(f"{text}: there is no such file or folder here; check the name")


def _reader_of_file(path: Path) -> Reader:
    if path.is_file() and path.stat().st_size == 0:
        raise SourceError(f"{path} is empty (0 bytes); was it copied to the end?")
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return PictureReader([path], path.name)
    return ContainerReader(str(path), network=False)


class UndecodableError(SourceError):
    """A source has frames from the start on, and none of them can be decoded."""


class Source:
    """Frames in order, decoded ahead by a thread. Made by `open_source`; can be read once.

    Attributes:
        name: File, folder or address without its password, for messages.
        fps: Frames a second, or None where nobody knows (pictures).
        count: Frames in all as the header says, or None where nobody knows; can be an estimate.
        size: Width and height of the first good frame, in pixels as they are stored.
        aspect: Width of a pixel by its height; None where it is square or nobody knows.
        live: A camera or stream: frames that are not fetched in time are dropped.
        broken: Frames given out so far that could not be decoded.
        dropped: Frames of a live source that were dropped so far.
        sized: Sizes of the frames given out so far that are not `size`, such as pictures have.
        again: Whether it is not the first read, which has told already what is broken.
    """

    again = False

    def __init__(self, reader: Reader, *, read_ahead: int = 8, start: int = 0) -> None:
        # A file may be called anything; this goes into reports and XML.
        self.name = "".join(c if c.isprintable() else "?" for c in reader.name)
        self.fps = reader.fps
        self.count = reader.count
        self.live = reader.live
        self.broken = 0
        self.sized: set[tuple[int, int]] = set()
        self.first = start
        self._stopped = False
        self._reader = reader
        self._ahead = _ReadAhead(reader, read_ahead, start)
        # A source that is forgotten without close() must not leave a thread behind.
        self._finalizer = weakref.finalize(self, self._ahead.stop)
        self._waiting: list[VideoFrame] = []
        self.size: tuple[int, int] = self._look_ahead()
        self.aspect: Fraction | None = reader.aspect

    def _look_ahead(self) -> tuple[int, int]:
        """Fetch up to the first good frame: a source without one is refused at the door."""
        try:
            while (frame := self._ahead.fetch()) is not None:
                self._waiting.append(frame)
                if frame.image is not None:
                    return (frame.image.shape[1], frame.image.shape[0])
        except BaseException:
            self.close()
            raise
        tried = len(self._waiting)
        self.close()
        if tried:
            raise UndecodableError(f"{self.name}: none of its {tried} frames can be decoded")
        if self.first:
            raise SourceError(f"{self.name} ends before frame {self.first}; start earlier")
        raise SourceError(f"{self.name} holds no frame; is it a video, and is it whole?")

    def peek(self) -> NDArray[np.uint8]:
        """The first good frame, before the iteration has begun; it will still be given out.

        Raises:
            SourceError: The iteration has begun.
        """
        for frame in self._waiting:
            if frame.image is not None:
                return frame.image
        raise SourceError(f"{self.name}: its first frame was fetched already; peek before that")

    @property
    def dropped(self) -> int:
        return self._ahead.dropped

    @property
    def gaps(self) -> int:
        """How often a stream dropped and came back."""
        return self._reader.gaps if isinstance(self._reader, LiveReader) else 0

    @property
    def missed(self) -> float:
        """Seconds of all its gaps together."""
        return self._reader.missed if isinstance(self._reader, LiveReader) else 0.0

    @property
    def cut_short(self) -> str | None:
        """Why the source ended before its end; None while it runs, and when all came."""
        return self._reader.cut_short

    def __iter__(self) -> Iterator[VideoFrame]:
        while True:
            frame = self._waiting.pop(0) if self._waiting else self._ahead.fetch()
            if frame is None:
                break
            if frame.image is None:
                self.broken += 1
                # Said once: a damaged file can hold thousands. The count is there for the rest.
                if self.broken == 1 and not self.again:
                    logger.warning("%s: frame %d cannot be decoded", self.name, frame.index)
            elif frame.image.shape[1::-1] != self.size and len(self.sized) < _SIZES:
                self.sized.add((frame.image.shape[1], frame.image.shape[0]))
            yield frame
        if self.again:
            return
        if self.broken > 1:
            logger.warning("%s: %d frames could not be decoded", self.name, self.broken)
        if self.cut_short is not None:
            logger.warning("%s ended early: %s", self.name, self.cut_short)

    @property
    def used_up(self) -> bool:
        """Whether it is known to have no frame left, for which it waits; of a live one never."""
        unknown = self.live or self._stopped or self._waiting
        return not unknown and not self._ahead.has_more()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    def stop(self) -> None:
        """End the iteration after the present frame; any thread or signal handler may call it."""
        self._stopped = True
        self._waiting.clear()
        self._ahead.stop()

    def close(self) -> None:
        """Stop decoding and let go of the file or device."""
        self.stop()
        self._ahead.join()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Source({self.name!r}, fps={self.fps}, count={self.count}, size={self.size})"


class _ReadAhead:
    """A thread that keeps a queue of decoded frames full. It owns the reader and closes it."""

    def __init__(self, reader: Reader, length: int, start: int) -> None:
        self.dropped = 0
        self._reader = reader
        self._length = length
        self._items: deque[VideoFrame | BaseException | None] = deque()
        self._change = threading.Condition()
        self._over = False
        self._owner = os.getpid()
        self._thread = threading.Thread(
            target=self._run, args=(start,), name=f"read {reader.name}", daemon=True
        )
        self._thread.start()

    def fetch(self) -> VideoFrame | None:
        """The next frame; None at the end and after `stop`.

        Raises:
            SourceError: Reading failed in a way that no reader foresaw.
        """
        with self._change:
            while not self._items and not self._over:
                self._change.wait(0.5)  # with a limit, else Ctrl-C waits too on some systems
            if self._over:
                return None
            item = self._items.popleft()
            self._over = not isinstance(item, VideoFrame)
            self._change.notify_all()
        if isinstance(item, BaseException):
            raise item
        return item

    def has_more(self) -> bool:
        """Whether anything comes after what was fetched, as soon as that is known."""
        with self._change:
            while not self._items and not self._over:
                self._change.wait(0.5)
            return bool(self._items) and self._items[0] is not None

    def stop(self) -> None:
        """Let the thread end after the frame that it is at."""
        if os.getpid() != self._owner:  # in a fork the thread is not there, its lock may be held
            return
        if isinstance(self._reader, LiveReader):
            self._reader.stop()
        with self._change:
            self._over = True
            self._items.clear()
            self._change.notify_all()

    def join(self) -> None:
        """Wait for the thread, but not for a silent network, which has its own time limit."""
        if os.getpid() == self._owner:
            self._thread.join(timeout=2.0)

    def _run(self, start: int) -> None:
        last: BaseException | None = None
        try:
            for frame in self._reader.frames(start):
                self._put(frame)
                if self._over:
                    break
        except MixFormerError as error:
            last = error
        except Exception as error:
            last = SourceError(f"{self._reader.name}: reading failed: {error}")
            last.__cause__ = error
        finally:
            self._reader.close()
        self._put(last)

    def _put(self, item: VideoFrame | BaseException | None) -> None:
        with self._change:
            while isinstance(item, VideoFrame) and not self._over and not self._has_room(item):
                if self._reader.live:
                    self._items.popleft()
                    self.dropped += 1
                else:
                    self._change.wait()
            if not self._over:
                self._items.append(item)
                self._change.notify_all()

    def _has_room(self, frame: VideoFrame) -> bool:
        room = self._length
        if frame.image is not None:
            room = max(1, min(room, _READ_AHEAD_BYTES // frame.image.nbytes))
        return len(self._items) < room
