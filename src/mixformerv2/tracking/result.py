"""What a tracker answers, one frame at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..box import XYWH

__all__ = ["TargetState", "TrackResult"]

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
