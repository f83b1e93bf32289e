"""Comma-separated values with a header line."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TextIO

from ...box import Box
from .journal import Journal
from .keyed import Keyed, read_limited

__all__ = ["COLUMNS", "dump", "load"]

COLUMNS = ("frame", "time", "id", "x", "y", "w", "h", "score", "state")


def dump(journal: Journal, file: TextIO) -> None:
    """One line for each object in each frame; frames and pixels count from 0."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, result in journal:
        writer.writerow(
            (result.frame, result.time, number, *result.box, result.score, result.state)
        )


def load(path: Path, size: tuple[int, int]) -> list[Keyed]:
    """Objects by their `id`; `frame`, `x`, `y`, `w` and `h` must be there, in any order."""
    lines = csv.DictReader(read_limited(path).splitlines())
    found: dict[int, Keyed] = {}
    try:
        rows = list(lines)
    except csv.Error as error:
        raise ValueError(error) from error
    for line in rows:
        keyed = found.setdefault(int(line.get("id") or 1), Keyed(tells=False))
        keyed.keys[int(line["frame"])] = Box.parse([float(line[side]) for side in "xywh"])
    return [found[number] for number in sorted(found)]
