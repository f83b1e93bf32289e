"""What the first box says: where the target is, and how people here draw their boxes.

Whether a runner's box holds the arms, a car's the mirrors or an animal's the tail is a habit of
whoever drew it, and the network has one of its own from its training data. Looking once at the
first frame itself shows the difference between the two, and a part of it is carried over to all
answers of that target. The search does not see it.
"""

from __future__ import annotations

import math
import sys
import warnings
from dataclasses import dataclass
from typing import Any

from ..box import Box, iou
from ..errors import BoxError

__all__ = ["Style", "inside", "style_of"]

_TOUCH = 1e-3
"""A box may stand out of the picture by so many pixels unmentioned: sums of floats do."""
_SAME_THING = 0.4
"""IoU of both boxes from which the network means what was meant; the least of 76 real ones: 0.56"""
_SHIFT, _GROWTH = 0.25, 1.4
"""Centres differ by so many sizes at most and sizes by this factor: more is not a habit. So the
centre of what the network answers stays inside of what is made of it."""


@dataclass(frozen=True, slots=True)
class Style:
    """How the boxes wanted differ from those that the network answers.

    Attributes:
        x: How far to the right the centre lies, in widths of the network's box.
        y: How far below, in its heights.
        w: Factor of its width.
        h: Factor of its height.

    Example:
        >>> Style(w=1.25).of(Box(10, 10, 40, 40))
        Box(x=5.0, y=10.0, w=50.0, h=40.0)
    """

    x: float = 0.0
    y: float = 0.0
    w: float = 1.0
    h: float = 1.0

    def of(self, box: Box) -> Box:
        """The network's box as it would have been drawn."""
        cx, cy = box.center
        return Box.from_cxcywh(
            cx + self.x * box.w, cy + self.y * box.h, self.w * box.w, self.h * box.h
        )

    def undone(self, box: Box) -> Box:
        """The other way: what the network would have answered where this box was drawn.

        Example:
            >>> Style(w=1.25).undone(Box(5, 10, 50, 40))
            Box(x=10.0, y=10.0, w=40.0, h=40.0)
        """
        cx, cy = box.center
        w, h = box.w / self.w, box.h / self.h
        return Box.from_cxcywh(cx - self.x * w, cy - self.y * h, w, h)

    @classmethod
    def read(cls, values: Any) -> Style:
        """From a saved state.

        Raises:
            ValueError: numbers that `style_of` does not give.
        """
        style = cls(*(float(v) for v in values))
        shifts, growths = (abs(style.x), abs(style.y)), (style.w, style.h)
        # Not as "any is too large": of a NaN nothing is true.
        if not (max(shifts) <= _SHIFT and all(1 / _GROWTH <= v <= _GROWTH for v in growths)):
            raise ValueError(f"no box differs from the network's by {values!r:.80}")
        return style


def style_of(given: Box, found: Box, share: float) -> Style:
    """The style of a box that was given, by what the network answers in the same frame.

    Args:
        given: As it was drawn.
        found: The network's answer to a look around the given box.
        share: How much of the difference in size counts, 0 to 1; that in place counts by the
            square of it, for where a box lies is less of a habit. A half has paid best: the other
            half is the pose of that one moment, or an inaccuracy of the network or of the hand.

    Returns:
        No difference at all where the two boxes hardly overlap.

    Example:
        >>> style_of(Box(10, 10, 40, 40), Box(10, 10, 32, 40), share=1.0)
        Style(x=0.125, y=0.0, w=1.25, h=1.0)
    """
    if iou(given.xywh, found.xywh) < _SAME_THING:
        return Style()
    shifts = (
        (one - other) / size
        for one, other, size in zip(given.center, found.center, (found.w, found.h), strict=True)
    )
    x, y = (share**2 * min(max(shift, -_SHIFT), _SHIFT) for shift in shifts)
    factors = (given.w / found.w, given.h / found.h)
    # Between sizes the geometric mean: a half of twice as large is 1.41 times.
    w, h = (math.pow(min(max(one, 1 / _GROWTH), _GROWTH), share) for one in factors)
    return Style(x, y, w, h)


def inside(box: Box, width: int, height: int) -> Box:
    """The given box, cut to the picture; warns whoever called this package.

    Raises:
        BoxError: none of it is in the picture.
    """
    if max(box.w, box.h) <= 1.0 < max(width, height):
        warnings.warn(
            f"box {box.xywh} is no larger than a pixel; boxes are in pixels, not in parts of the "
            f"picture of {width} x {height}",
            UserWarning,
            stacklevel=_outside(),
        )
    x1, y1, x2, y2 = box.xyxy
    if min(x1, y1) >= -_TOUCH and x2 <= width + _TOUCH and y2 <= height + _TOUCH:
        return box
    cut = box.intersect(width, height)
    if cut is None:
        raise BoxError(
            f"box {box.xywh} lies outside the picture of {width} x {height} pixels; "
            "x and y are its top left corner, counted from 0"
        )
    warnings.warn(
        f"box {box.xywh} stands out of the picture of {width} x {height} pixels; "
        f"{cut.xywh} of it is used",
        UserWarning,
        stacklevel=_outside(),
    )
    return cut


def _outside() -> int:
    """How far up the stack, as `warnings.warn` counts from whoever asks, this package ends.

    By how many of its own functions a box comes here differs: `Tracker.init`, `track`, ...
    """
    ours = __name__.partition(".")[0]
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == ours:
        frame, level = frame.f_back, level + 1
    return level
