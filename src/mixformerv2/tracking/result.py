"""What a tracker answers, one frame at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from ..box import XYWH
from ..errors import ConfigError

__all__ = ["FPS", "TargetState", "TrackResult", "seconds_at"]

FPS = 30.0
"""Frames a second where nobody says what the time is."""

TargetState = Literal["tracked", "uncertain", "lost"]


@dataclass(frozen=True, slots=True)
class TrackResult:
    """One frame's answer.

    Attributes:
        box: `(x, y, w, h)` in pixels of the frame, top-left origin, not rounded.
        score: Confidence, 0 to 1; 1 for the given box.
        state: `"tracked"`, `"uncertain"` or `"lost"`.
        frame: Number of the frame in its source, the first is 0.
        time: Seconds from the start of the source; frame number over 30 where the source has none.
    """

    box: XYWH
    score: float
    state: TargetState
    frame: int
    time: float


def seconds_at(time: Any, frame: int) -> float:
    """The time of a frame, whatever kind of number it came as; the frame's number over 30 for None.

    Raises:
        ConfigError: a time that is no finite number.
    """
    if time is None:
        return frame / FPS
    try:
        seconds = float(time)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ConfigError(f"a frame's time is a finite number of seconds, got {time!r}")
    return seconds
