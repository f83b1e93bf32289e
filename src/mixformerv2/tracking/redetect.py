"""Looking for a lost target in the whole frame: long-term tracking, off by default.

While the state is "lost" the box stays where the target was last tracked, and the frame is searched
tile by tile. What is found must be found again by a second look around it, and again in the frames
that follow, before it is believed: one lucky tile does not end an absence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from .crop import Crop
from .look import Look
from .policy import Templates
from .result import TargetState
from .settings import TrackerSettings

__all__ = ["Judged", "Trust", "everywhere", "judge", "tiles"]

_LARGEST_CHANGE = 4.0
"""What is found may have so many times the area of what was lost, or be as many times smaller."""
_OVERLAP = 0.5
"""By how much of their side tiles overlap: the network expects its target near the middle."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What a long-term tracker remembers.

    Attributes:
        home: The box of the last frame in which the state was "tracked".
        confirmed: How often in a row a lost target was found again.
    """

    home: Box
    confirmed: int = 0


class Judged(NamedTuple):
    """What a frame comes to."""

    box: Box
    score: float
    target: TargetState
    trust: Trust


def judge(
    before: tuple[TargetState, Trust],
    found: tuple[Box, float, TargetState],
    search: Callable[[Trust], tuple[Box, float] | None],
    settings: TrackerSettings,
) -> Judged:
    """Decide whether a target is lost, and whether it is back.

    Args:
        before: State and memory of the last frame.
        found: Box, score and state by the look around the last box.
        search: Looks for the target in the whole frame; called only while it is lost.
        settings: Thresholds.
    """
    state, trust = before
    box, score, target = found
    if state != "lost":
        home = box if target == "tracked" else trust.home
        return Judged(home if target == "lost" else box, score, target, Trust(home))
    sure = settings.redetect_score or settings.uncertain_until
    confirmed = trust.confirmed + 1
    if score < sure:
        again = search(trust)
        if again is None or again[1] < sure:
            return Judged(trust.home, score, "lost", Trust(trust.home))
        (box, score), confirmed = again, 1
    if confirmed < settings.redetect_frames:
        return Judged(box, score, "lost", Trust(trust.home, confirmed))
    return Judged(box, score, "tracked", Trust(box))


def everywhere(
    look: Look,
    picture: NDArray[np.uint8],
    templates: Templates,
    trust: Trust,
    frame: int,
    settings: TrackerSettings,
) -> tuple[Box, float] | None:
    """The best answer in the whole frame after a second look, or None.

    All tiles go through the network as one batch. Where there are more than
    `settings.redetect_tiles`, each frame takes the next ones.
    """
    height, width = picture.shape[:2]
    chosen = tiles(trust.home, (width, height), settings, settings.redetect_tiles, frame)
    answers = look.boxes(picture, chosen, [templates] * len(chosen))
    box, _ = max(answers, key=lambda answer: answer[1])
    box = box.clip(width, height, settings.min_size)
    around = Crop.around(box, settings.search_factor, settings.search_size)
    ((box, score),) = look.boxes(picture, [around], [templates])
    box = box.clip(width, height, settings.min_size)
    if not 1 / _LARGEST_CHANGE <= box.area / trust.home.area <= _LARGEST_CHANGE:
        return None
    return box, score


def tiles(
    home: Box,
    frame_size: tuple[int, int],
    settings: TrackerSettings,
    count: int | None = None,
    frame: int = 0,
) -> list[Crop]:
    """Search crops of the usual size for the lost target that cover the frame, half overlapping.

    Args:
        home: The lost target.
        frame_size: Width and height, pixels.
        settings: Search factor and size.
        count: So many of them at most: for a small target there are tens of thousands.
        frame: Number of the frame; each takes the next ones.

    Example:
        >>> settings = TrackerSettings(64, 128, search_factor=4.0)
        >>> [(one.left, one.top) for one in tiles(Box(0, 0, 25, 25), (200, 100), settings)]
        [(0, 0), (50, 0), (100, 0)]
    """
    side = Crop.around(home, settings.search_factor, settings.search_size).side
    columns, rows = (_starts(length, side) for length in frame_size)
    every = len(columns) * len(rows)
    count = every if count is None else min(every, count)
    chosen = []
    for number in range(frame * count, (frame + 1) * count):
        row, column = divmod(number % every, len(columns))
        left, top = round(columns[column]), round(rows[row])
        center = (left + side / 2, top + side / 2)
        chosen.append(Crop(left, top, side, settings.search_size, center))
    return chosen


def _starts(length: int, side: int) -> NDArray[np.float64]:
    """Where tiles begin along an axis, to be rounded; in the middle where one covers all of it."""
    if side >= length:
        return np.array([(length - side) / 2])
    count = math.ceil((length - side) / (side * (1 - _OVERLAP))) + 1
    return np.linspace(0, length - side, count)
