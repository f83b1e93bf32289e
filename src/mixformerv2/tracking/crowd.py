"""Targets of one video, each from its own first frame on: a result for each in every frame."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..box import Box
from ..errors import BoxError
from ..runtime.base import EngineInfo
from .result import TrackResult

if TYPE_CHECKING:
    from ..video.source import VideoFrame

__all__ = ["Crowd", "Follower", "Results", "Start"]

Results = dict[int, TrackResult]


class Follower(Protocol):
    """What a run needs of a `MultiTracker`."""

    @property
    def info(self) -> EngineInfo: ...

    @property
    def doubles(self) -> Counter[tuple[int, int]]: ...

    def add(
        self,
        frame: Any,
        box: Any,
        id: int | None = None,  # noqa: A002
        time: float | None = None,
    ) -> int: ...

    def update(self, frame: Any, time: float | None = None) -> Results: ...

    def skip(self, time: float | None = None) -> Results: ...


class Start(NamedTuple):
    """Where a target is, and from which frame on.

    Attributes:
        id: Its number in the results.
        box: In pixels of the frame `start`.
        start: Number of the frame. Where it cannot be decoded, the box waits for the next good one.
    """

    id: int
    box: Box
    start: int = 0


class Crowd:
    """Takes the frames of a source one after the other.

    Args:
        follower: Does the tracking; it has no target yet.
        starts: The targets.
    """

    def __init__(self, follower: Follower, starts: Sequence[Start]) -> None:
        self._follower = follower
        self._waiting = sorted(starts, key=lambda one: one.start)
        self._running = False
        self.seconds = 0.0
        """Seconds in the tracker alone, without first frames."""

    @property
    def waiting(self) -> list[Start]:
        """Targets that have not been started yet."""
        return list(self._waiting)

    def take(self, frame: VideoFrame) -> Results:
        """Results of a frame, by target; those of a broken one are the last boxes, lost.

        Raises:
            BoxError: A target starts here, and its box lies outside of the picture.
        """
        results: Results = {}
        if self._running:
            results = self._step(frame)
        due = [one for one in self._waiting if one.start <= frame.index]
        for one in due:
            results[one.id] = self._begin(one, frame)
        if frame.image is not None:
            self._waiting = self._waiting[len(due) :]
            self._running = self._running or bool(due)
        # The tracker counts what it was given, the source what it holds.
        return {
            number: replace(result, frame=frame.index, time=frame.time)
            for number, result in results.items()
        }

    def _step(self, frame: VideoFrame) -> Results:
        if frame.image is None:
            return self._follower.skip(frame.time)
        began = time.perf_counter()
        results = self._follower.update(frame.image, frame.time)
        self.seconds += time.perf_counter() - began
        return dict(results)

    def _begin(self, one: Start, frame: VideoFrame) -> TrackResult:
        """The given box as a result; lost while the source has not shown anything yet."""
        if frame.image is None:
            return TrackResult(one.box.xywh, 0.0, "lost", 0, 0.0)
        try:
            self._follower.add(frame.image, one.box, id=one.id, time=frame.time)
        except BoxError as error:
            where = f"target {one.id}, frame {frame.index}: "
            raise BoxError(f"{where if one.start else ''}{error}") from error
        height, width = frame.image.shape[:2]
        return TrackResult(one.box.seen(width, height).xywh, 1.0, "tracked", 0, 0.0)
