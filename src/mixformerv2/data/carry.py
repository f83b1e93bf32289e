"""Carry a box from frame to frame without a trained tracker: by point tracks or by optical flow.

Both follow many points inside the box and move it as most of them agree: by the median of their
ways, scaled by the median change of the distances between them (median flow). Points whose way
back does not lead to where they came from are left out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ..box import XYWH

__all__ = ["FlowTeacher", "PointTeacher", "Teacher", "moved_box"]

Image = NDArray[np.uint8]
Points = NDArray[np.float32]  # [N, 2] x, y
INNER = 0.8  # share of the box whose points are followed: its corners seldom show the object
FEWEST = 8
RETURN = 1.0  # pixels that the way back may miss by
GRID = 12


class Teacher(Protocol):
    """Who follows a box: the calls of an OpenCV tracker."""

    def init(self, image: Image, boundingBox: Sequence[float], /) -> None:
        """Start on a box x, y, w, h."""
        ...

    def update(self, image: Image, /) -> tuple[bool, Sequence[float]]:
        """Whether the object is found in the next frame, and its box."""
        ...


def moved_box(box: XYWH, before: Points, after: Points) -> XYWH:
    """The box as points `[N, 2]` in it have moved: median way, median change of distances.

    Example:
        >>> points = np.array([[0, 0], [10, 0], [0, 10], [10, 10]], np.float32)
        >>> moved_box((0.0, 0.0, 10.0, 10.0), points, points * 2)
        (0.0, 0.0, 20.0, 20.0)
    """
    a, b = np.triu_indices(len(before), 1)
    apart = np.hypot(*(before[a] - before[b]).T)
    far = apart > 1.0
    scale = float(np.median(np.hypot(*(after[a] - after[b]).T)[far] / apart[far]))
    x, y, w, h = box
    # The centre moves as the points do once they are scaled about it.
    centre = np.array([x + 0.5 * w, y + 0.5 * h])
    way = np.median(after - (centre + scale * (before - centre)), axis=0)
    cx, cy = (float(v) for v in centre + way)
    return cx - 0.5 * scale * w, cy - 0.5 * scale * h, scale * w, scale * h


def _grid(box: XYWH) -> Points:
    """Points spread over an ellipse inside the box."""
    line = (np.arange(GRID) + 0.5) * 2 / GRID - 1
    u, v = (plane.ravel() for plane in np.meshgrid(line, line))
    inside = u**2 + v**2 <= 1.0
    x, y, w, h = box
    at = np.stack([x + w * (0.5 + 0.5 * INNER * u), y + h * (0.5 + 0.5 * INNER * v)], 1)
    return np.asarray(at[inside], np.float32)


class _Carrier:
    """Moves a box by the points in it; how points are followed is left open."""

    def __init__(self) -> None:
        self._frame: Image | None = None
        self._box: XYWH = (0.0, 0.0, 0.0, 0.0)

    def init(self, image: Image, boundingBox: Sequence[float], /) -> None:
        """Start on a box x, y, w, h."""
        self._frame = image
        x, y, w, h = (float(v) for v in boundingBox)
        self._box = (x, y, w, h)

    def update(self, image: Image, /) -> tuple[bool, XYWH]:
        """Whether enough points agree in the next frame, and the box there."""
        assert self._frame is not None  # init comes first
        height, width = image.shape[:2]
        points = self._points(self._frame, self._box)
        inside = ((points >= 0) & (points <= (width - 1, height - 1))).all(1)
        points = points[inside]
        if len(points) < FEWEST:
            return False, self._box
        landed, back = self._follow(self._frame, image, points)
        good = np.hypot(*(back - points).T) < RETURN
        # Of the points that return, those that move with most of the others.
        if good.sum() < FEWEST or good.mean() < 0.3:
            return False, self._box
        before, after = points[good], landed[good]
        ways = after - before
        off = np.hypot(*(ways - np.median(ways, axis=0)).T)
        together = off <= max(2.0 * float(np.median(off)), 1.0)
        if together.sum() < FEWEST:
            return False, self._box
        box = moved_box(self._box, before[together], after[together])
        x, y, w, h = box
        if not (0.0 <= x + 0.5 * w <= width and 0.0 <= y + 0.5 * h <= height):
            return False, self._box  # it left the picture
        self._frame, self._box = image, box
        return True, box

    def _points(self, frame: Image, box: XYWH) -> Points:
        return _grid(box)

    def _follow(self, frame: Image, later: Image, points: Points) -> tuple[Points, Points]:
        """Where points are in the later frame, and where those are back in this one."""
        raise NotImplementedError


class PointTeacher(_Carrier):
    """Lucas-Kanade tracks of corners and of a grid of points (OpenCV's pyramids)."""

    def _points(self, frame: Image, box: XYWH) -> Points:
        grid = _grid(box)
        x, y, w, h = (round(v) for v in box)
        part = _grey(frame)[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)]
        if min(part.shape) < 8:
            return grid
        corners: NDArray[Any] | None = cv2.goodFeaturesToTrack(part, 60, 0.02, 3)
        if corners is None:
            return grid
        found = corners.reshape(-1, 2) + np.array([max(x, 0), max(y, 0)], np.float32)
        middle = np.array([box[0] + 0.5 * box[2], box[1] + 0.5 * box[3]])
        half = 0.5 * INNER * np.array([box[2], box[3]])
        inner = (((found - middle) / np.maximum(half, 1.0)) ** 2).sum(1) <= 1.0
        return np.asarray(np.concatenate([grid, found[inner]]), np.float32)

    def _follow(self, frame: Image, later: Image, points: Points) -> tuple[Points, Points]:
        now, then = _grey(frame), _grey(later)
        start = points.reshape(-1, 1, 2)
        landed, found, _ = cv2.calcOpticalFlowPyrLK(
            now, then, start, np.empty_like(start), winSize=(15, 15)
        )
        back, returned, _ = cv2.calcOpticalFlowPyrLK(
            then, now, landed, np.empty_like(start), winSize=(15, 15)
        )
        lost = (found.ravel() == 0) | (returned.ravel() == 0)
        returns = np.array(back, np.float32).reshape(-1, 2)
        returns[lost] = 1e6
        return np.asarray(landed, np.float32).reshape(-1, 2), returns


class FlowTeacher(_Carrier):
    """Dense optical flow (OpenCV's DIS), computed once for all boxes of a pair of frames.

    Args:
        kept: So many pairs of frames are remembered.
    """

    def __init__(self, kept: int = 320) -> None:
        super().__init__()
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._kept = kept
        # Frames are kept with the flow, so that their numbers stay theirs.
        self._known: OrderedDict[tuple[int, int], tuple[Image, Image, NDArray[np.float16]]]
        self._known = OrderedDict()

    def _between(self, frame: Image, later: Image) -> NDArray[np.float16]:
        key = (id(frame), id(later))
        found = self._known.get(key)
        if found is None:
            start = np.zeros((*frame.shape[:2], 2), np.float32)
            flow = self._flow.calc(_grey(frame), _grey(later), start)
            found = self._known[key] = (frame, later, flow.astype(np.float16))
            if len(self._known) > self._kept:
                self._known.popitem(last=False)
        return found[2]

    def _follow(self, frame: Image, later: Image, points: Points) -> tuple[Points, Points]:
        landed = points + _read(self._between(frame, later), points)
        return landed, landed + _read(self._between(later, frame), landed)


def _read(flow: NDArray[np.float16], points: Points) -> Points:
    """Flow at points, bilinear."""
    # Only what lies around the points: a whole field in 32 bits would cost more than the look-up.
    low = np.floor(points.min(0)).astype(int) - 1
    high = np.ceil(points.max(0)).astype(int) + 2
    limit = np.array(flow.shape[1::-1])
    low, high = np.clip(low, 0, limit - 1), np.clip(high, 1, limit)
    part = flow[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    x, y = (points - low).astype(np.float32).T[..., None]
    found = cv2.remap(part, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found.reshape(-1, 2), np.float32)


def _grey(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
