"""A tracker that programs written for `cv2.Tracker` can take as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import StateError
from ..tracking import Tracker, TrackerSettings, TrackResult

__all__ = ["OpenCVTracker"]

Rect = tuple[int, int, int, int]


class OpenCVTracker:
    """`init` and `update` as OpenCV's trackers have them since 4.5.1, around `Tracker`.

    Boxes are answered in whole pixels, so that `cv2.rectangle(frame, box, ...)` takes them; what
    was not rounded is in `result`.

    Args:
        model: As for `Tracker`.
        engine: As for `Tracker`.
        threads: As for `Tracker`.
        settings: As for `Tracker`.

    Raises:
        WeightsError, EngineError, ConfigError: as `Tracker` does.

    Example:
        >>> tracker = OpenCVTracker()  # was: cv2.TrackerMIL.create()  # doctest: +SKIP
        >>> tracker.init(frame, cv2.selectROI(frame))  # doctest: +SKIP
        >>> ok, box = tracker.update(next_frame)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | Path = "t",
        engine: str = "auto",
        threads: int | None = None,
        settings: TrackerSettings | Mapping[str, Any] | None = None,
    ) -> None:
        self._tracker = Tracker(model, engine, threads, settings=settings)
        self._result: TrackResult | None = None

    @classmethod
    def around(cls, tracker: Tracker) -> OpenCVTracker:
        """The same calls on a tracker that is already there."""
        self = cls.__new__(cls)
        self._tracker, self._result = tracker, None
        return self

    @classmethod
    def create(cls, *arguments: Any, **named: Any) -> OpenCVTracker:
        """What OpenCV's classes have in place of a constructor; arguments as for the class."""
        return cls(*arguments, **named)

    @property
    def result(self) -> TrackResult:
        """The last answer: the box as floats, score and state.

        Raises:
            StateError: `init` was not called.
        """
        if self._result is None:
            raise StateError("there is no result yet; call init(frame, box) first")
        return self._result

    def init(self, image: Any, boundingBox: Sequence[float]) -> None:
        """Start on a target.

        Args:
            image: A picture as OpenCV gives it, BGR.
            boundingBox: `(x, y, w, h)` in pixels.

        Raises:
            BoxError, FrameError: as in `Tracker.init`. `cv2.selectROI` answers a box without
                area where nothing was drawn.
        """
        self._result = self._tracker.init(image, boundingBox)

    def update(self, image: Any) -> tuple[bool, Rect]:
        """Find the target in the next frame.

        Returns:
            Whether it was found, and its box in whole pixels. Where it was not (state "lost") the
            box is where the tracker goes on looking.

        Raises:
            StateError: `init` was not called.
            FrameError: not a picture.
        """
        self._result = self._tracker.update(image)
        x, y, w, h = (round(value) for value in self._result.box)
        return self._result.state != "lost", (x, y, w, h)

    def getTrackingScore(self) -> float:  # noqa: N802  (as TrackerNano and TrackerVit call it)
        """Confidence in the last answer, 0 to 1."""
        return self.result.score
