"""What every reader gives: sequences of frames with boxes, x, y, w, h in pixels from 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...box import Box
from ...errors import DataError
from ..store import FrameStore, VideoStore

__all__ = ["AnnotatedSequence", "Entry", "Findings", "Frames", "Layout", "annotate"]

Boxes = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Findings:
    """Where readers say what is wrong.

    Attributes:
        strict: Raise at the first thing that is wrong; else collect them all.
        wrong: Sentences on what must be mended; each names the file, and the line where it can.
        odd: Sentences on what can be lived with.
    """

    def __init__(self, *, strict: bool = True) -> None:
        self.strict = strict
        self.wrong: list[str] = []
        self.odd: list[str] = []

    def refuse(self, sentence: str) -> None:
        """Tell of something wrong.

        Raises:
            DataError: when strict.
        """
        if self.strict:
            raise DataError(sentence)
        self.wrong.append(sentence)

    def remark(self, sentence: str) -> None:
        """Tell of something odd."""
        self.odd.append(sentence)


class Frames(Sequence[NDArray[np.uint8]]):
    """Frames of a store, in order; each is decoded when it is asked for.

    Attributes:
        store: Where they lie.
        names: Their names there, one for each frame.
    """

    def __init__(self, store: FrameStore, names: Sequence[str]) -> None:
        self.store = store
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # overloads would hide it
        """A frame `[H, W, 3]`, BGR; a slice, or a list of numbers, gives `Frames`.

        Raises:
            DataError: the frame cannot be read, or the video ends before it.
        """
        if isinstance(index, slice):
            return Frames(self.store, self.names[index])
        if isinstance(index, list):
            return Frames(self.store, [self.names[one] for one in index])
        try:
            return self.store.frame(self.names[index])
        except EOFError as end:
            raise DataError(
                f"{self.store.where()} ends after {end.args[0]} frames, but its truth has "
                f"{int(self.names[-1]) + 1} rows"
            ) from end

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for index in range(len(self)):
            yield self[index]

    def where(self, index: int) -> str:
        """How messages call a frame."""
        return self.store.where(self.names[index])

    @classmethod
    def of_clip(cls, clip: VideoStore, count: int) -> Frames:
        """The first frames of a video; nothing is opened yet."""
        return cls(clip, [str(number) for number in range(count)])


@dataclass(frozen=True, eq=False)
class AnnotatedSequence:
    """One target through one video.

    Attributes:
        name: Unique in its data set.
        frames: N frames.
        boxes: `[N, 4]` x, y, w, h in pixels, the first pixel being 0; NaN where there is no box.
        absent: `[N]`, the labels say that the target cannot be seen (out of view or hidden). Some
            sets give a box even then.
        category: What it is, where the set says so.
        source: Name of the layout and split, such as `got10k/train`.
        truth: The label file, for messages.
        by_line: Its lines are the frames.
        lines: Where they are not: the line of each label that has one, by its frame.
    """

    name: str
    frames: Frames
    boxes: Boxes = field(repr=False)
    absent: Flags = field(repr=False)
    category: str | None = None
    source: str = ""
    truth: str = ""
    by_line: bool = False
    lines: Mapping[int, int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        shapes = (len(self.frames), self.boxes.shape, self.absent.shape)
        count = len(self.frames)
        if shapes != (count, (count, 4), (count,)):
            raise DataError(f"{self.name}: frames, boxes and flags do not match: {shapes}")

    def __len__(self) -> int:
        return len(self.frames)

    def where(self, index: int) -> str:
        """How messages call a frame's label."""
        line = index + 1 if self.by_line else self.lines.get(index)
        return f"{self.truth}, frame {index}" if line is None else f"{self.truth}, line {line}"

    def outside(self, index: int, width: int, height: int) -> str | None:
        """What to say of a box of which a picture of this size shows nothing; None of others."""
        box = Box(*self.boxes[index].tolist())
        if box.intersect(width, height) is not None:
            return None
        shown = ", ".join(f"{value:g}" for value in box)
        return (
            f"{self.where(index)}: box {shown} (from pixel 0) lies outside the picture of "
            f"{width} x {height}"
        )

    @property
    def labelled(self) -> Flags:
        """`[N]`, there is a box."""
        return np.asarray(np.isfinite(self.boxes).all(axis=1))

    @property
    def visible(self) -> Flags:
        """`[N]`, there is a box and the target can be seen: what training may use."""
        return np.asarray(self.labelled & ~self.absent)


class Entry(NamedTuple):
    """A sequence that can be loaded.

    Attributes:
        name: Its name.
        load: Reads its labels, not its frames.
    """

    name: str
    load: Callable[[Findings], AnnotatedSequence]


@dataclass(frozen=True)
class Layout:
    """A way in which data sets lie on disk.

    Attributes:
        name: By which it is asked for.
        title: Its usual name.
        form: What a root holds, in a line.
        origin: How its own files call the first pixel, and who says so.
        splits: Names of its splits; empty where it has none.
        detect: Whether a store is laid out like this.
        entries: Its sequences, of one split or of all.
    """

    name: str
    title: str
    form: str
    origin: str
    splits: tuple[str, ...]
    detect: Callable[[FrameStore], bool]
    entries: Callable[[FrameStore, str | None], list[Entry]]


def annotate(
    name: str,
    frames: Frames,
    truth: Boxes,
    findings: Findings,
    *,
    source: str,
    where: str,
    origin: int = 0,
    absent: Flags | None = None,
    category: str | None = None,
    first_only: bool = False,
    frames_where: str | None = None,
    by_line: bool = True,
    lines: Mapping[int, int] | None = None,
) -> AnnotatedSequence:
    """Put frames and labels together as all readers do.

    A row without area becomes NaN. Counts that differ are refused; the shorter one holds then.

    Args:
        name: Of the sequence.
        frames: N frames.
        truth: `[N, 4]` x, y, w, h as the file has them, NaN where it has none.
        findings: Is told what is wrong.
        source: Layout and split.
        where: The truth file, for messages.
        origin: How the file calls the first pixel.
        absent: `[N]` flags of other files; a row of zeros counts as absent by itself.
        category: What it is.
        first_only: Only the first frame has a row, as in test sets.
        frames_where: Their folder, for messages.
        by_line: The truth file has a line a frame.
        lines: Else the lines of the labels that have one, by frame.
    """
    count = len(frames)
    if first_only and len(truth) == 1 < count:
        truth = np.concatenate([truth, np.full((count - 1, 4), np.nan)])
    if len(truth) != count:
        holder = frames_where or frames.store.where()
        findings.refuse(f"{where} has {len(truth)} rows but {holder} has {count} pictures")
        count = min(count, len(truth))
        frames, truth = frames[:count], truth[:count]
    flags = np.zeros(count, bool)
    if absent is not None:
        if len(absent) != count:
            findings.refuse(f"{where} has {count} rows but {len(absent)} flags beside it")
        known = min(count, len(absent))
        flags[:known] = absent[:known]
    boxes = truth.astype(np.float64)
    with np.errstate(invalid="ignore"):
        zero = (boxes[:, 2:] == 0).all(axis=1)
        negative = (boxes[:, 2:] <= 0).any(axis=1) & ~zero  # NaN is neither
    for row in np.flatnonzero(negative).tolist():
        w, h = boxes[row, 2:]
        line = row + 1 if by_line else (lines or {}).get(row)
        place = f"frame {row}" if line is None else f"line {line}"
        findings.remark(f"{where}, {place}: width {w:g} and height {h:g}: no box, left out")
    flags |= zero
    boxes[negative | zero] = np.nan
    boxes[:, :2] -= origin
    return AnnotatedSequence(
        name, frames, boxes, flags, category, source, where, by_line, lines or {}
    )
