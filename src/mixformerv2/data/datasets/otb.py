"""OTB-2013, OTB-50 and OTB-100: `NAME/img/0001.jpg` and `NAME/groundtruth_rect.txt`.

Rows are parted by commas, tabs or spaces. A video with two targets has `groundtruth_rect.1.txt` and
`.2.txt`; they are called `NAME-1` and `NAME-2`. Five videos are longer than their truth.
"""

from __future__ import annotations

import re
from functools import partial

from ..store import FrameStore
from .base import AnnotatedSequence, Entry, Findings, Frames, Layout, annotate
from .text import number_of, read_rows

__all__ = ["LAYOUT"]

# First and last number of the frames that the truth is for, from the benchmark's page.
RANGES = {
    "David": (300, 770),
    "Football1": (1, 74),
    "Freeman3": (1, 460),
    "Freeman4": (1, 283),
    "Diving": (1, 215),
}


def _truths(store: FrameStore, folder: str) -> list[str]:
    found = [
        name
        for name in store.files(folder)
        if re.fullmatch(r"groundtruth_rect(\.\d+)?\.txt", name.rpartition("/")[2])
    ]
    # Human4 has an empty file for a second target that was never labelled.
    return found if len(found) < 2 else [name for name in found if store.text(name).strip()]


def _entries(store: FrameStore, split: str | None) -> list[Entry]:
    entries = []
    for folder in store.folders():
        truths = _truths(store, folder)
        for truth in truths:
            number = re.search(r"\.(\d+)\.txt$", truth)
            name = f"{folder}-{number[1]}" if number and len(truths) > 1 else folder
            entries.append(Entry(name, partial(_load, store, folder, truth, name)))
    return entries


def _load(
    store: FrameStore, folder: str, truth: str, name: str, findings: Findings
) -> AnnotatedSequence:
    pictures = store.pictures(f"{folder}/img")
    if folder in RANGES:
        first, last = RANGES[folder]
        pictures = [one for one in pictures if first <= number_of(one) <= last]
    return annotate(
        name,
        Frames(store, pictures),
        read_rows(store, truth, findings),
        findings,
        source="otb",
        where=store.where(truth),
        origin=1,
        frames_where=store.where(f"{folder}/img"),
    )


LAYOUT = Layout(
    name="otb",
    title="OTB",
    form="NAME/img/0001.jpg and NAME/groundtruth_rect.txt (.1.txt, .2.txt for two targets)",
    origin="1: its toolkit is in Matlab",
    splits=(),
    detect=lambda store: any(_truths(store, folder) for folder in store.folders()[:20]),
    entries=_entries,
)
