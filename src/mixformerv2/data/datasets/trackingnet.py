"""TrackingNet: `TRAIN_0 ... TRAIN_11` and `TEST`, each with `anno/NAME.txt`, `frames/NAME/0.jpg`.

A test sequence has one row of truth.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import PurePosixPath

from ..store import FrameStore
from .base import AnnotatedSequence, Entry, Findings, Frames, Layout, annotate
from .text import read_rows

__all__ = ["LAYOUT"]


def _parts(store: FrameStore) -> list[str]:
    return [one for one in store.folders() if re.fullmatch(r"TRAIN_\d+|TEST", one)]


def _entries(store: FrameStore, split: str | None) -> list[Entry]:
    entries = []
    for part in _parts(store):
        found = part.partition("_")[0].lower()
        if split not in (None, found, part.lower()):
            continue
        for truth in store.files(f"{part}/anno"):
            if truth.endswith(".txt"):
                name = PurePosixPath(truth).stem
                entries.append(Entry(name, partial(_load, store, truth, part)))
    return entries


def _load(store: FrameStore, truth: str, part: str, findings: Findings) -> AnnotatedSequence:
    name = PurePosixPath(truth).stem
    folder = f"{part}/frames/{name}"
    return annotate(
        name,
        Frames(store, store.pictures(folder)),
        read_rows(store, truth, findings),
        findings,
        source=f"trackingnet/{part.lower()}",
        where=store.where(truth),
        first_only=part == "TEST",
        frames_where=store.where(folder),
    )


LAYOUT = Layout(
    name="trackingnet",
    title="TrackingNet",
    form="TRAIN_0 ... TRAIN_11, TEST: anno/NAME.txt and frames/NAME/0.jpg",
    origin="0: boxes are shares of the frame, multiplied by its size",
    splits=("train", "test", *(f"train_{number}" for number in range(12))),
    detect=lambda store: any(store.files(f"{part}/anno") for part in _parts(store)),
    entries=_entries,
)
