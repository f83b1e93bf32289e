"""Frames of a source from any place, forward and backward, with the numbers of a first read.

A first read has written down the time of each frame. With those, a seek to a key frame of a video
file finds its number again; where a file has no usable clock (raw H.264, MPEG-PS), reading begins
anew, for as many frames at once as the memory allows. Pictures need no seek.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import SourceError
from .address import local_name
from .readers import VideoFrame
from .source import SourceLike, UndecodableError, open_source
from .upright import Upright

__all__ = ["Clip"]

_CHUNK_BYTES = 192 << 20
_CHUNK = 64  # frames at most; where each chunk is read from the start, 16 times as many
_UNTIMED = "mpeg"  # MPEG-PS: stamps behind a seek are guessed, and wrong by a frame
_EARLIER = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)  # seconds, for each try of a seek
_ALIKE = 0.02  # of a frame: closer ones had one stamp, and the clock has put them side by side
_NEAR = 24  # frames: below, reading from the start is as quick as a seek


class Clip:
    """A source whose frames' times are known.

    Args:
        source: A file, or whatever else `open_source` takes and can be read more than once.
        times: Seconds of each frame, `[count]`.
    """

    def __init__(self, source: SourceLike, times: NDArray[np.float64]) -> None:
        self._source = source
        name = local_name(str(source)) if isinstance(source, str | Path) else ""
        self._path = Path(name) if os.path.isfile(name) else None
        self._times = times
        self._seeks = True  # until none has worked
        gaps = np.diff(times)
        self._alike = _ALIKE * float(np.median(gaps)) if gaps.size else 0.0

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
        if start > _NEAR and self._path is not None and self._seeks:
            for frame in self._sought(self._path, start, stop):
                if frame.index != wanted:
                    break  # the seek has missed, or a frame is broken: a plain read knows which
                yield frame
                wanted += 1
        if wanted >= stop:
            return
        try:
            source = open_source(self._source, start=wanted)
        except UndecodableError:  # all that is left is broken, and was counted by the first read
            for index in range(wanted, min(stop, len(self._times))):
                yield VideoFrame(index, float(self._times[index]), None)
            return
        with source:
            source.again = True
            for frame in source:
                if frame.index >= stop:
                    return
                yield frame

    def backward(self, start: int, stop: int) -> Iterator[VideoFrame]:
        """Frames `start` down to `stop`, the latter not included, some at a time."""
        size: int | None = None
        last = start
        while last > stop:
            most = _CHUNK if self._seeks else 16 * _CHUNK
            length = 8 if size is None else max(1, min(most, _CHUNK_BYTES // size))
            first = max(stop + 1, last - length + 1)
            chunk = list(self.forward(first, last + 1))
            yield from reversed(chunk)
            size = next((f.image.nbytes for f in chunk if f.image is not None), size)
            last = first - 1

    def _sought(self, path: Path, start: int, stop: int) -> Iterator[VideoFrame]:
        """Frames from `start` on by way of a seek; ends where numbers are not certain."""
        import av
        from av.error import FFmpegError

        turned = Upright()
        try:
            with av.open(f"file:{path}", metadata_errors="replace") as container:
                for index, frame in self._landed(container, start):
                    if index is None or index >= stop:
                        return
                    if index >= start:
                        image = turned.picture(frame)
                        if image is None:
                            return
                        yield VideoFrame(index, float(self._times[index]), image)
        except FFmpegError:
            return  # the caller reads on from the start

    def _landed(self, container: Any, start: int) -> Iterator[tuple[int | None, Any]]:
        """Numbers and frames from a key frame on that is not behind `start`."""
        stream: Any = container.streams.best("video")
        stream.thread_type = "SLICE"
        first = next(container.decode(stream), None)
        if first is None or first.pts is None or container.format.name == _UNTIMED:
            self._seeks = False
            return
        base = float(stream.time_base or 1)
        origin = first.pts - round(float(self._times[0]) / base)
        # MPEG-TS has no index: there a seek finds the next key frame, and not the last.
        for early in _EARLIER:
            wanted = float(self._times[start]) - early
            if wanted < 0:
                return  # reading from the start is as quick
            container.seek(origin + round(wanted / base), stream=stream, backward=True)
            frames = (
                (None if one.pts is None else self._number(one.pts - origin, base), one)
                for one in container.decode(stream)
            )
            landing = next(frames, None)
            if landing is not None and (landing[0] is None or landing[0] <= start):
                yield landing
                yield from frames
                return
        self._seeks = False

    def _number(self, ticks: int, base: float) -> int | None:
        """The frame with a time stamp; None where no frame has it, or several have."""
        time = ticks * base
        index = int(np.searchsorted(self._times, time - 0.5 * base))
        near = self._times[index : index + 2]
        if near.size == 0 or abs(near[0] - time) >= 0.5 * base + 1e-9:
            return None
        return None if near.size > 1 and near[1] - near[0] <= self._alike else index
