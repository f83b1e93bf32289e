"""Is a data set as it should be? What it holds, what is wrong in which file, and how it looks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..errors import DataError, MixFormerError
from .datasets import AnnotatedSequence, Dataset, Findings
from .store import VideoStore

__all__ = ["CheckReport", "check_dataset", "draw_sheet", "plain_letters"]

Image = NDArray[np.uint8]
_JUMP = 4.0  # in sizes of the box: what moves farther between two frames is more likely a slip
_THUMBS = 4
_SIZE = (168, 112)
_INK, _GREY, _TARGET = (235, 235, 235), (150, 150, 150), (0, 150, 255)


@dataclass
class CheckReport:
    """What was found.

    Attributes:
        sequences: How many there are.
        frames: Of all sequences.
        labelled: Frames with a box.
        absent: Frames whose labels say that the target cannot be seen.
        shortest: Frames of the shortest sequence.
        longest: Of the longest.
        sizes: Sizes of pictures, by the first frame of each sequence.
        sources: Layouts and splits.
        wrong: What must be mended, a sentence each.
        odd: What should be looked at.
    """

    sequences: int = 0
    frames: int = 0
    labelled: int = 0
    absent: int = 0
    shortest: int = 0
    longest: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)


def check_dataset(
    dataset: Dataset, *, every_frame: bool = False, progress: Callable[[], Any] = lambda: None
) -> CheckReport:
    """Read all labels, and of each sequence the first and last frame, or every frame.

    Args:
        dataset: What to check.
        every_frame: Decode all frames.
        progress: Called after each sequence.
    """
    report = CheckReport()
    names = Counter(dataset.names)
    report.odd += [
        f"{count} sequences are called {name}" for name, count in names.items() if count > 1
    ]
    for entry in dataset.entries:
        findings = Findings(strict=False)
        try:
            sequence = entry.load(findings)
            _count(report, sequence)
            _check(report, sequence, findings, every_frame)
        except MixFormerError as error:
            findings.wrong.append(str(error))
        report.sequences += 1
        report.wrong += findings.wrong
        report.odd += findings.odd
        progress()
    return report


def _count(report: CheckReport, sequence: AnnotatedSequence) -> None:
    length = len(sequence)
    report.shortest = min(report.shortest, length) if report.frames else length
    report.longest = max(report.longest, length)
    report.frames += length
    report.labelled += int(sequence.labelled.sum())
    report.absent += int(sequence.absent.sum())
    report.sources[sequence.source] += 1


def _check(
    report: CheckReport, sequence: AnnotatedSequence, findings: Findings, every_frame: bool
) -> None:
    labelled = np.flatnonzero(sequence.labelled)
    if not labelled.size:
        findings.wrong.append(f"{sequence.truth}: {sequence.name} has no frame with a box")
    if not len(sequence):
        return
    size = _decode(sequence, findings, every_frame)
    if size is not None:
        report.sizes[f"{size[0]} x {size[1]}"] += 1
        for index in labelled.tolist():
            said = sequence.outside(index, *size)
            if said is not None:
                findings.wrong.append(said)
    _jumps(sequence, findings)
    _gaps(sequence, findings)


def _decode(
    sequence: AnnotatedSequence, findings: Findings, every_frame: bool
) -> tuple[int, int] | None:
    """Size of the first frame; None where it cannot be read."""
    last = len(sequence) - 1
    size = None
    for index in range(last + 1) if every_frame else sorted({0, last}):
        try:
            height, width = sequence.frames[index].shape[:2]
        except DataError as error:
            findings.wrong.append(str(error))
            if isinstance(sequence.frames.store, VideoStore):
                break  # it will not get better behind its end
            continue
        if size is None and index == 0:
            size = (width, height)
        elif size is not None and (width, height) != size:
            findings.odd.append(
                f"{sequence.frames.where(index)} is {width} x {height}, the first frame "
                f"{size[0]} x {size[1]}"
            )
    return size


def _jumps(sequence: AnnotatedSequence, findings: Findings) -> None:
    boxes = sequence.boxes
    centre = boxes[:, :2] + 0.5 * boxes[:, 2:]
    with np.errstate(all="ignore"):  # boxes of any size: what is wrong with them was said
        side = np.sqrt(boxes[:, 2] * boxes[:, 3])
        way = np.hypot(*np.diff(centre, axis=0).T) / np.maximum(side[1:], side[:-1])
    for index in np.flatnonzero(np.nan_to_num(way) > _JUMP).tolist():
        findings.odd.append(
            f"{sequence.where(index + 1)}: the box jumps by {way[index]:.0f} times its size"
        )


def _gaps(sequence: AnnotatedSequence, findings: Findings) -> None:
    """Numbers of pictures that are missing between others."""
    if isinstance(sequence.frames.store, VideoStore):
        return
    digits = [re.search(r"\d+$", PurePosixPath(name).stem) for name in sequence.frames.names]
    numbers = [int(found[0]) for found in digits if found]
    if len(numbers) < 3 or len(numbers) < len(digits):
        return
    steps = np.diff(numbers)
    usual = int(steps.min())
    for index in np.flatnonzero(steps != usual)[:3]:
        findings.odd.append(
            f"{sequence.frames.where(int(index) + 1)} follows number {numbers[index]}: are "
            "pictures missing?"
        )


def draw_sheet(dataset: Dataset, count: int = 24, columns: int = 2) -> Image | None:
    """Up to `count` sequences spread over the set, four labelled frames of each with their boxes.

    Returns:
        A picture, BGR; None where no sequence can be drawn.
    """
    chosen = np.unique(
        np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int)
    )
    strips = []
    for index in chosen:
        try:
            strips.append(_strip(dataset.entries[index].load(Findings(strict=False))))
        except MixFormerError:
            continue  # the report tells of it
    if not strips:
        return None
    columns = min(columns, len(strips))
    strips += [np.full_like(strips[0], 24)] * (-len(strips) % columns)
    lines = [np.hstack(strips[i : i + columns]) for i in range(0, len(strips), columns)]
    return np.asarray(np.vstack(lines), np.uint8)


def _strip(sequence: AnnotatedSequence) -> Image:
    import cv2

    width, height = _SIZE
    strip = np.full((height + 30, _THUMBS * (width + 4) + 12, 3), 24, np.uint8)
    labelled = np.flatnonzero(sequence.labelled)
    if not labelled.size:
        raise DataError(f"{sequence.name} has no frame with a box")
    places = np.linspace(0, len(labelled) - 1, min(_THUMBS, len(labelled))).round().astype(int)
    name = plain_letters(sequence.name[:44])
    notes = [str(sequence.category)] if sequence.category else []
    notes.append(f"{len(sequence)} frames" if len(sequence) != 1 else "1 frame")
    notes += [f"{int(sequence.absent.sum())} absent"] if sequence.absent.any() else []
    _write(strip, name, (8, 18), _INK)
    end = 8 + cv2.getTextSize(name, _FONT, 0.42, 1)[0][0]
    _write(strip, ", ".join(notes), (end + 10, 18), _GREY)
    for column, index in enumerate(labelled[places]):
        left = 8 + column * (width + 4)
        strip[26 : 26 + height, left : left + width] = _thumb(sequence, int(index))
    return strip


_FONT = 0  # cv2.FONT_HERSHEY_SIMPLEX


def _write(image: Image, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    import cv2

    cv2.putText(image, plain_letters(text), at, _FONT, 0.42, colour, 1, cv2.LINE_AA)


def plain_letters(text: str) -> str:
    """A name as OpenCV can write it: in ASCII, with a question mark for any other letter.

    On a name of a file that is no UTF-8, OpenCV would end the process.
    """
    return text.encode("ascii", "replace").decode()


def _thumb(sequence: AnnotatedSequence, index: int) -> Image:
    import cv2

    width, height = _SIZE
    frame = sequence.frames[index]
    scale = min(width / frame.shape[1], height / frame.shape[0])
    size = (max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale)))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    far = 4.0 * max(_SIZE)  # OpenCV draws at whole numbers of 32 bits
    box = Box(*sequence.boxes[index].tolist()).xyxy
    x1, y1, x2, y2 = (min(max(value * scale, -far), far) for value in box)
    # Drawn around the box, so that a target of a few pixels stays visible inside.
    low, high = (round(x1) - 1, round(y1) - 1), (round(x2), round(y2))
    cv2.rectangle(small, low, high, _GREY if sequence.absent[index] else _TARGET, 2)
    tile = np.full((height, width, 3), 40, np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = small
    (end, _), _ = cv2.getTextSize(str(index), _FONT, 0.42, 1)
    tile[height - 16 :, : end + 8] = 24
    _write(tile, str(index), (4, height - 4), _INK)
    return tile
