"""MOTChallenge text: `frame,id,x,y,w,h,confidence,-1,-1,-1`, counted from 1.

Source: "All frame numbers, target IDs and bounding boxes are 1-based",
https://motchallenge.net/instructions/.
"""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from ...box import Box
from .journal import Journal
from .keyed import Keyed, read_limited

__all__ = ["dump", "load"]


def dump(journal: Journal, file: TextIO) -> None:
    """One line for each object in each frame; the score is the confidence, lost frames included."""
    for number, result in journal:
        x, y, w, h = result.box
        values = (x + 1, y + 1, w, h, result.score)
        numbers = ",".join(repr(float(value)) for value in values)
        file.write(f"{result.frame + 1},{number},{numbers},-1,-1,-1\n")


def load(path: Path, size: tuple[int, int]) -> list[Keyed]:
    """Objects by their number."""
    found: dict[int, Keyed] = {}
    for line in filter(str.strip, read_limited(path).splitlines()):
        frame, number, x, y, w, h = (float(word) for word in line.split(",")[:6])
        keyed = found.setdefault(int(number), Keyed(tells=False))
        keyed.keys[int(frame) - 1] = Box.parse((x - 1, y - 1, w, h))
    return [found[number] for number in sorted(found)]
