"""Frames of a source from any place, forward and backward, with the numbers of a first read.

A first read has written down the time of each frame. With those, a seek to a key frame of a video
file finds its number again; where a file has no usable clock, reading begins anew. Pictures need
no seek.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from .readers import Upright, VideoFrame
from .source import SourceLike, open_source

__all__ = ["Clip"]

_CHUNK_BYTES = 192 << 20
_NEAR = 24  # frames: below, reading from the start is as quick as a seek


class Clip:
    """A source whose frames' times are known.

    Args:
        source: A file, or whatever else `open_source` takes and can be read more than once.
        times: Seconds of each frame, `[count]`.
    """

    def __init__(self, source: SourceLike, times: NDArray[np.float64]) -> None:
        self._source = source
        file = isinstance(source, str | Path) and Path(source).is_file()
        self._path = Path(source) if file and isinstance(source, str | Path) else None
        self._times = times

    def frame(self, number: int) -> VideoFrame:
        """One frame.

        Raises:
            SourceError: there is no such frame.
        """
        for one in self.forward(number, number + 1):
            return one
        name = "this source" if self._path is None else self._path.name
        raise SourceError(f"{name} has no frame {number}")

    def forward(self, start: int, stop: int) -> Iterator[VideoFrame]:
        """Frames `start` to `stop`, the latter not included, in order and without a hole."""
        wanted = start
        if start > _NEAR and self._path is not None:
            for frame in self._sought(self._path, start, stop):
                if frame.index != wanted:
                    break  # the seek has missed, or a frame is broken: a plain read knows which
                yield frame
                wanted += 1
        if wanted >= stop:
            return
        with open_source(self._source, start=wanted) as source:
            for frame in source:
                if frame.index >= stop:
                    return
                yield frame

    def backward(self, start: int, stop: int) -> Iterator[VideoFrame]:
        """Frames `start` down to `stop`, the latter not included, some at a time."""
        size: int | None = None
        last = start
        while last > stop:
            length = 8 if size is None else max(1, min(64, _CHUNK_BYTES // size))
            first = max(stop + 1, last - length + 1)
            chunk = list(self.forward(first, last + 1))
            yield from reversed(chunk)
            size = next((f.image.nbytes for f in chunk if f.image is not None), size)
            last = first - 1

    def _sought(self, path: Path, start: int, stop: int) -> Iterator[VideoFrame]:
        """Frames from `start` on by way of a seek; ends where numbers are not certain."""
        import av
        from av.error import FFmpegError

        try:
            with av.open(f"file:{path}", metadata_errors="replace") as container:
                stream: Any = container.streams.best("video")
                stream.thread_type = "SLICE"
                first = next(container.decode(stream), None)
                if first is None or first.pts is None or stream.time_base is None:
                    return
                base = float(stream.time_base)
                origin = first.pts - round(float(self._times[0]) / base)
                target = origin + round(float(self._times[start]) / base)
                container.seek(target, stream=stream, backward=True)
                turned = Upright()
                for frame in container.decode(stream):
                    index = None if frame.pts is None else self._number(frame.pts - origin, base)
                    if index is None or index >= stop:
                        return
                    if index >= start:
                        image = turned.picture(frame)
                        if image is None:
                            return
                        yield VideoFrame(index, float(self._times[index]), image)
        except FFmpegError:
            return  # the caller reads on from the start

    def _number(self, ticks: int, base: float) -> int | None:
        """The frame with a time stamp; None where no frame has it."""
        time = ticks * base
        index = int(np.searchsorted(self._times, time - 0.5 * base))
        if index < len(self._times) and abs(self._times[index] - time) < 0.5 * base + 1e-9:
            return index
        return None
