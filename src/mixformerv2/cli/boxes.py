"""What `--box` may be: four numbers, or a file that holds them."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..box import Box
from ..errors import BoxError

__all__ = ["parse_boxes", "read_boxes"]

logger = logging.getLogger(__name__)

_NUMBER = re.compile(r"[^,;\s()\[\]]+")
_LARGEST_FILE = 64 << 20


def parse_boxes(texts: Iterable[str]) -> list[Box]:
    """Boxes from the command line, in order.

    Raises:
        BoxError: Neither four numbers nor a file of them, or numbers that are no box.

    Example:
        >>> parse_boxes(["10,20,30,40"])
        [Box(x=10.0, y=20.0, w=30.0, h=40.0)]
    """
    boxes: list[Box] = []
    for text in texts:
        numbers = _numbers(text)
        if numbers is not None:
            boxes.append(Box.parse(numbers))
        elif os.path.isfile(text):  # `Path` raises where the text is longer than any name
            boxes.extend(_from_file(Path(text)))
        else:
            raise BoxError(
                f"--box {text!r} is neither four numbers X,Y,W,H nor a file; "
                "give pixels of the top left corner, width and height"
            )
    return boxes


def _numbers(text: str) -> list[float] | None:
    """Four numbers in a line, or None."""
    try:
        numbers = [float(word) for word in _NUMBER.findall(text)]
    except ValueError:
        return None
    return numbers if len(numbers) == 4 else None


def _from_file(path: Path) -> list[Box]:
    """Boxes of a file: all of a JSON list, the first line of a text or CSV."""
    if path.suffix.lower() == ".json":
        return _from_json(path)
    found = read_boxes(path)
    if len(found) > 1:
        logger.warning("%s holds %d boxes; the first is used", path, len(found))
    return [next(iter(found.values()))]


def _from_json(path: Path) -> list[Box]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BoxError(f"{path} is no JSON that can be read: {error}") from error
    if not isinstance(content, list) or not content:
        raise BoxError(f"{path} must hold [x, y, w, h] or a list of such")
    several: list[Any] = content if isinstance(content[0], list) else [content]
    return [Box.parse(one) for one in several]


def read_boxes(path: str | Path) -> dict[int, Box]:
    """Boxes of a text file, one a line, by their frame.

    Takes what trackers and benchmarks write: four numbers separated by commas, tabs or blanks; or
    CSV with a header that names `x`, `y`, `w`, `h` and perhaps `frame`. Lines whose numbers are
    no box (a target that is out of view) are left out.

    Raises:
        BoxError: The file cannot be read or holds no box.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise BoxError(f"{path} is too large for a list of boxes")
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BoxError(f"{path} cannot be read as a list of boxes: {error}") from error
    columns = _columns(lines[0]) if lines else None
    boxes: dict[int, Box] = {}
    for row, line in enumerate(lines[1:] if columns else lines):
        words = [*_NUMBER.findall(line), *[""] * 5]
        try:
            numbers = [float(words[i]) for i in (columns[1:] if columns else range(4))]
            frame = words[columns[0]] if columns else ""
            boxes[int(float(frame)) if frame else row] = Box.parse(numbers)
        except (ValueError, IndexError, OverflowError):
            continue
    if not boxes:
        raise BoxError(f"{path} holds no box; each line must be x,y,w,h in pixels")
    return boxes


def _columns(header: str) -> tuple[int, int, int, int, int] | None:
    """Places of frame, x, y, w and h in a line, or None where it is no header."""
    names = [word.lower() for word in _NUMBER.findall(header)]
    if not {"x", "y", "w", "h"} <= set(names):
        return None
    x, y, w, h = (names.index(name) for name in "xywh")
    # Without a column of frames, one that is never filled.
    return (names.index("frame") if "frame" in names else len(names) + 4, x, y, w, h)
