"""The results of a shard: one table for all its videos, and files of the usual formats for each."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from ..errors import ConfigError, OutputError
from ..video.formats import FORMATS, export
from ..video.formats.journal import Journal, Row
from .plan import TABLES

__all__ = ["COLUMNS", "Tables", "check_formats"]

COLUMNS = ("video", "target", "frame", "time", "x", "y", "w", "h", "score", "state", "tags")
"""Of every table; pixels, seconds and frames count from 0."""

_GROUP = 50_000  # rows of Parquet that are compressed together

Line = tuple[Any, ...]


def check_formats(formats: tuple[str, ...]) -> None:
    """Say before an hour of work that a library is missing.

    Raises:
        ConfigError: Parquet is asked for and pyarrow is not installed.
    """
    if "parquet" in formats:
        _pyarrow()


class _Table(Protocol):
    def write(self, line: Line) -> None: ...

    def close(self) -> None: ...


class Tables:
    """Writes the results of finished videos below a folder.

    Args:
        folder: Where to.
        formats: Their names.
        thin: Of label tools' formats, as `export` takes it.

    Raises:
        OutputError: Something cannot be written, now or later.
    """

    def __init__(self, folder: Path, formats: tuple[str, ...], thin: float = 0.0) -> None:
        self._folder, self._thin = folder, thin
        self._each = [name for name in formats if name not in TABLES]
        kinds: dict[str, Callable[[Path], _Table]] = {
            "csv": _Csv,
            "jsonl": _JsonLines,
            "parquet": _Parquet,
        }
        try:
            self._tables: list[_Table] = [
                kinds[name](folder / f"results.{name}") for name in formats if name in TABLES
            ]
        except OSError as error:
            raise _failed(folder, error) from error

    def add(
        self, name: str, place: int, journal: Path, tags: Mapping[int, Mapping[str, str]]
    ) -> None:
        """Append the results of a video from its journal.

        Args:
            name: Of the video, for the table.
            place: Its number in the shard, for names of files.
            journal: Its results.
            tags: Of each target.
        """
        texts = {number: json.dumps(dict(found)) if found else "" for number, found in tags.items()}
        rows = Journal(journal)
        try:
            for row in rows if self._tables else ():
                line = _line(name, row, texts.get(row.id, ""))
                for table in self._tables:
                    table.write(line)
        except OSError as error:
            raise _failed(self._folder, error) from error
        for form in self._each:
            path = self._folder / f"{place:04d}-{_stem(name)}{FORMATS[form].suffixes[0]}"
            export(rows, path, form, thin=self._thin)

    def close(self) -> None:
        """Write what is still in memory."""
        try:
            for table in self._tables:
                table.close()
        except OSError as error:
            raise _failed(self._folder, error) from error

    def __enter__(self) -> Tables:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()


def _line(name: str, row: Row, tags: str) -> Line:
    result = row.result
    return (name, row.id, result.frame, result.time, *result.box, result.score, result.state, tags)


class _Csv:
    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def write(self, line: Line) -> None:
        self._writer.writerow(line)

    def close(self) -> None:
        self._file.close()


class _JsonLines:
    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def write(self, line: Line) -> None:
        self._file.write(json.dumps(dict(zip(COLUMNS, line, strict=True))) + "\n")

    def close(self) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, path: Path) -> None:
        pa, pq = _pyarrow()
        few = pa.dictionary(pa.int32(), pa.string())  # columns of few different values
        kinds = [few, pa.int64(), pa.int64(), *[pa.float64()] * 6, few, few]
        self._schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)))
        self._pa = pa
        self._writer = pq.ParquetWriter(str(path), self._schema)
        self._rows: list[Line] = []

    def write(self, line: Line) -> None:
        self._rows.append(line)
        if len(self._rows) >= _GROUP:
            self._flush()

    def _flush(self) -> None:
        columns = zip(*self._rows, strict=True) if self._rows else [()] * len(COLUMNS)
        arrays = [
            self._pa.array(list(column), kind)
            for column, kind in zip(columns, self._schema.types, strict=True)
        ]
        self._writer.write_table(self._pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows = []

    def close(self) -> None:
        self._flush()
        self._writer.close()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ConfigError("Parquet is written with pyarrow: pip install pyarrow") from error
    return pa, pq


def _stem(name: str) -> str:
    """What of a video's name can stand in the name of a file on any system."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", Path(name).stem)[:60].strip("_") or "video"


def _failed(folder: Path, error: OSError) -> OutputError:
    return OutputError(f"{folder}: results cannot be written: {error.strerror or error}")
