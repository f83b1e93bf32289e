"""Results to what is no file: standard output, a pipe, a device. It is written once, in order."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TextIO

__all__ = ["is_stdout", "is_stream", "open_text"]

_NUMBERED = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_NAMED = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}


def is_stream(path: str | Path) -> bool:
    """Whether a path is `-`, a stream of this process by its name, a pipe or a device.

    Example:
        >>> is_stream("-"), is_stream("/dev/fd/63"), is_stream("boxes.csv")
        (True, True, False)
    """
    if _number(path) is not None:
        return True
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


def is_stdout(path: str | Path) -> bool:
    """Whether what is written there comes out where the command prints."""
    return _number(path) == 1


def open_text(path: str | Path, buffering: int = -1) -> TextIO:
    """Open for writing; a stream of this process as it is, for a file behind it goes on."""
    number = _number(path)
    where = path if number is None else os.dup(number)
    return open(where, "w", buffering, encoding="utf-8", newline="")


def _number(path: str | Path) -> int | None:
    name = Path(path).as_posix()
    found = _NUMBERED.fullmatch(name)
    return int(found[1]) if found else _NAMED.get(name)
