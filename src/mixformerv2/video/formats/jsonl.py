"""The journal as a format: a clean copy, with a whole last line."""

from __future__ import annotations

from typing import TextIO

from .journal import Journal, dump_header, dump_row

__all__ = ["dump"]


def dump(journal: Journal, file: TextIO) -> None:
    """Copy what can be read; a journal that was cut off ends at its last whole line."""
    file.write(dump_header(journal.header))
    for row in journal:
        file.write(dump_row(row))
