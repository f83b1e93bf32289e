"""Sequences with truth: your own folder, or a public set as it is published.

```
ROOT/NAME/img/000001.jpg ...   and   ROOT/NAME/groundtruth.txt      pictures in natural order
ROOT/NAME.mp4 (or .avi, .mov, .mkv, .webm)   and   ROOT/NAME.txt    a clip
```

The truth has one line a frame: x, y, w, h in pixels, 0-based, parted by commas, tabs or spaces.
A line of `nan,nan,nan,nan` is an unlabelled frame: it is tracked but not counted. The sequence
starts at its first labelled frame; the part of a name before `_` is its family. Other layouts are
those of `mixformerv2.data.datasets`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..data.datasets import LAYOUTS, AnnotatedSequence, Dataset, Findings, Frames, read_dataset
from ..data.datasets.text import rows_of, write_rows
from ..errors import DataError
from .attributes import read_attributes

__all__ = ["Sequence", "read_sequences", "read_truth", "write_truth"]


@dataclass(frozen=True, eq=False)
class Sequence:
    """One video with its truth, read frame by frame when it is iterated.

    Attributes:
        name: The folder's or the clip's name.
        pictures: Its frames, from the one on whose box is given.
        start: Number, in the source, of that frame.
        truth: `[N, 4]` x, y, w, h from that frame on, NaN where unlabelled.
        absent: `[N]`, the labels say that the target cannot be seen; None where they never do.
        layout: How its data set is laid out.
        attributes: Short names of what makes it hard.
        category: What the target is, where the set says so.
        given: The box to start from, where it is not the true one.
        alter: What is done to each frame before a tracker sees it: picture and number to picture.
        uncut: How many frames it had before `first` cut it; None where nothing did.
    """

    name: str
    pictures: Frames = field(repr=False)
    start: int
    truth: NDArray[np.float64] = field(repr=False)
    absent: NDArray[np.bool_] | None = field(default=None, repr=False)
    layout: str = "own"
    attributes: frozenset[str] = frozenset()
    category: str | None = None
    given: Box | None = None
    alter: Callable[[NDArray[np.uint8], int], NDArray[np.uint8]] | None = field(
        default=None, repr=False
    )
    uncut: int | None = None

    @property
    def family(self) -> str:
        """The part of the name before the first `_`."""
        return self.name.split("_", 1)[0]

    @property
    def origin(self) -> int:
        """How its files, and result files in the field's format, call the first pixel."""
        return int(self.origin_text[0])

    @property
    def origin_text(self) -> str:
        """The same with who says so."""
        return LAYOUTS[self.layout].origin

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of its first frame."""
        height, width = self.frame(0).shape[:2]
        return width, height

    @property
    def box(self) -> Box:
        """The given box."""
        return self.given or Box(*(float(v) for v in self.truth[0]))

    @property
    def whole(self) -> int:
        """How many frames there are from the given one on, also where it was cut."""
        return len(self) if self.uncut is None else self.uncut

    def __len__(self) -> int:
        return len(self.truth)

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """BGR frames `[H, W, 3]` from the given one on, one for each row of the truth.

        Raises:
            DataError: a picture cannot be read, or the clip ends early.
        """
        if self.alter is None:
            return iter(self.pictures)
        return (self.alter(frame, index) for index, frame in enumerate(self.pictures))

    def frame(self, index: int) -> NDArray[np.uint8]:
        """One frame, counted from the given one.

        Raises:
            DataError: it cannot be read.
        """
        return np.asarray(self.pictures[index], np.uint8)

    def first(self, count: int | None) -> Sequence:
        """The same sequence, at most `count` frames long."""
        part = self._part(slice(None, count))
        return replace(part, uncut=self.whole) if len(part) < len(self) else part

    def pick(self, frames: list[int]) -> Sequence:
        """The same sequence with some of its frames alone, the given one among them."""
        return replace(self._part(frames), uncut=None)

    def _part(self, rows: slice | list[int]) -> Sequence:
        absent = None if self.absent is None else self.absent[rows]
        return replace(self, pictures=self.pictures[rows], truth=self.truth[rows], absent=absent)


def read_sequences(
    root: str | Path,
    names: Iterable[str] | None = None,
    *,
    layout: str | None = None,
    split: str | None = None,
    attributes: Path | None = None,
) -> list[Sequence]:
    """Find the sequences of a folder, `.zip` or `.lmdb`, sorted by name.

    Args:
        root: The folder.
        names: Only these, all of which must be there.
        layout: How it is laid out; found out where not given.
        split: One split of it; all where not given.
        attributes: Folder of attribute files that do not lie beside the data.

    Raises:
        DataError: the folder is missing or holds no sequence, two have one name, or a sequence is
            not as it should be.
    """
    folder = Path(root)
    if not folder.exists():
        raise DataError(
            f"{folder} is not a folder; give one with NAME/img and NAME/groundtruth.txt"
        )
    if folder.is_dir() and not any(folder.iterdir()):
        raise DataError(
            f"{folder} holds no sequence; lay it out as NAME/img/000001.jpg and "
            "NAME/groundtruth.txt, or NAME.mp4 and NAME.txt"
        )
    dataset = read_dataset(folder, layout=layout, split=split, names=names)
    entries = dict.fromkeys(dataset.entries)  # who names a sequence twice means it once
    found = list(Dataset(dataset.store, dataset.layout, list(entries)))
    if names is None:
        found.sort(key=lambda one: one.name)
    for name, count in Counter(one.name for one in found).items():
        if count > 1:
            raise DataError(f"{folder} holds {count} sequences called {name}; rename one of them")
    return [_from_first_label(one, dataset, attributes) for one in found]


def _from_first_label(one: AnnotatedSequence, dataset: Dataset, folder: Path | None) -> Sequence:
    labelled = np.flatnonzero(one.labelled)
    if not labelled.size:
        raise DataError(f"{one.truth} has no labelled frame with a box of positive size")
    start = int(labelled[0])
    return Sequence(
        one.name,
        one.frames[start:],
        start,
        one.boxes[start:],
        one.absent[start:] if one.absent.any() else None,
        dataset.layout,
        read_attributes(
            dataset.store, "uav20l" if one.source == "uav20l" else dataset.layout, one.name, folder
        ),
        one.category,
    )


def read_truth(file: str | Path) -> NDArray[np.float64]:
    """Read a file of boxes, true ones or results, to `[N, 4]`, NaN where unlabelled.

    Raises:
        DataError: missing, empty, or a line that is not four numbers; the line is named.
    """
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    return rows_of(text, str(path), Findings())


def write_truth(file: str | Path, boxes: NDArray[np.float64]) -> None:
    """Write `[N, 4]` boxes, shortest digits that read back equal, `nan` where unlabelled."""
    Path(file).write_text(write_rows(boxes), encoding="utf-8")
