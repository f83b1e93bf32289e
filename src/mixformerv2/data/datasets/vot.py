"""VOT: `list.txt`, `NAME/groundtruth.txt` and pictures in `NAME/` or, since 2018, `NAME/color/`.

A row is a rectangle (4 numbers), a polygon (its corners) or, since 2020, a mask (`m` and run
lengths); the last two become the smallest upright box around them. NaN, and the single number of
older files, is a frame without the target. A folder of the VOT toolkit keeps all in `sequences/`.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from ...video.upright import MOST_PIXELS
from ..store import FrameStore
from .base import AnnotatedSequence, Entry, Findings, Frames, Layout, annotate
from .text import NO_BOX, Row, read_names, read_rows, split_row

__all__ = ["LAYOUT"]


def _row(line: str) -> Row:
    if line.lstrip().startswith("m"):
        numbers = split_row(line.lstrip()[1:])
        if not all(math.isfinite(value) for value in numbers):
            raise ValueError(line)
        return mask_box([int(value) for value in numbers])
    numbers = split_row(line)
    if len(numbers) == 1:
        return NO_BOX
    if len(numbers) == 4:
        x, y, w, h = numbers
        return x, y, w, h
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError(line)
    xs, ys = numbers[0::2], numbers[1::2]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def mask_box(code: list[int]) -> Row:
    """The box around a mask: x, y, w, h of its field, then run lengths of 0 and 1 by rows.

    Raises:
        ValueError: no mask, or one larger than any picture.
    """
    x, y, w, h, *runs = code
    if max(w * h, sum(runs)) > MOST_PIXELS:
        raise ValueError(code[:4])
    flat = np.repeat(np.arange(len(runs)) % 2, runs)[: w * h]
    mask = np.zeros(w * h, bool)
    mask[: len(flat)] = flat
    rows, columns = np.nonzero(mask.reshape(h, w))
    if not rows.size:
        return NO_BOX
    left, top = int(columns.min()), int(rows.min())
    width, height = int(columns.max()) - left + 1, int(rows.max()) - top + 1
    return float(x + left), float(y + top), float(width), float(height)


def _root(store: FrameStore) -> str | None:
    for folder in ("", "sequences/"):
        if store.has(f"{folder}list.txt"):
            return folder
    return None


def _detect(store: FrameStore) -> bool:
    root = _root(store)
    if root is None:
        return False
    names = read_names(store, f"{root}list.txt")[:3]
    return any(
        store.has(f"{root}{name}/groundtruth.txt") and _pictures(store, f"{root}{name}")
        for name in names
    )


def _pictures(store: FrameStore, place: str) -> list[str]:
    return store.pictures(f"{place}/color") or store.pictures(place)


def _entries(store: FrameStore, split: str | None) -> list[Entry]:
    root = _root(store) or ""
    names = read_names(store, f"{root}list.txt")
    return [Entry(name, partial(_load, store, f"{root}{name}", name)) for name in names]


def _load(store: FrameStore, place: str, name: str, findings: Findings) -> AnnotatedSequence:
    truth = f"{place}/groundtruth.txt"
    what = "a rectangle, a polygon or a mask"
    rows = read_rows(store, truth, findings, _row, what)
    return annotate(
        name,
        Frames(store, _pictures(store, place)),
        rows,
        findings,
        source="vot",
        where=store.where(truth),
        absent=np.asarray(np.isnan(rows).any(axis=1)),
        frames_where=store.where(place),
    )


LAYOUT = Layout(
    name="vot",
    title="VOT",
    form="list.txt, NAME/groundtruth.txt and NAME/color/00000001.jpg or NAME/00000001.jpg",
    origin="0: its toolkit hands coordinates to trackers as they are",
    splits=(),
    detect=_detect,
    entries=_entries,
)
