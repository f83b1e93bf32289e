"""Boxes: the only place that converts between formats.

A box crosses the public border as a plain tuple `(x, y, w, h)` in pixels, origin at the top left,
never rounded. Inside, `Box` is that tuple with names and arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import BoxError

__all__ = ["XYWH", "Box", "iou", "pairwise_iou"]

XYWH = tuple[float, float, float, float]


class Box(NamedTuple):
    """A box `(x, y, w, h)` in pixels, origin at the top left of the picture.

    Example:
        >>> box = Box.from_xyxy(10, 20, 50, 80)
        >>> box
        Box(x=10.0, y=20.0, w=40.0, h=60.0)
        >>> box.center
        (30.0, 50.0)
    """

    x: float
    y: float
    w: float
    h: float

    @classmethod
    def from_xyxy(cls, x1: float, y1: float, x2: float, y2: float) -> Box:
        """Make a box from two corners."""
        return cls(float(x1), float(y1), float(x2) - float(x1), float(y2) - float(y1))

    @classmethod
    def from_cxcywh(cls, cx: float, cy: float, w: float, h: float) -> Box:
        """Make a box from centre and size."""
        return cls(float(cx) - 0.5 * float(w), float(cy) - 0.5 * float(h), float(w), float(h))

    @classmethod
    def parse(cls, value: Sequence[float]) -> Box:
        """Check four numbers from a user and make a box of them.

        Raises:
            BoxError: not four numbers, not finite, or without area.
        """
        if isinstance(value, str | bytes):  # "1234" would be read digit by digit
            raise BoxError(f"a box is four numbers x, y, w, h in pixels, got the text {value!r}")
        try:
            x, y, w, h = (float(v) for v in value)
        except (TypeError, ValueError) as error:
            raise BoxError(f"a box is four numbers x, y, w, h in pixels, got {value!r}") from error
        except OverflowError as error:  # whole numbers of hundreds of digits; do not print them
            raise BoxError("a box has a number that no float can hold; give real pixels") from error
        if not all(math.isfinite(v) for v in (x, y, w, h)):
            raise BoxError(f"box {(x, y, w, h)} has a value that is not finite; give real pixels")
        if w <= 0 or h <= 0 or w * h == 0:  # the last where the product underflows
            raise BoxError(
                f"box {(x, y, w, h)} has width {w:g} and height {h:g}; both must be above zero"
            )
        return cls(x, y, w, h)

    @property
    def xyxy(self) -> XYWH:
        """Corners `(x1, y1, x2, y2)`."""
        return (self.x, self.y, self.x + self.w, self.y + self.h)

    @property
    def xywh(self) -> XYWH:
        """A plain tuple, for the public border."""
        return (self.x, self.y, self.w, self.h)

    @property
    def center(self) -> tuple[float, float]:
        """Centre `(cx, cy)`."""
        return (self.x + 0.5 * self.w, self.y + 0.5 * self.h)

    @property
    def area(self) -> float:
        """Width times height, in square pixels."""
        return self.w * self.h

    def intersect(self, width: float, height: float) -> Box | None:
        """The part of the box inside a picture of the given size, or None if there is none."""
        x1, y1, x2, y2 = self.xyxy
        x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
        if x2 <= x1 or y2 <= y1:
            return None
        return Box.from_xyxy(x1, y1, x2, y2)

    def seen(self, width: float, height: float) -> Box:
        """The part of the box inside a picture; the box as it is where that is all, or none."""
        x1, y1, x2, y2 = self.xyxy
        whole = x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height
        return self if whole else self.intersect(width, height) or self

    def clip(self, width: float, height: float, margin: float = 0.0) -> Box:
        """Clip to the picture as the published tracker does.

        At least `margin` pixels of the box stay inside on each axis, which also makes `margin` the
        smallest side (fact 4 of the design: 10 in the published code).
        """
        x1, y1, x2, y2 = self.xyxy
        x1 = min(max(0.0, x1), width - margin)
        x2 = min(max(margin, x2), float(width))
        y1 = min(max(0.0, y1), height - margin)
        y2 = min(max(margin, y2), float(height))
        return Box(x1, y1, max(margin, x2 - x1), max(margin, y2 - y1))


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two `(x, y, w, h)` boxes; 0 where either has no area.

    Example:
        >>> round(iou((0, 0, 10, 10), (5, 0, 10, 10)), 4)
        0.3333
    """
    return float(pairwise_iou(np.asarray([a], np.float64), np.asarray([b], np.float64))[0])


def pairwise_iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of boxes matched row by row: `[N, 4]` and `[N, 4]` as x, y, w, h, to `[N]`."""
    left_top = np.maximum(a[:, :2], b[:, :2])
    right_bottom = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    inside = np.prod(np.clip(right_bottom - left_top, 0.0, None), axis=1)
    areas = np.prod(np.clip(a[:, 2:], 0.0, None), axis=1)
    union = areas + np.prod(np.clip(b[:, 2:], 0.0, None), axis=1) - inside
    ratio = np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)
    # (x + w) - x may round to more than w, and equal boxes to an IoU above 1.
    return np.asarray(np.minimum(ratio, 1.0))
