"""Comma-separated values with a header line."""

from __future__ import annotations

import csv
from typing import TextIO

from .journal import Journal

__all__ = ["COLUMNS", "dump"]

COLUMNS = ("frame", "time", "id", "x", "y", "w", "h", "score", "state")


def dump(journal: Journal, file: TextIO) -> None:
    """One line for each object in each frame; frames and pixels count from 0."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, result in journal:
        writer.writerow(
            (result.frame, result.time, number, *result.box, result.score, result.state)
        )
