"""Frames in which nothing moves need no network: off by default.

The search region of the last look is reduced to cells of light. While no cell changes by more than
a few grey levels, target and surroundings stand still, and the last answer holds.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .crop import Crop
from .frame import Channels

__all__ = ["Seen"]

Picture = NDArray[np.uint8]
_CELLS = 32
_MOST = 29
"""Frames in a row without a look: with thirty a second, at least one look in each."""
_MAX_PLACE = 1 << 24


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the last look saw.

    Attributes:
        crop: Where it looked.
        cells: `[32, 32]` mean brightness in there.
        score: What it answered.
        skipped: Frames since then.
    """

    crop: Crop
    cells: Picture
    score: float
    skipped: int = 0

    @classmethod
    def at(cls, picture: Picture, crop: Crop, channels: Channels, score: float) -> Seen:
        """What a look has just seen."""
        return cls(crop, _cells(picture, crop, channels), score)

    def holds(self, picture: Picture, channels: Channels, limit: float) -> bool:
        """Whether each cell differs by less than `limit`, and the last look is not long ago."""
        if self.skipped >= _MOST:
            return False
        now = _cells(picture, self.crop, channels)
        return bool(cv2.absdiff(now, self.cells).max() < limit)

    def once_more(self) -> Seen:
        """The same after one more frame without a look."""
        return replace(self, skipped=self.skipped + 1)

    def header(self) -> dict[str, Any]:
        """Plain values for a saved state."""
        crop = self.crop
        return {
            "crop": [crop.left, crop.top, crop.side, crop.size, *crop.center],
            "cells": base64.b64encode(self.cells.tobytes()).decode(),
            "score": self.score,
            "skipped": self.skipped,
        }

    @classmethod
    def read(cls, header: dict[str, Any]) -> Seen:
        """What `header` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        left, top, side, size, cx, cy = header["crop"]
        whole = (left, top, side, size, header["skipped"])
        if not all(type(value) is int and abs(value) <= _MAX_PLACE for value in whole):
            raise ValueError(f"expected whole numbers, got {whole!r}")
        numbers = (float(cx), float(cy), float(header["score"]))
        sound = np.isfinite(numbers).all() and 0 <= numbers[2] <= 1
        if min(side, size) < 1 or size > 4096 or header["skipped"] < 0 or not sound:
            raise ValueError("a look has a region, a size and a score")
        cells = np.frombuffer(base64.b64decode(header["cells"], validate=True), np.uint8)
        crop = Crop(left, top, side, size, (numbers[0], numbers[1]))
        return cls(crop, cells.reshape(_CELLS, _CELLS), numbers[2], header["skipped"])


def _cells(picture: Picture, crop: Crop, channels: Channels) -> Picture:
    grey = cv2.cvtColor(crop.take(picture, channels), cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.resize(grey, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA), np.uint8)
