"""Sequences with truth, read from a folder.

```
ROOT/NAME/img/000001.jpg ...   and   ROOT/NAME/groundtruth.txt      pictures in natural order
ROOT/NAME.mp4 (or .avi, .mov, .mkv, .webm)   and   ROOT/NAME.txt    a clip
```

The truth has one line a frame: x, y, w, h in pixels, 0-based, parted by commas, tabs or spaces.
A line of `nan,nan,nan,nan` is an unlabelled frame: it is tracked but not counted. The sequence
starts at its first labelled frame; the part of a name before `_` is its family.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..errors import DataError

__all__ = ["Sequence", "read_sequences", "read_truth", "write_truth"]

CLIPS = {".mp4", ".avi", ".mov", ".mkv", ".webm"}


@dataclass(frozen=True, eq=False)
class Sequence:
    """One video with its truth, read frame by frame when it is iterated.

    Attributes:
        name: The folder's or the clip's name.
        source: Folder of pictures, or clip.
        start: Number, in the source, of the frame whose box is given.
        truth: `[N, 4]` x, y, w, h from that frame on, NaN where unlabelled.
    """

    name: str
    source: Path
    start: int
    truth: NDArray[np.float64] = field(repr=False)

    @property
    def family(self) -> str:
        """The part of the name before the first `_`."""
        return self.name.split("_", 1)[0]

    @property
    def box(self) -> Box:
        """The given box."""
        return Box(*(float(v) for v in self.truth[0]))

    def __len__(self) -> int:
        return len(self.truth)

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """BGR frames `[H, W, 3]` from the given one on, one for each row of the truth.

        Raises:
            DataError: a picture cannot be read, or the clip ends early.
        """
        pictures = self._pictures() if self.source.is_dir() else self._clip()
        count = 0
        for picture in pictures:
            yield picture
            count += 1
            if count == len(self):
                return
        raise DataError(
            f"{self.source} ends after {count} frames from frame {self.start} on, but its truth "
            f"has {len(self)} rows"
        )

    def frame(self, index: int) -> NDArray[np.uint8]:
        """One frame, counted from the given one."""
        if self.source.is_dir():
            return _read_picture(_picture_files(self.source)[self.start + index])
        for number, picture in enumerate(self.frames()):
            if number == index:
                return picture
        raise DataError(f"{self.name} has no frame {index}")

    def first(self, count: int | None) -> Sequence:
        """The same sequence, at most `count` frames long."""
        return Sequence(self.name, self.source, self.start, self.truth[:count])

    def _pictures(self) -> Iterator[NDArray[np.uint8]]:
        for file in _picture_files(self.source)[self.start :]:
            yield _read_picture(file)

    def _clip(self) -> Iterator[NDArray[np.uint8]]:
        from ..video.source import open_source

        last: NDArray[np.uint8] | None = None
        with open_source(self.source, start=self.start) as clip:
            for frame in clip:
                # A broken frame repeats the last good one: the numbering of the truth must hold.
                last = frame.image if frame.image is not None else last
                if last is not None:
                    yield last


def read_sequences(root: str | Path, names: Iterable[str] | None = None) -> list[Sequence]:
    """Find the sequences of a folder, sorted by name.

    Args:
        root: The folder.
        names: Only these, all of which must be there.

    Raises:
        DataError: the folder is missing or holds no sequence, or a sequence is not as it should be.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder; give one with NAME/img and NAME/groundtruth.txt"
        )
    found = {entry.stem if entry.is_file() else entry.name: entry for entry in _entries(folder)}
    if not found:
        raise DataError(
            f"{folder} holds no sequence; lay it out as NAME/img/000001.jpg and "
            "NAME/groundtruth.txt, or NAME.mp4 and NAME.txt"
        )
    wanted = sorted(found) if names is None else list(names)
    for name in wanted:
        if name not in found:
            raise DataError(
                f"{folder} holds no sequence {name!r}; it has {', '.join(sorted(found))}"
            )
    return [_read_sequence(name, found[name]) for name in wanted]


def read_truth(file: str | Path) -> NDArray[np.float64]:
    """Read a truth file to `[N, 4]`, NaN where unlabelled.

    Raises:
        DataError: missing, empty, or a line that is not four numbers; the line is named.
    """
    path = Path(file)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"truth file {path} cannot be read: {error}") from error
    while lines and not lines[-1].strip():
        lines.pop()
    rows = []
    for number, line in enumerate(lines, 1):
        parts = re.split(r"[,\s]+", line.strip())
        try:
            x, y, w, h = (float(part) for part in parts)
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: {line.strip()[:60]!r} is not four numbers x, y, w, h"
            ) from error
        rows.append((x, y, w, h))
    if not rows:
        raise DataError(f"truth file {path} is empty")
    boxes = np.asarray(rows, np.float64)
    boxes[~np.isfinite(boxes).all(axis=1)] = np.nan
    return boxes


def write_truth(file: str | Path, boxes: NDArray[np.float64]) -> None:
    """Write `[N, 4]` boxes, shortest digits that read back equal, `nan` where unlabelled."""
    lines = (",".join(repr(float(v)) for v in row) for row in boxes)
    Path(file).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _entries(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if (entry / "groundtruth.txt").is_file() or (
            entry.suffix.lower() in CLIPS and entry.with_suffix(".txt").is_file()
        ):
            yield entry


def _read_sequence(name: str, entry: Path) -> Sequence:
    if entry.is_dir():
        source, truth = entry / "img", read_truth(entry / "groundtruth.txt")
        count = len(_picture_files(source))
        if count != len(truth):
            raise DataError(f"{entry} has {count} pictures in img but {len(truth)} rows of truth")
    else:
        source, truth = entry, read_truth(entry.with_suffix(".txt"))
    labelled = np.flatnonzero(np.isfinite(truth).all(axis=1) & (truth[:, 2:] > 0).all(axis=1))
    if not labelled.size:
        raise DataError(f"{entry} has no labelled frame with a box of positive size")
    start = int(labelled[0])
    return Sequence(name, source, start, truth[start:])


def _picture_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is missing; a sequence keeps its pictures in NAME/img")
    from ..video.readers import pictures_in

    return pictures_in(str(folder))


def _read_picture(file: Path) -> NDArray[np.uint8]:
    import cv2

    picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if picture is None:
        raise DataError(f"picture {file} cannot be read; it is damaged or of an unknown kind")
    return np.asarray(picture, np.uint8)
