"""UAV123 and UAV20L: `anno/UAV123/NAME.txt`, `anno/UAV20L/NAME.txt`, `data_seq/UAV123/FOLDER/`.

Some videos were cut into several sequences. Where each begins stands in the benchmark's
`configSeqs.m`, which is code; so its numbers are repeated here. A row of NaN is a frame in which
the target is out of view or hidden.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import PurePosixPath

import numpy as np

from ..store import FrameStore
from .base import AnnotatedSequence, Entry, Findings, Frames, Layout, annotate
from .text import number_of, read_rows

__all__ = ["LAYOUT"]

# Numbers of the first frames of NAME_1, NAME_2, ... in the video NAME; all others begin at 1.
STARTS = {
    "bird1": (1, 775, 1573),
    "car1": (1, 751, 1627),
    "car6": (1, 487, 1807, 2953, 3925),
    "car8": (1, 1357),
    "car16": (1, 415),
    "group1": (1, 1333, 2515, 3925),
    "group2": (1, 907, 1771),
    "group3": (1, 1567, 2827, 4369),
    "person2": (1, 1189),
    "person4": (1, 1501),
    "person5": (1, 877),
    "person7": (1, 1249),
    "person8": (1, 1075),
    "person12": (1, 601),
    "person14": (1, 847, 1813),
    "person17": (1, 1501),
    "person19": (1, 1243, 2791),
    "truck4": (1, 577),
    "uav1": (1, 1555, 2473),
}
SPLITS = {"uav123": "UAV123", "uav20l": "UAV20L"}


def _entries(store: FrameStore, split: str | None) -> list[Entry]:
    folder = f"anno/{SPLITS[split or 'uav123']}"
    return [
        Entry(PurePosixPath(truth).stem, partial(_load, store, truth, split or "uav123"))
        for truth in store.files(folder)
        if truth.endswith(".txt")
    ]


def _load(store: FrameStore, truth: str, split: str, findings: Findings) -> AnnotatedSequence:
    name = PurePosixPath(truth).stem
    rows = read_rows(store, truth, findings)
    part = re.fullmatch(r"(.+)_(\d+)", name)
    video, start, cut = name, 1, False
    if part and split == "uav123" and int(part[2]) <= len(STARTS.get(part[1], ())):
        video, start, cut = part[1], STARTS[part[1]][int(part[2]) - 1], True
    folder = f"data_seq/UAV123/{video}"
    pictures = store.pictures(folder)
    if cut:
        last = start + len(rows)
        pictures = [one for one in pictures if start <= number_of(one) < last]
    return annotate(
        name,
        Frames(store, pictures),
        rows,
        findings,
        source=split,
        where=store.where(truth),
        origin=1,
        absent=np.asarray(np.isnan(rows).any(axis=1)),
        frames_where=store.where(folder),
    )


LAYOUT = Layout(
    name="uav123",
    title="UAV123, UAV20L",
    form="anno/UAV123/NAME.txt, anno/UAV20L/NAME.txt, data_seq/UAV123/VIDEO/000001.jpg",
    origin="1: its toolkit is in Matlab",
    splits=tuple(SPLITS),
    detect=lambda store: any(store.files(f"anno/{part}") for part in SPLITS.values()),
    entries=_entries,
)
