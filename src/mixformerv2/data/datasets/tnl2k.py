"""TNL2K: `train|test/NAME/imgs/*.png|jpg`, `groundtruth.txt`, `language.txt`.

The two subsets are downloaded apart, as `TNL2K_train_subset` and `TNL2K_test_subset`, and often
renamed. A row of zeros is a frame without the target. The paper tests on the 700 of the test set.
"""

from __future__ import annotations

import re
from functools import partial

from ..store import FrameStore
from .base import AnnotatedSequence, Entry, Findings, Frames, Layout, annotate
from .text import read_rows

__all__ = ["LAYOUT"]


def _places(store: FrameStore, folder: str = "", depth: int = 3) -> list[str]:
    places = []
    for inner in store.folders(folder):
        if store.has(f"{inner}/groundtruth.txt"):
            places.append(inner)
        elif depth > 1:
            places += _places(store, inner, depth - 1)
    return places


def _split(store: FrameStore, place: str) -> str:
    """By the nearest folder above it whose name says so; the paper's test set if none does."""
    above = [*store.place.resolve().parts[-1:], *place.split("/")[:-1]]
    for name in reversed(above):
        found = re.search(r"(?<![a-z])(train|test)(?![a-z])", name.lower().replace("_", " "))
        if found:
            return found[1]
    return "test"


def _detect(store: FrameStore) -> bool:
    return any(
        store.has(f"{place}/language.txt") and store.pictures(f"{place}/imgs")
        for place in _places(store)[:5]
    )


def _entries(store: FrameStore, split: str | None) -> list[Entry]:
    entries = []
    for place in _places(store):
        found = _split(store, place)
        if split in (None, found):
            name = place.rpartition("/")[2]
            entries.append(Entry(name, partial(_load, store, place, f"tnl2k/{found}")))
    return entries


def _load(store: FrameStore, place: str, source: str, findings: Findings) -> AnnotatedSequence:
    truth = f"{place}/groundtruth.txt"
    return annotate(
        place.rpartition("/")[2],
        Frames(store, store.pictures(f"{place}/imgs")),
        read_rows(store, truth, findings),
        findings,
        source=source,
        where=store.where(truth),
        frames_where=store.where(f"{place}/imgs"),
    )


LAYOUT = Layout(
    name="tnl2k",
    title="TNL2K",
    form="train|test/NAME/imgs/*.png, groundtruth.txt, language.txt",
    origin="0: not stated by its authors; published loaders take it as is",
    splits=("train", "test"),
    detect=_detect,
    entries=_entries,
)
