"""What `--box` may be: four numbers, or a file that holds them."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ..box import Box
from ..errors import BoxError

__all__ = ["parse_boxes", "read_boxes"]

logger = logging.getLogger(__name__)

_NUMBER = re.compile(r"[^,;\s()\[\]]+")
_LARGEST_FILE = 64 << 20


def parse_boxes(texts: Iterable[str], option: str = "--box") -> list[Box]:
    """Boxes from the command line, in order.

    Args:
        texts: As they were given.
        option: What they were given to, for messages.

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
                f"{option} {text!r} is neither four numbers X,Y,W,H nor a file; "
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
    rows = _rows(path)
    first = rows[0]
    if len(rows) > 1 or first.frame != 0:
        count = f"{len(rows)} boxes" if len(rows) > 1 else "1 box"
        which = f", of frame {first.frame} in line {first.line}," if first.frame != 0 else ""
        logger.warning("%s holds %s; the first%s is used", path, count, which)
    return [first.box]


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
    """Boxes of a text file, one a line, by their frame; of several targets, those of the first.

    Takes what trackers and benchmarks write, separated by commas, tabs or blanks: four numbers
    x, y, w, h; eight, the corners of a polygon, for the box around it; MOTChallenge, nine or ten
    columns or the suffix `.mot`; or CSV with a header that names `x`, `y`, `w`, `h` and perhaps
    `frame`. Lines whose numbers are no box (a target that is out of view) are left out.

    Raises:
        BoxError: The file cannot be read, holds no box, or has lines of another kind.
    """
    boxes: dict[int, Box] = {}
    for row in _rows(Path(path)):
        boxes.setdefault(row.frame, row.box)
    return boxes


class _Row(NamedTuple):
    line: int
    frame: int
    box: Box


def _rows(path: Path) -> list[_Row]:
    """All lines that hold a box, in order; at least one."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise BoxError(f"{path} is too large for a list of boxes")
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BoxError(f"{path} cannot be read as a list of boxes: {error}") from error
    columns = _columns(path, lines[0]) if lines else None
    mot = path.suffix.lower() == ".mot"
    rows: list[_Row] = []
    for number, line in enumerate(lines):
        words = _NUMBER.findall(line)
        try:
            if columns is None:
                frame, numbers = _plain(number, [float(word) for word in words], mot=mot)
            elif number == 0:
                continue
            else:
                frame, numbers = _named(number - 1, words, columns)
            rows.append(_Row(number + 1, frame, Box.parse(numbers)))
        except _CountError as error:
            raise BoxError(
                f"{path}, line {number + 1} holds {error}; a line is x,y,w,h in pixels, the eight "
                "numbers of a polygon, or MOTChallenge's ten; other columns need a header that "
                "names x, y, w and h"
            ) from error
        except (ValueError, IndexError, OverflowError):
            continue
    if not rows:
        raise BoxError(f"{path} holds no box; each line must be x,y,w,h in pixels")
    return rows


class _CountError(Exception):
    """How many numbers a line holds that cannot be told what they mean."""


def _plain(number: int, values: list[float], *, mot: bool) -> tuple[int, list[float]]:
    """Frame and box of a line without a header, by how many numbers it has."""
    if (mot and len(values) >= 6) or len(values) in (9, 10):
        frame, _, x, y, w, h = values[:6]
        return int(frame) - 1, [x - 1, y - 1, w, h]  # counted from 1
    if len(values) == 8:
        xs, ys = values[0::2], values[1::2]
        return number, list(Box.from_xyxy(min(xs), min(ys), max(xs), max(ys)))
    if values and len(values) != 4:
        raise _CountError(f"{len(values)} numbers")
    return number, values


def _named(
    number: int, words: list[str], columns: tuple[int, int, int, int, int]
) -> tuple[int, list[float]]:
    """Frame and box of a line below a header."""
    words = [*words, *[""] * 5]
    numbers = [float(words[i]) for i in columns[1:]]
    frame = words[columns[0]]
    return int(float(frame)) if frame else number, numbers


def _columns(path: Path, header: str) -> tuple[int, int, int, int, int] | None:
    """Places of frame, x, y, w and h in a line, or None where it is no header."""
    names = [word.lower() for word in _NUMBER.findall(header)]
    if not {"x", "y", "w", "h"} <= set(names):
        if len(names) >= 4 and not header.startswith("#") and not any(map(_is_number, names)):
            raise BoxError(
                f"{path}: its first line names {', '.join(names[:12])}; it must name x, y, w and h"
            )
        return None
    x, y, w, h = (names.index(name) for name in "xywh")
    # Without a column of frames, one that is never filled.
    return (names.index("frame") if "frame" in names else len(names) + 4, x, y, w, h)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
