"""The manifest: a row for each target, as CSV, JSON lines or Parquet.

```
video,x,y,w,h,start,id,camera
a.mp4,197,213,34,81,0,,north          start, id and all further columns (tags) may be left out
a.mp4,20,30,50,60,120,,north          a second target of the same video, from frame 120 on
s3://bucket/b.mp4,12,40,80,60,,,south
```
In JSON lines a row may say `"box": [x, y, w, h]` instead of the four numbers.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, TextIO

from ..box import XYWH, Box
from ..errors import BoxError, ConfigError, DataError
from ..video.address import folder_of, path_of, public_address, within

__all__ = ["FORMATS", "QUARANTINE", "Target", "read_manifest"]

FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
"""Ends of names that a manifest may have."""

_KNOWN = frozenset({"video", "x", "y", "w", "h", "box", "start", "id"})
QUARANTINE = ("given", "reason")
"""Columns that `quarantine.csv` has beside those of a manifest; where both are there they are no
tags, and `given` is what the first manifest called the video."""
_ROWS = 10_000  # of Parquet at a time
_LONGEST = 1 << 20  # characters of a row


@dataclass(frozen=True, slots=True)
class Target:
    """One row.

    Attributes:
        given: The video as the manifest calls it.
        video: Its path or address, whole.
        box: `(x, y, w, h)` in pixels of the frame `start`; None where the row has none.
        start: Number of the frame that the box was seen in.
        id: Number given by the manifest, or None.
        tags: All other columns, as text; of a row with a fault all but the video.
        fault: Why the row cannot be used, or None.
    """

    given: str
    video: str
    box: XYWH | None
    start: int = 0
    id: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    fault: str | None = None


def read_manifest(place: str, path: str) -> Iterator[Target]:
    """The rows, one after the other: a manifest may be longer than the memory.

    A row that cannot be used comes with its `fault`, so that one typing error among a million
    rows does not stop the others; a row without a video, and a file of another kind, do.

    Args:
        place: Where the user said that it is; relative videos are beside it.
        path: A local copy of it, or the same.

    Raises:
        DataError: It cannot be read, or lacks a column.
        ConfigError: It is Parquet and pyarrow is not installed.
    """
    end, shown = PurePosixPath(path_of(place)).suffix.lower(), public_address(place)
    if end not in FORMATS:
        raise ConfigError(f"manifest {shown} must end in one of {', '.join(FORMATS)}")
    rows = _parquet(path, shown) if end == ".parquet" else _text(path, shown, end)
    folder = folder_of(place)  # once, and not for each of a million rows
    for number, row in enumerate(rows, 1):
        yield _target(row, shown, folder, number)


def _text(path: str, place: str, end: str) -> Iterator[Mapping[str, Any]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            if end in {".csv", ".tsv"}:
                yield from _csv(file, place, "\t" if end == ".tsv" else ",")
            else:
                yield from _jsonl(file, place)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"manifest {place} cannot be read: {reason}") from error


def _csv(file: TextIO, place: str, comma: str) -> Iterator[Mapping[str, Any]]:
    reader = csv.DictReader(file, delimiter=comma, restkey="")
    _check_columns(reader.fieldnames or (), place)
    yield from reader


def _jsonl(file: TextIO, place: str) -> Iterator[Mapping[str, Any]]:
    lines = iter(lambda: file.readline(_LONGEST), "")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"manifest {place}, line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"manifest {place}, line {number} is no JSON object")
        yield row


def _parquet(path: str, place: str) -> Iterator[Mapping[str, Any]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ConfigError(f"manifest {place} is read with pyarrow: pip install pyarrow") from error
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(file.schema_arrow.names, place)
            for batch in file.iter_batches(_ROWS):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"manifest {place} cannot be read as Parquet: {error}") from error


def _check_columns(names: Iterable[str], place: str) -> None:
    names = list(names)
    if "video" not in names or not ({"x", "y", "w", "h"} <= set(names) or "box" in names):
        raise DataError(
            f"manifest {place} must have the columns video, x, y, w, h (start, id and tags are up "
            f"to you); its first line has {', '.join(map(str, names)) or 'nothing'}"
        )


def _target(row: Mapping[str, Any], place: str, folder: str, number: int) -> Target:
    video = row.get("video")
    if not isinstance(video, str) or not video.strip():
        raise DataError(f"manifest {place}, row {number} names no video: {_short(row)}")
    whole = within(folder, video.strip())
    again = all(name in row for name in QUARANTINE)
    given = str((again and row["given"]) or video).strip()
    ours = _KNOWN.union(QUARANTINE) if again else _KNOWN
    try:
        return Target(
            given=given,
            video=whole,
            box=Box.parse(_box(row)).xywh,
            start=_whole(row.get("start"), "start") or 0,
            id=_whole(row.get("id"), "id"),
            tags=_tags(row, ours),
        )
    except (BoxError, ValueError, OverflowError) as error:
        # What it says is kept, so that whoever repairs it need not look for it.
        said = _tags(row, {"video", *QUARANTINE} if again else {"video"})
        fault = f"row {number} of the manifest: {error}"
        return Target(given, whole, None, tags=said, fault=fault)


def _box(row: Mapping[str, Any]) -> Any:
    box = row.get("box")
    if box in (None, ""):
        return [row.get(name) for name in "xywh"]
    return box.replace(",", " ").split() if isinstance(box, str) else box


def _whole(value: Any, name: str) -> int | None:
    """A number of a frame or target; Parquet has a missing one as None or NaN, CSV as nothing.

    In a column with gaps pandas writes 120 as `120.0`.
    """
    if value in (None, "") or (isinstance(value, float) and math.isnan(value)):
        return None
    try:
        number = float(value) if isinstance(value, str) else value
        whole = not isinstance(number, bool) and number == int(number) and 0 <= number < 1 << 53
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise ValueError(f"{name} must be a whole number from 0, got {value!r}")
    return int(number)


def _tags(row: Mapping[str, Any], ours: Collection[str]) -> dict[str, str]:
    """Columns that are not ours, as text."""
    return {
        str(name): _tag(value)
        for name, value in row.items()
        if name and name not in ours and value not in ("", None)
    }


def _tag(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _short(row: Mapping[str, Any]) -> str:
    return str(dict(itertools.islice(row.items(), 6)))[:120]
