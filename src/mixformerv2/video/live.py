"""Streams that drop and come back: opened again with growing pauses, clock and numbers kept."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from ..errors import SourceError
from .readers import DEFAULT_FPS, ContainerReader, VideoFrame

__all__ = ["RECONNECT", "LiveReader"]

logger = logging.getLogger(__name__)

RECONNECT = 300.0
"""Seconds without a picture after which a stream is given up."""

_FIRST_PAUSE = 0.5  # seconds before the second try; each further pause is twice as long
_LONGEST_PAUSE = 30.0


def _pauses() -> Iterator[float]:
    """Seconds before each further try."""
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)


class LiveReader:
    """A stream without an end.

    When it drops, time and numbers of frames go on as if the missing frames had been there: after
    a gap of 4 s at 25 frames a second the next frame has a number 100 higher.

    Args:
        first: The stream, opened for the first time.
        place: Its address, to open it again.
        reconnect: Seconds without a picture after which it is given up; 0 ends at the first drop.

    Attributes:
        gaps: How often it dropped and came back.
        missed: Seconds of all gaps together.
    """

    live = True
    count: int | None = None

    def __init__(self, first: ContainerReader, place: str, reconnect: float = RECONNECT) -> None:
        self.name = first.name
        self.fps = first.fps
        self.aspect: Fraction | None = None
        self.cut_short: str | None = None
        self.gaps = 0
        self.missed = 0.0
        self._place = place
        self._reconnect = reconnect
        self._inner: ContainerReader | None = first
        self._stopped = threading.Event()

    def frames(self, start: int) -> Iterator[VideoFrame]:
        step = 1 / (self.fps or DEFAULT_FPS)
        shift, late = 0, 0.0  # of this connection, against the first: frames and seconds
        last: VideoFrame | None = None
        arrived = time.monotonic()
        for fresh, frame in self._all():
            now = time.monotonic()
            if fresh and last is not None:
                gap = max(now - arrived, step)
                shift = last.index + max(1, round(gap / step)) - frame.index
                late = last.time + gap - frame.time
                self._note(gap, last.index, shift + frame.index)
            arrived = now
            last = replace(frame, index=frame.index + shift, time=frame.time + late)
            if last.index >= start:
                yield last

    def _all(self) -> Iterator[tuple[bool, VideoFrame]]:
        """Frames of all connections; the first of each is marked."""
        silent = time.monotonic()  # since when
        pauses = _pauses()
        while self._inner is not None:
            fresh = True
            for frame in self._inner.frames(0):
                self.aspect = self._inner.aspect
                yield fresh, frame
                if fresh:
                    fresh, pauses = False, _pauses()
                silent = time.monotonic()
            why = self._inner.cut_short or "the stream ended"
            self.close()
            self._inner = self._opened_again(pauses, silent + self._reconnect, why)

    def _opened_again(
        self, pauses: Iterator[float], until: float, why: str
    ) -> ContainerReader | None:
        """The stream anew; None when the time is up or nobody waits for it any more."""
        while not self._stopped.is_set():
            left = until - time.monotonic()
            if left <= 0:
                waited = f"; {self._reconnect:g} s without a picture" if self._reconnect else ""
                self.cut_short = f"{why}{waited}"
                return None
            pause = min(next(pauses), left)
            logger.info("%s: %s; again in %.1f s", self.name, why, pause)
            if self._stopped.wait(pause):
                return None
            try:
                return ContainerReader(self._place, network=True)
            except SourceError as error:
                why = str(error)
        return None

    def _note(self, gap: float, before: int, after: int) -> None:
        self.gaps += 1
        self.missed += gap
        logger.warning(
            "%s: dropped and came back after %.1f s; frame %d follows frame %d",
            self.name,
            gap,
            after,
            before,
        )

    def stop(self) -> None:
        """Do not wait for the stream any more; any thread may call it."""
        self._stopped.set()

    def close(self) -> None:
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.close()
