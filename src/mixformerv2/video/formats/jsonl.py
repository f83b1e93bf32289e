"""The journal as a format: a clean copy, with a whole last line."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from ...box import Box
from .journal import Journal, dump_header, dump_row
from .keyed import Keyed

__all__ = ["dump", "load"]


def dump(journal: Journal, file: TextIO) -> None:
    """Copy what can be read; a journal that was cut off ends at its last whole line."""
    file.write(dump_header(journal.header))
    for row in journal:
        file.write(dump_row(row))


def load(path: Path, size: tuple[int, int]) -> list[Keyed]:
    """Objects by their number."""
    journal = Journal(path)
    found: dict[int, Keyed] = {}
    for number, result in journal:
        keyed = found.setdefault(number, Keyed(journal.header.label(number), tells=False))
        keyed.keys[result.frame] = Box.parse(result.box)
    return [found[number] for number in sorted(found)]
