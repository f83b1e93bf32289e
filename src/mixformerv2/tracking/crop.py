"""The square cut out around a box: where it lies, its pixels, and the way back to the frame.

All of it as the published code does it (fact 4 of the design), its quirks included, because the
published weights have only ever seen crops made that way.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..box import Box
from .frame import Channels

__all__ = ["Crop", "take_all"]


@dataclass(frozen=True, slots=True)
class Crop:
    """A square of the frame, `side` pixels wide, seen as `size` pixels.

    Attributes:
        left: First column of the square in the frame; may be negative.
        top: First row of the square in the frame; may be negative.
        side: Pixels of the frame on each side.
        size: Pixels of the crop on each side.
        center: Centre of the box in the frame, not rounded. Boxes map back around it and not
            around the middle of the rounded square, as in the published code.

    Example:
        >>> crop = Crop.around(Box(100, 50, 40, 90), factor=2.0, size=112)
        >>> crop.left, crop.top, crop.side
        (60, 35, 120)
        >>> crop.to_frame(crop.to_crop(Box(100, 50, 40, 90)))
        Box(x=100.0, y=50.0, w=40.0, h=90.0)
    """

    left: int
    top: int
    side: int
    size: int
    center: tuple[float, float]

    @classmethod
    def around(cls, box: Box, factor: float, size: int) -> Crop:
        """The square around a box: `factor` times the square root of its area on each side."""
        side = max(1, math.ceil(math.sqrt(box.w * box.h) * factor))
        # Written in this order because it is rounded to a whole pixel: another order of the same
        # sum can land on the other side of a half.
        left = round(box.x + 0.5 * box.w - side * 0.5)
        top = round(box.y + 0.5 * box.h - side * 0.5)
        return cls(left, top, side, size, box.center)

    @property
    def scale(self) -> float:
        """Pixels of the crop for one pixel of the frame."""
        return self.size / self.side

    def to_crop(self, box: Box) -> Box:
        """A box of the frame, in pixels of the crop."""
        half = 0.5 * self.side
        cx, cy = box.center
        cx, cy = cx - (self.center[0] - half), cy - (self.center[1] - half)
        return Box.from_cxcywh(*(v * self.scale for v in (cx, cy, box.w, box.h)))

    def to_frame(self, box: Box) -> Box:
        """A box of the crop, in pixels of the frame."""
        half = 0.5 * self.side
        cx, cy, w, h = (v / self.scale for v in (*box.center, box.w, box.h))
        return Box.from_cxcywh(cx + (self.center[0] - half), cy + (self.center[1] - half), w, h)

    def unit_to_frame(self, corners: Sequence[float]) -> Box:
        """Corners x1, y1, x2, y2 in 0..1 of the crop, as a network answers, in the frame."""
        return self.to_frame(Box.from_xyxy(*(float(v) * self.size for v in corners)))

    def take(self, frame: NDArray[np.uint8], channels: Channels = "bgr") -> NDArray[np.uint8]:
        """Cut the square out of a frame `[H, W, 3]`: `[size, size, 3]`, BGR.

        What lies outside the frame is black. So is the frame's last column or row wherever the
        square reaches it: the published code pads one pixel too many there.
        """
        height, width = frame.shape[:2]
        left, top = max(self.left, 0), max(self.top, 0)
        right = min(self.left + self.side, width - 1)
        bottom = min(self.top + self.side, height - 1)
        inside = frame[top : max(bottom, top), left : max(right, left)]
        if inside.size == 0:
            return np.zeros((self.size, self.size, 3), np.uint8)
        if inside.shape[:2] == (self.side, self.side):
            square = _plain(inside)
        else:
            square = _on_black(self.side, left - self.left, top - self.top, inside)
        crop = cv2.resize(square, (self.size, self.size), interpolation=cv2.INTER_LINEAR)
        if channels == "rgb":
            crop = cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)
        return np.asarray(crop, np.uint8)


def take_all(
    frame: NDArray[np.uint8], crops: Sequence[Crop], channels: Channels = "bgr"
) -> NDArray[np.uint8]:
    """Several squares out of a frame `[H, W, 3]`, all of one size: `[N, size, size, 3]`, BGR."""
    return np.stack([crop.take(frame, channels) for crop in crops])


def _plain(view: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same pixels with strides that OpenCV takes: rows may be apart, pixels may not."""
    if view.strides[1:] == (3, 1) and view.strides[0] > 0:
        return view
    return np.ascontiguousarray(view)


class _Canvas(threading.local):
    """A black square that is kept between frames, and where the last frame drew on it.

    A large target near the border asks for a square several times the frame (4320 pixels a side
    for a target that fills 720p). Clearing 56 MB for every frame takes longer than a small
    network; wiping what the last frame drew does not. Memory never written is never mapped.
    """

    pixels: NDArray[np.uint8] = np.zeros((0, 0, 3), np.uint8)
    drawn: tuple[slice, slice] = (slice(0, 0), slice(0, 0))

    def square(self, side: int) -> NDArray[np.uint8]:
        """A black square of `side` pixels, for one use."""
        if side > len(self.pixels):
            # Half as much again, so that a target that comes closer does not ask anew each frame.
            room = max(512, side + side // 2)
            self.pixels = np.zeros((room, room, 3), np.uint8)
        else:
            self.pixels[self.drawn] = 0
        return self.pixels[:side, :side]


_KEPT = _Canvas()
_KEEP_UP_TO = 6144
"""Larger squares (a target that fills a 4K frame) are made anew: slow, but nothing stays."""


def _on_black(side: int, x: int, y: int, inside: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A black square of `side` pixels with `inside` at column x and row y."""
    place = (slice(y, y + inside.shape[0]), slice(x, x + inside.shape[1]))
    if side > _KEEP_UP_TO:
        square = np.zeros((side, side, 3), np.uint8)
    else:
        square = _KEPT.square(side)
        _KEPT.drawn = place
    square[place] = inside
    return square
