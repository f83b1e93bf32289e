"""Where to look next, and how far a box may change: every part of it is off by default.

The published tracker looks around its last box and believes each answer whole. What is here bends
that by settings: a search that goes ahead of a moving target, widens while the target is not found
or narrows while it rests, a limit on sudden changes of size, damping of the size, and a smooth
answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..box import Box
from .result import TargetState
from .settings import TrackerSettings

__all__ = ["Motion", "Smooth", "middle_shown", "search_box", "settled_size"]

_SLOPE_HZ = 1.0
"""Cutoff of the speed's own filter: the value that the filter's authors start from."""
_LIMIT = 10.0
"""Speeds in box lengths a frame are held below this: nothing that is tracked is faster."""

Four = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Smooth:
    """A One-Euro filter on centre and size: little delay when fast, little tremble when slow.

    Casiez, Roussel and Vogel, "1 Euro filter", CHI 2012. Speeds are measured in lengths of the
    box a second, so that one setting fits small and large targets.

    Attributes:
        values: Filtered cx, cy, w, h in pixels.
        speeds: Filtered speeds of the same, lengths of the box a second.
    """

    values: Four
    speeds: Four = (0.0, 0.0, 0.0, 0.0)

    @classmethod
    def at(cls, box: Box) -> Smooth:
        """Begin with a box as it is."""
        return cls((*box.center, box.w, box.h))

    @property
    def box(self) -> Box:
        """The filtered box."""
        return Box.from_cxcywh(*self.values)

    def after(self, box: Box, seconds: float, hz: float, gain: float) -> Smooth:
        """The filter after one more box.

        Args:
            box: The raw answer.
            seconds: Since the last one.
            hz: Cutoff of a target at rest, in hertz.
            gain: What a speed of one box length a second adds to the cutoff, in hertz.
        """
        length = math.sqrt(box.area)
        slope_share = _share(_SLOPE_HZ, seconds)
        values, speeds = [], []
        raw_values = (*box.center, box.w, box.h)
        for raw, old, speed in zip(raw_values, self.values, self.speeds, strict=True):
            slope = (raw - old) / (length * seconds)
            speed = speed + slope_share * (slope - speed)
            values.append(old + _share(hz + gain * abs(speed), seconds) * (raw - old))
            speeds.append(speed)
        return Smooth(_four(values), _four(speeds))


@dataclass(frozen=True, slots=True)
class Motion:
    """What a tracker remembers of how its target moves.

    Attributes:
        speed: Of the centre, pixels a frame, x and y.
        growth: How many times its usual side the next search region has.
        smooth: The filter of the answers; None where it is off or has not begun.
        calm: Frames in a row in which the target was there and hardly moved; counted only where a
            setting asks for it, and no further than it asks.
    """

    speed: tuple[float, float] = (0.0, 0.0)
    growth: float = 1.0
    smooth: Smooth | None = None
    calm: int = 0

    def resized(self, sx: float, sy: float) -> Motion:
        """The same in a picture that has grown by these factors."""
        smooth = self.smooth
        if smooth is not None:
            cx, cy, w, h = smooth.values
            smooth = Smooth((cx * sx, cy * sy, w * sx, h * sy), smooth.speeds)
        return replace(self, speed=(self.speed[0] * sx, self.speed[1] * sy), smooth=smooth)

    def after(
        self,
        before: Box | None,
        box: Box,
        target: TargetState,
        seconds: float,
        settings: TrackerSettings,
    ) -> Motion:
        """The motion after a frame.

        Args:
            before: The box of the frame before it; None where the target may have been anywhere.
            box: The answer.
            target: Whether it is believed.
            seconds: Since the frame before it.
            settings: Which parts are on.
        """
        speed, growth, smooth, calm = (0.0, 0.0), 1.0, None, 0
        if settings.search_lead and target != "lost" and before is not None:
            reach = _LIMIT * math.sqrt(box.area)
            moves = (new - old for new, old in zip(box.center, before.center, strict=True))
            new_x, new_y = (min(max(move, -reach), reach) for move in moves)
            # Half of the old speed: a single trembling answer shall not throw the search.
            speed = (0.5 * (self.speed[0] + new_x), 0.5 * (self.speed[1] + new_y))
        if settings.search_growth > 1.0 and target != "tracked":
            growth = min(self.growth * settings.search_growth, settings.search_growth_max)
        if settings.smooth_hz and before is not None:
            old = self.smooth or Smooth.at(before)
            smooth = old.after(box, seconds, settings.smooth_hz, settings.smooth_gain)
        rests = before is not None and _hardly_moved(before, box, settings)
        if settings.search_middle and target == "tracked" and rests:
            calm = min(self.calm + 1, settings.middle_after)
        return Motion(speed, growth, smooth, calm)


def search_box(box: Box, motion: Motion, settings: TrackerSettings) -> tuple[Box, float]:
    """The box to look around, and the search factor."""
    lead = settings.search_lead
    if lead:
        box = Box(box.x + lead * motion.speed[0], box.y + lead * motion.speed[1], box.w, box.h)
    # The motion may come from a saved state of a tracker that was allowed to grow further.
    return box, settings.search_factor * min(motion.growth, settings.search_growth_max)


def middle_shown(box: Box, motion: Motion, settings: TrackerSettings) -> int:
    """How many pixels in the middle of the search crop are enough; 0 where all of it is needed.

    The target must have been at rest for a while and fit in there, with the motion of a frame that
    would still be called rest, and half a box length around it: of what it sees of the border of
    an object, a network needs both sides.

    Example:
        >>> settings = TrackerSettings(64, 128, search_factor=4.0, search_middle=96)
        >>> rest = Motion(calm=settings.middle_after)
        >>> [middle_shown(box, rest, settings) for box in (Box(0, 0, 9, 9), Box(0, 0, 90, 9))]
        [96, 0]
    """
    if not settings.search_middle or motion.calm < settings.middle_after:
        return 0
    length = math.sqrt(box.area)
    shown = length * settings.search_factor * settings.search_middle / settings.search_size
    needed = max(box.w, box.h) + length * (0.5 + 2 * settings.middle_below)
    return settings.search_middle if needed <= shown else 0


def _hardly_moved(before: Box, box: Box, settings: TrackerSettings) -> bool:
    reach = settings.middle_below * math.sqrt(box.area)
    return all(abs(new - old) < reach for new, old in zip(box.xyxy, before.xyxy, strict=True))


def settled_size(before: Box, box: Box, settings: TrackerSettings) -> Box:
    """The answer with its size held back as the settings want it; the centre stays.

    Example:
        >>> settings = TrackerSettings(64, 128, max_scale_change=1.1)
        >>> settled_size(Box(0, 0, 100, 50), Box(0, 0, 200, 50), settings).w
        110.00000000000001
    """
    limit, damping = settings.max_scale_change, settings.size_damping
    if limit == 0.0 and damping == 0.0:
        return box
    w, h = box.w, box.h
    if limit:
        w = min(max(w, before.w / limit), before.w * limit)
        h = min(max(h, before.h / limit), before.h * limit)
    # Between sizes the geometric mean: twice and half as large are equally far.
    w = before.w**damping * w ** (1.0 - damping)
    h = before.h**damping * h ** (1.0 - damping)
    return Box.from_cxcywh(*box.center, w, h)


def _share(hz: float, seconds: float) -> float:
    """What share of a new value a low-pass filter of this cutoff takes."""
    return 1.0 / (1.0 + 1.0 / (2.0 * math.pi * hz * seconds))


def _four(values: Sequence[float]) -> Four:
    a, b, c, d = values
    return (a, b, c, d)
