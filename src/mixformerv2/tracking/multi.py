"""Several targets in one video, in one pass of the network for each frame."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..runtime.base import EngineInfo
from .doubles import Doubles
from .frame import Channels
from .result import TrackResult, seconds_at
from .settings import TrackerSettings
from .state import TrackState
from .tracker import Tracker

__all__ = ["MultiTracker"]


class MultiTracker:
    """Follows any number of targets on one engine, each by itself but where two of them meet.

    Look-alikes may end on one object. Where two targets that began apart have nearly the same box,
    both look a second time beside it, and one takes what it finds there or is "lost" (`Doubles`);
    with the setting `apart` false each is followed as if it were alone.

    Give every frame to `update`, also one in which targets are added, and then to `add`: results
    carry the number of the frame, counted from 0 for the first that came to `update`, `skip` or
    `add`. Arguments and errors are those of `Tracker`.

    Example:
        >>> multi = MultiTracker("t")  # doctest: +SKIP
        >>> multi.add(frame, (10, 20, 50, 80), id=7)  # doctest: +SKIP
        7
        >>> multi.update(next_frame)[7].state  # doctest: +SKIP
        'tracked'
    """

    def __init__(
        self,
        model: str | Path = "t",
        engine: str = "auto",
        threads: int | None = None,
        channels: Channels = "bgr",
        settings: TrackerSettings | Mapping[str, Any] | None = None,
    ) -> None:
        self._setup(Tracker(model, engine, threads, channels, settings))

    @classmethod
    def around(cls, tracker: Tracker) -> MultiTracker:
        """Several targets on the engine and settings of a tracker, whose own target stays."""
        self = cls.__new__(cls)
        self._setup(tracker)
        return self

    def _setup(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._states: dict[int, TrackState] = {}
        self._doubles = Doubles(tracker.settings.apart and tracker.has_score)
        self._frame = -1  # before the first picture
        self._time = 0.0

    @property
    def info(self) -> EngineInfo:
        """Which engine runs, how precisely, and why it was chosen."""
        return self._tracker.info

    @property
    def ids(self) -> list[int]:
        """The targets, in the order in which they were added."""
        return list(self._states)

    @property
    def doubles(self) -> Counter[tuple[int, int]]:
        """Frames in which two targets that began apart had nearly the same box, by pair of ids."""
        return Counter(self._doubles.frames)

    def __len__(self) -> int:
        return len(self._states)

    def add(
        self,
        frame: Any,
        box: Sequence[float],
        id: int | None = None,  # noqa: A002  (what callers write: add(frame, box, id=7))
        time: float | None = None,
    ) -> int:
        """Start on one more target in the present frame, and return its id.

        Args:
            frame: The frame that the box was seen in: the last one given to `update`, or the
                first of all.
            box: `(x, y, w, h)` in pixels.
            id: A whole number of one's own; the smallest free one, from 0, where None.
            time: The frame's time in seconds; where None that of the last `update` or `skip`, 0
                before any.

        Raises:
            ConfigError: the id is taken, or no whole number; a time that is no finite number.
            BoxError, FrameError, EngineError: as in `Tracker.init`.
        """
        if id is None:
            number = next(n for n in range(len(self._states) + 1) if n not in self._states)
        else:
            try:
                number = operator.index(id)
            except TypeError:
                raise ConfigError(
                    f"the id of a target is a whole number, got {id!r}; leave it out, and add "
                    "returns one that is free"
                ) from None
        if number in self._states:
            raise ConfigError(f"target {number} is there already; remove({number}) it first")
        seconds = self._time if time is None else seconds_at(time, 0)
        _, self._states[number] = self._tracker.start(frame, box, seconds)
        self._time = seconds
        there = {n: one.box for n, one in self._states.items() if one.target != "lost"}
        self._doubles.begin(number, there)
        self._frame = max(self._frame, 0)
        return number

    def remove(self, id: int) -> None:  # noqa: A002
        """Stop following a target.

        Raises:
            ConfigError: there is no such target.
        """
        if id not in self._states:
            raise ConfigError(f"there is no target {id}; there are {self.ids}")
        del self._states[id]
        self._doubles.end(id)

    def update(self, frame: Any, time: float | None = None) -> dict[int, TrackResult]:
        """Find all targets in the next frame; there may be none yet.

        Raises:
            FrameError: not a picture.
            ConfigError: a time that is no finite number.
        """
        seconds = seconds_at(time, self._frame + 1)
        before = self._states
        found = self._tracker.step_all(frame, list(before.values()), seconds)
        answers = dict(zip(before, found, strict=True))
        return self._keep(self._doubles.settle(self._tracker, frame, before, answers), seconds)

    def skip(self, time: float | None = None) -> dict[int, TrackResult]:
        """Count a frame that could not be read: the last boxes again, "lost", score 0."""
        seconds = seconds_at(time, self._frame + 1)
        states = self._states.items()
        return self._keep({n: self._tracker.miss(state, seconds) for n, state in states}, seconds)

    def _keep(
        self, answers: Mapping[int, tuple[TrackResult, TrackState]], seconds: float
    ) -> dict[int, TrackResult]:
        self._frame, self._time = self._frame + 1, seconds
        self._states = {n: state for n, (_, state) in answers.items()}
        # A target's own count starts where it was added; results carry the video's.
        return {n: replace(result, frame=self._frame) for n, (result, _) in answers.items()}
