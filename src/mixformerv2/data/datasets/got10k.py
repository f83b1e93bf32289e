"""GOT-10k: `train|val|test/list.txt` and `train|val|test/NAME/00000001.jpg`.

`groundtruth.txt` has x, y, w, h as decimals; a test sequence has one row. `absence.label` marks
frames without the target, `cover.label` tells in eighths how much of it is visible.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from ..store import FrameStore
from .base import AnnotatedSequence, Entry, Findings, Frames, Layout, annotate
from .text import read_flags, read_ini, read_names, read_rows

__all__ = ["LAYOUT"]

SPLITS = ("train", "val", "test")


def _folders(store: FrameStore) -> dict[str, str]:
    """Split to folder; a root may be one split alone."""
    found = {split: split for split in SPLITS if store.has(f"{split}/list.txt")}
    if not found and store.has("list.txt"):
        split = store.place.name if store.place.name in SPLITS else "train"
        found = {split: ""}
    return found


def _detect(store: FrameStore) -> bool:
    for folder in _folders(store).values():
        names = read_names(store, f"{folder}/list.txt".lstrip("/"))[:3]
        if any(n.startswith("GOT-10k_") for n in names):
            return True
        inner = [f"{folder}/{n}".lstrip("/") for n in names]
        if any(
            store.has(f"{one}/meta_info.ini") or store.has(f"{one}/cover.label") for one in inner
        ):
            return True
    return False


def _entries(store: FrameStore, split: str | None) -> list[Entry]:
    entries = []
    for found, folder in _folders(store).items():
        if split in (None, found):
            for name in read_names(store, f"{folder}/list.txt".lstrip("/")):
                place = f"{folder}/{name}".lstrip("/")
                entries.append(Entry(name, partial(_load, store, place, name, found)))
    return entries


def _load(
    store: FrameStore, place: str, name: str, split: str, findings: Findings
) -> AnnotatedSequence:
    truth = f"{place}/groundtruth.txt"
    absence = read_flags(store, f"{place}/absence.label", findings)
    cover = read_flags(store, f"{place}/cover.label", findings, range(9))
    absent = None if absence is None else absence == 1
    if cover is not None:
        hidden = cover == 0
        if absent is not None and len(absent) != len(hidden):
            findings.refuse(
                f"{store.where(place)}: absence.label has {len(absent)} flags, cover.label "
                f"{len(hidden)}"
            )
            hidden = np.resize(hidden, len(absent))
        absent = hidden if absent is None else absent | hidden
    return annotate(
        name,
        Frames(store, store.pictures(place)),
        read_rows(store, truth, findings),
        findings,
        source=f"got10k/{split}",
        where=store.where(truth),
        absent=absent,
        category=read_ini(store, f"{place}/meta_info.ini").get("object_class"),
        first_only=split == "test",
        frames_where=store.where(place),
    )


LAYOUT = Layout(
    name="got10k",
    title="GOT-10k",
    form="train|val|test/list.txt, NAME/00000001.jpg, groundtruth.txt, absence.label",
    origin="0: not stated by its authors; their toolkit and the published training take it as is",
    splits=SPLITS,
    detect=_detect,
    entries=_entries,
)
