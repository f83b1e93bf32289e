"""The journal: one JSON object a line, written while the run goes on, never rounded.

```
{"journal": 1, "source": "clip.mp4", "width": 640, "height": 360, "fps": 30.0, ...}
{"frame": 0, "time": 0.0, "id": 1, "box": [10.0, 20.0, 40.0, 30.0], "score": 1.0, "state": ...}
...
{"end": "source", "frames": 196, "broken": 0}
```

The first line tells about the run, the last how it ended: with the source, at the "limit" of
frames that was set, or "interrupted". A killed run has no last line, and perhaps half a line before
it. All other formats are made from a journal.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TextIO, get_args

from ...errors import ConfigError, DataError, OutputError
from ...tracking.result import TargetState, TrackResult
from .streams import open_text

__all__ = [
    "Journal",
    "JournalWriter",
    "Row",
    "RunHeader",
    "check_labels",
    "dump_header",
    "dump_row",
    "label_of",
]

logger = logging.getLogger(__name__)

_VERSION = 1
_LABEL = "object"
_STATES = frozenset(get_args(TargetState))


class Row(NamedTuple):
    """One object in one frame."""

    id: int
    result: TrackResult


@dataclass(frozen=True, slots=True)
class RunHeader:
    """What a run was about: the first line of its journal.

    Attributes:
        source: Name of the video or folder, without any password.
        width: Of the frames, in pixels.
        height: Of the frames, in pixels.
        fps: Frames a second; None where the source does not know.
        model: Name of the bundle.
        engine: Engine and precision.
        tool: Who wrote this.
        labels: What the objects are, for label tools: of object 1, 2, ..., or one name for all.
        given: Number and frame of each box that somebody has given; of an object without any
            nobody has noted it.
    """

    source: str
    width: int
    height: int
    fps: float | None = None
    model: str = ""
    engine: str = ""
    tool: str = ""
    labels: tuple[str, ...] = ()
    given: tuple[tuple[int, int], ...] = ()

    def label(self, number: int) -> str:
        """What an object is: "object" where nobody said.

        Example:
            >>> RunHeader("clip.mp4", 640, 360, labels=("cat", "dog")).label(2)
            'dog'
        """
        return label_of(self.labels, number)


def label_of(labels: Sequence[str], number: int) -> str:
    """What an object is, by names as `RunHeader` has them."""
    if len(labels) < 2:
        return labels[0] if labels else _LABEL
    return labels[number - 1] if 0 < number <= len(labels) else _LABEL


def check_labels(labels: Sequence[str], objects: int) -> tuple[str, ...]:
    """Names for objects 1, 2, ...; one may stand for all.

    Raises:
        ConfigError: Another number of names than of objects, or one that label tools cannot show.
    """
    for label in labels:
        if not label.strip() or not label.isprintable():
            raise ConfigError(f"--label {label!r} is no name; say what the object is, such as cup")
    if len(labels) > 1 and len(labels) != objects:
        raise ConfigError(
            f"--label is there {len(labels)} times and objects are {objects}; give one name for "
            "all, or one for each in their order"
        )
    return tuple(labels)


def dump_header(header: RunHeader) -> str:
    """The first line of a journal."""
    content = {"journal": _VERSION, **asdict(header)}
    if not header.given:
        del content["given"]
    return json.dumps(content) + "\n"


def dump_row(row: Row) -> str:
    """The line of one object in one frame."""
    number, result = row
    # float(): numpy's numbers are no JSON. Python writes every digit that tells a float apart.
    content = {
        "frame": int(result.frame),
        "time": float(result.time),
        "id": int(number),
        "box": [float(value) for value in result.box],
        "score": float(result.score),
        "state": result.state,
    }
    return json.dumps(content) + "\n"


class JournalWriter:
    """Appends results to a journal; each is on its way to the disk before the next comes.

    Raises:
        OutputError: The journal cannot be written, now or later.
        BrokenPipeError: Nobody reads the pipe any more.
    """

    def __init__(self, path: str | Path, header: RunHeader) -> None:
        self.path = Path(path)
        self.rows = 0
        try:
            self._file: TextIO = open_text(self.path, buffering=1)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from error
        try:
            self._line(dump_header(header))
        except OSError:  # of which OutputError is one
            self.close()
            raise

    def write(self, number: int, result: TrackResult) -> None:
        """Append one object's result in one frame."""
        self._line(dump_row(Row(number, result)))
        self.rows += 1

    def end(self, why: str, *, frames: int, broken: int) -> None:
        """Say how the run ended."""
        self._line(json.dumps({"end": why, "frames": frames, "broken": broken}) + "\n")

    def _line(self, line: str) -> None:
        try:
            self._file.write(line)
        except BrokenPipeError:  # whoever reads has enough; that is no error of ours
            raise
        except OSError as error:
            raise OutputError(
                f"{self.path}: results cannot be written any further: {error.strerror}; "
                "what is there so far can be used"
            ) from error

    def close(self) -> None:
        """Close the file; all lines are in it already."""
        try:
            self._file.close()
        except OSError as error:  # a full disk is told of again here
            logger.debug("%s: %s", self.path, error)

    def __enter__(self) -> JournalWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Journal:
    """A journal on disk. Reading goes line by line: a day of frames needs no more memory.

    Attributes:
        header: What the run was about.
        thin: How far label tools may draw a side from where it was found, in pixels.

    Raises:
        DataError: It is no journal, or a line in its middle is damaged.

    Example:
        ```python
        journal = Journal("clip_tracked.jsonl")
        for number, result in journal:
            print(number, result.frame, result.box)
        ```
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.header = self._read_header()
        self.thin = 0.0
        self._lost_too = True

    def without_lost(self) -> Journal:
        """The same journal, but its rows are only those in which the target is not lost."""
        other = copy(self)
        other._lost_too = False
        return other

    def thinned(self, pixels: float) -> Journal:
        """The same journal, but label tools get a key only where the box leaves a straight line.

        Raises:
            ConfigError: Less than nothing, or no finite number.
        """
        if not (math.isfinite(pixels) and pixels >= 0):
            raise ConfigError(f"--thin {pixels:g} must be a number of pixels, 0 or more")
        other = copy(self)
        other.thin = pixels
        return other

    def labelled(self, labels: Sequence[str]) -> Journal:
        """The same journal, but its objects have these names.

        Raises:
            ConfigError: as `check_labels`.
        """
        other = copy(self)
        names = check_labels(labels, max(self.ids(), default=0))
        other.header = replace(self.header, labels=names)
        return other

    def _read_header(self) -> RunHeader:
        try:
            with self.path.open(encoding="utf-8") as file:
                first = _parse(file.readline(1 << 20))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise DataError(f"journal {self.path} cannot be read: {reason}") from error
        if first is None or first.get("journal") != _VERSION:
            raise DataError(
                f"{self.path} is no journal of `mixformerv2 track`: its first line must be "
                f'{{"journal": {_VERSION}, ...}}'
            )
        known = {field.name for field in fields(RunHeader)}
        try:
            header = RunHeader(**{name: first[name] for name in known & first.keys()})
            header = replace(
                header, labels=_labels(header.labels), given=tuple(map(_given, header.given))
            )
            numbers = (header.width, header.height, header.fps or 1.0)
            if not all(math.isfinite(number) and number > 0 for number in numbers):
                raise ValueError(f"sizes {numbers}")
        except (TypeError, ValueError) as error:
            raise DataError(f"{self.path}: its first line is damaged: {error}") from error
        return header

    def __iter__(self) -> Iterator[Row]:
        for row in self._all_rows():
            if self._lost_too or row.result.state != "lost":
                yield row

    def _all_rows(self) -> Iterator[Row]:
        damaged: int | None = None
        with self.path.open(encoding="utf-8", errors="replace") as file:
            next(file)
            for number, line in enumerate(file, 2):
                if damaged is not None:
                    raise DataError(
                        f"{self.path}: line {damaged} is damaged; delete it to go on without it"
                    )
                content = _parse(line)
                if content is not None and "end" in content:
                    continue
                row = _row(content)
                if row is None:
                    damaged = number
                else:
                    yield row
        if damaged is not None:
            logger.warning("%s: its last line is cut off and left out", self.path)

    def ids(self) -> list[int]:
        """Numbers of the objects, rising."""
        return sorted({row.id for row in self})

    def labels(self) -> dict[str, int]:
        """What the objects are, each name once and numbered from 1."""
        names = dict.fromkeys(self.header.label(number) for number in self.ids())
        return {name: index for index, name in enumerate(names or [self.header.label(1)], 1)}

    def frames(self) -> list[int]:
        """Numbers of the frames, rising, those in which all targets are lost too."""
        return sorted({row.result.frame for row in self._all_rows()})

    def frame_count(self) -> int:
        """Number of the last frame plus one; 0 without any result."""
        return max((row.result.frame + 1 for row in self._all_rows()), default=0)

    def seconds_per_frame(self) -> float:
        """By the source's rate, or 1/30 where it has none."""
        return 1 / (self.header.fps or 30.0)

    def length(self) -> int | None:
        """Frames of the video; None where the run was ended before it."""
        found: dict[str, Any] | None = None
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith('{"end"'):
                    found = _parse(line)
        if found is None or found.get("end") != "source":
            return None
        told = found.get("frames")  # fewer where a run did not begin at the first frame
        return max(self.frame_count(), told if isinstance(told, int) else 0)


def _labels(read: Any) -> tuple[str, ...]:
    """Names as JSON has them."""
    if not isinstance(read, (list, tuple)):
        raise TypeError(f"labels {read!r}")
    if not all(isinstance(name, str) and name.isprintable() for name in read):
        raise ValueError(f"labels {read!r}")
    return tuple(read)


def _given(read: Any) -> tuple[int, int]:
    """An object and a frame as JSON has them."""
    number, frame = read
    if type(number) is not int or type(frame) is not int:
        raise TypeError(f"given {read!r:.40}")
    return number, frame


def _parse(line: str) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _row(content: dict[str, Any] | None) -> Row | None:
    """A line as a result, or None where it is not one."""
    try:
        assert content is not None
        x, y, w, h = (float(value) for value in content["box"])
        result = TrackResult(
            box=(x, y, w, h),
            score=float(content["score"]),
            state=content["state"],
            frame=int(content["frame"]),
            time=float(content["time"]),
        )
        row = Row(int(content["id"]), result)
    except (AssertionError, KeyError, TypeError, ValueError, OverflowError):
        return None
    good = (
        result.state in _STATES
        and result.frame >= 0
        and all(math.isfinite(value) for value in (*result.box, result.score, result.time))
    )
    return row if good else None
