"""MOTChallenge text: `frame,id,x,y,w,h,confidence,-1,-1,-1`, counted from 1.

Source: "All frame numbers, target IDs and bounding boxes are 1-based",
https://motchallenge.net/instructions/.
"""

from __future__ import annotations

from typing import TextIO

from .journal import Journal

__all__ = ["dump"]


def dump(journal: Journal, file: TextIO) -> None:
    """One line for each object in each frame; the score is the confidence, lost frames included."""
    for number, result in journal:
        x, y, w, h = result.box
        values = (x + 1, y + 1, w, h, result.score)
        numbers = ",".join(repr(float(value)) for value in values)
        file.write(f"{result.frame + 1},{number},{numbers},-1,-1,-1\n")
