"""Two targets in one place: what to look for where objects are alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from .result import TrackResult

__all__ = ["Doubles"]

_SAME = 0.7
"""IoU from which two boxes are as good as one. Targets that pass each other seldom reach it."""


class Doubles:
    """Counts the frames in which two targets have nearly the same box.

    Each target is followed by itself, so two that look alike may end on one object. Pairs that
    begin so, such as a person and a coat, are left out.

    Example:
        >>> doubles = Doubles()
        >>> here = TrackResult((0, 0, 10, 10), 0.9, "tracked", 1, 0.1)
        >>> there = TrackResult((50, 0, 10, 10), 0.9, "tracked", 1, 0.1)
        >>> for results in ({1: here, 2: there}, {1: here, 2: here}):
        ...     doubles.add(results)
        >>> doubles.frames
        Counter({(1, 2): 1})
    """

    def __init__(self) -> None:
        self.frames: Counter[tuple[int, int]] = Counter()
        self._known: set[int] = set()
        self._together: set[tuple[int, int]] = set()

    def add(self, results: Mapping[int, TrackResult]) -> None:
        """Take the results of a frame; lost targets are nowhere."""
        new = results.keys() - self._known
        self._known |= new
        found = {n: one.box for n, one in results.items() if one.state != "lost"}
        if len(found) < 2:
            return
        numbers = sorted(found)
        x, y, w, h = np.array([found[n] for n in numbers], np.float64).T
        wide = np.minimum.outer(x + w, x + w) - np.maximum.outer(x, x)
        high = np.minimum.outer(y + h, y + h) - np.maximum.outer(y, y)
        shared = np.maximum(wide, 0) * np.maximum(high, 0)
        same = np.triu(shared >= _SAME * (np.add.outer(w * h, w * h) - shared), 1)
        for i, j in np.argwhere(same):
            pair = numbers[i], numbers[j]
            if new.intersection(pair):
                self._together.add(pair)
            if pair not in self._together:
                self.frames[pair] += 1
