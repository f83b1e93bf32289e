"""Reading label files: rows of numbers and flags. What is wrong is told with file and line."""

from __future__ import annotations

import configparser
import csv
import io
import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ..store import FrameStore
from .base import Findings

__all__ = [
    "number_of",
    "read_flags",
    "read_ini",
    "read_names",
    "read_rows",
    "read_table",
    "read_xml",
    "rows_of",
    "split_row",
    "write_rows",
]

NO_BOX = (np.nan,) * 4
Row = tuple[float, float, float, float]


def split_row(line: str) -> list[float]:
    """The numbers of a line, parted by commas, semicolons, tabs or spaces."""
    return [float(part) for part in re.split(r"[,;\s]+", line.strip().rstrip(",;"))]


def _four(line: str) -> Row:
    x, y, w, h = split_row(line)
    return x, y, w, h


def rows_of(
    text: str,
    where: str,
    findings: Findings,
    convert: Callable[[str], Row] = _four,
    what: str = "four numbers x, y, w, h",
) -> NDArray[np.float64]:
    """A truth file's rows, `[N, 4]`, NaN where a row has a number that is not finite.

    Args:
        text: Its content.
        where: What messages call it.
        findings: Is told of each line that is wrong; the line counts as NaN then.
        convert: Makes four numbers of a line, or raises ValueError.
        what: What a line should be, for messages.
    """
    lines = text.splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        findings.refuse(f"{where} is empty")
    rows: list[Row] = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(convert(line))
        except (ValueError, IndexError):
            findings.refuse(f"{where}, line {number}: {line.strip()[:60]!r} is not {what}")
            rows.append(NO_BOX)
    boxes = np.asarray(rows, np.float64).reshape(-1, 4)
    boxes[~np.isfinite(boxes).all(axis=1)] = np.nan
    return boxes


def read_rows(
    store: FrameStore,
    name: str,
    findings: Findings,
    convert: Callable[[str], Row] = _four,
    what: str = "four numbers x, y, w, h",
) -> NDArray[np.float64]:
    """`rows_of` a file of a store."""
    return rows_of(store.text(name), store.where(name), findings, convert, what)


def read_flags(
    store: FrameStore, name: str, findings: Findings, values: range = range(2)
) -> NDArray[np.int64] | None:
    """Whole numbers parted by commas or line ends; None where there is no such file.

    Args:
        store: Where it lies.
        name: Of the file.
        findings: Is told of each value outside the range; it counts as the first of the range.
        values: What is allowed.
    """
    if not store.has(name):
        return None
    flags = []
    for number, line in enumerate(store.text(name).splitlines(), 1):
        for part in re.split(r"[,\s]+", line.strip().strip(",")):
            try:
                value = int(found) if part and (found := float(part)) in values else None
                if part and value is None:
                    raise ValueError(part)
            except ValueError:
                findings.refuse(
                    f"{store.where(name)}, line {number}: {part!r} is no whole number from "
                    f"{values[0]} to {values[-1]}"
                )
                value = values[0]
            if value is not None:
                flags.append(value)
    return np.asarray(flags, np.int64)


def read_names(store: FrameStore, name: str) -> list[str]:
    """The lines of a list file that are not empty."""
    return [line.strip() for line in store.text(name).splitlines() if line.strip()]


def read_table(store: FrameStore, name: str) -> tuple[list[str], list[tuple[int, dict[str, Any]]]]:
    """A CSV file with a header: its names in small letters, and each row with its line's number.

    Raises:
        DataError: it is no text, or no CSV; the line is named.
    """
    text = io.StringIO(store.text(name), newline=None)  # lines end as on any system
    reader = csv.DictReader(text, skipinitialspace=True)
    try:
        names = [column.strip().lower() for column in reader.fieldnames or ()]
        reader.fieldnames = names
        return names, [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise DataError(
            f"{store.where(name)}, line {reader.line_num}: it is no CSV: {error}"
        ) from error


def number_of(picture: str) -> int:
    """The number at the end of a picture's name; 0 where there is none.

    Example:
        >>> number_of("David/img/0300.jpg")
        300
    """
    digits = re.search(r"(\d+)$", PurePosixPath(picture).stem)
    return int(digits[1]) if digits else 0


def read_ini(store: FrameStore, name: str) -> dict[str, str]:
    """All `key: value` or `key = value` of an ini file; empty where it is missing or damaged."""
    if not store.has(name):
        return {}
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(store.text(name))
    except configparser.Error:
        return {}
    return {key: value for part in parser.sections() for key, value in parser.items(part)}


def read_xml(store: FrameStore, name: str) -> ElementTree.Element:
    """The root of an XML file.

    Raises:
        DataError: it cannot be read, or is damaged; the line is named. One with entities of its own
            is refused: nothing we read needs them, and they can be made to fill the memory.
    """
    data = store.read(name)
    if b"<!ENTITY" in data:
        raise DataError(f"{store.where(name)} defines entities; a label file needs none")
    try:
        return ElementTree.fromstring(data)
    except LookupError as error:
        raise DataError(f"{store.where(name)} cannot be read: {error}; save it as UTF-8") from error
    except ElementTree.ParseError as error:
        line, column = error.position
        raise DataError(
            f"{store.where(name)}, line {line}: column {column}: it is no XML: {error}"
        ) from error


def write_rows(boxes: NDArray[np.float64]) -> str:
    """Rows of `[N, 4]` boxes, shortest digits that read back equal, `nan` where unlabelled.

    Example:
        >>> import numpy as np
        >>> write_rows(np.array([[1, 2.5, 3, 4]]))
        '1.0,2.5,3.0,4.0\\n'
    """
    lines = (",".join(repr(float(v)) for v in row) for row in boxes)
    return "".join(f"{line}\n" for line in lines)
