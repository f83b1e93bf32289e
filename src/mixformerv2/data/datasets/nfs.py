"""Need for Speed: `NAME/30/NAME/00001.jpg` with `NAME/30/NAME.txt`, and the same with 240.

The two splits are the same hundred videos at 30 and at 240 frames a second. A row of their label
files is that of a labelling tool: number, left, top, right, bottom, then words. At 30 frames a
second most files still have a row for each frame of the fast video; every eighth is taken then.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..store import FrameStore
from .base import AnnotatedSequence, Entry, Findings, Frames, Layout, annotate
from .text import Row, read_rows

__all__ = ["LAYOUT"]

SPLITS = ("30", "240")


def _row(line: str) -> Row:
    _, left, top, right, bottom = (float(part) for part in line.split()[:5])
    return left, top, right - left, bottom - top


def _truths(store: FrameStore, folder: str, split: str) -> list[str]:
    return [name for name in store.files(f"{folder}/{split}") if name.endswith(".txt")]


def _entries(store: FrameStore, split: str | None) -> list[Entry]:
    found = split or "30"
    return [
        Entry(name := truth.rpartition("/")[2][:-4], partial(_load, store, truth, name, found))
        for folder in store.folders()
        for truth in _truths(store, folder, found)
    ]


def _load(
    store: FrameStore, truth: str, name: str, split: str, findings: Findings
) -> AnnotatedSequence:
    rows = read_rows(store, truth, findings, _row, "number, left, top, right, bottom")
    folder = f"{truth.rpartition('/')[0]}/{name}"
    pictures = store.pictures(folder)
    lines = None
    if pictures and round(len(rows) / len(pictures)) == 8:
        lines = {frame: 8 * frame + 1 for frame in range(len(rows[::8]))}
        rows = rows[::8]
    if abs(len(rows) - len(pictures)) == 1:  # so in the published files
        rows, pictures = rows[: len(pictures)], pictures[: len(rows)]
    return annotate(
        name,
        Frames(store, pictures),
        np.asarray(rows, np.float64),
        findings,
        source=f"nfs/{split}",
        where=store.where(truth),
        frames_where=store.where(folder),
        by_line=lines is None,
        lines=lines,
    )


LAYOUT = Layout(
    name="nfs",
    title="Need for Speed",
    form="NAME/30/NAME/00001.jpg, NAME/30/NAME.txt, and the same with 240",
    origin="0: not stated by its authors; published loaders take it as is",
    splits=SPLITS,
    detect=lambda store: any(
        _truths(store, folder, split) for folder in store.folders()[:20] for split in SPLITS
    ),
    entries=_entries,
)
