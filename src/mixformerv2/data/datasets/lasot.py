"""LaSOT and its extension: `CLASS/CLASS-N/img/00000001.jpg`, with two files of flags.

The paper trains on the 1,120 training sequences of LaSOT and tests on the other 280 (its protocol
II) and on the 150 of the extension.
"""

from __future__ import annotations

import re
from functools import partial

from ..store import FrameStore
from .base import AnnotatedSequence, Entry, Findings, Frames, Layout, annotate
from .text import read_flags, read_names, read_rows

__all__ = ["EXTENSION", "LAYOUT"]

EXTENSION_CLASSES = frozenset(
    {"atv", "badminton", "cosplay", "dancingshoe", "footbag", "frisbee", "jianzi", "lantern"}
    | {"misc", "opossum", "paddle", "raccoon", "rhino", "skatingshoe", "wingsuit"}
)
# testing_set.txt of the data set, four sequences of each class, for copies without that file.
TEST_SET = """
airplane 1 9 13 15; basketball 1 6 7 11; bear 2 4 6 17; bicycle 2 7 9 18; bird 2 3 15 17;
boat 3 4 12 17; book 3 10 11 19; bottle 1 12 14 18; bus 2 5 17 19; car 2 6 9 17; cat 1 3 18 20;
cattle 2 7 12 13; chameleon 3 6 11 20; coin 3 6 7 18; crab 3 6 12 18; crocodile 3 4 10 14;
cup 1 4 7 17; deer 4 8 10 14; dog 1 7 15 19; drone 2 7 13 15; electricfan 1 10 18 20;
elephant 1 12 16 18; flag 2 3 5 9; fox 2 3 5 20; frog 3 4 9 20; gametarget 1 2 7 13;
gecko 1 5 16 19; giraffe 2 10 13 15; goldfish 3 7 8 10; gorilla 4 6 9 13; guitar 3 8 10 16;
hand 2 3 9 16; hat 1 2 5 18; helmet 5 11 13 19; hippo 1 7 9 20; horse 1 4 12 15;
kangaroo 2 5 11 14; kite 4 6 10 15; leopard 1 7 16 20; licenseplate 6 12 13 15; lion 1 5 12 20;
lizard 1 3 6 13; microphone 2 6 14 16; monkey 3 4 9 17; motorcycle 1 3 9 18; mouse 1 8 9 17;
person 1 5 10 12; pig 2 10 13 18; pool 3 7 12 15; rabbit 10 13 17 19; racing 10 15 16 20;
robot 1 5 8 19; rubicCube 1 6 14 19; sepia 6 8 13 16; shark 2 3 5 6; sheep 3 5 7 9;
skateboard 3 8 16 19; spider 14 16 18 20; squirrel 8 11 13 19; surfboard 4 5 8 12;
swing 10 14 17 20; tank 6 9 14 16; tiger 4 6 12 18; train 1 7 11 20; truck 3 6 7 16;
turtle 5 8 9 16; umbrella 2 9 17 19; volleyball 1 13 18 19; yoyo 7 15 17 19; zebra 10 14 16 17
"""


def test_set() -> frozenset[str]:
    """Names of the 280 test sequences."""
    names = set()
    for group in TEST_SET.split(";"):
        category, *numbers = group.split()
        names |= {f"{category}-{number}" for number in numbers}
    return frozenset(names)


def _places(store: FrameStore) -> list[str]:
    """Folders of sequences, two levels down or, in some copies, one."""
    places = []
    for outer in store.folders():
        name = outer.rpartition("/")[2]
        if re.fullmatch(r".+-\d+", name):
            places.append(outer)
        else:
            inner = (one for one in store.folders(outer) if one.startswith(f"{outer}/{name}-"))
            places += inner
    return places


def _category(place: str) -> str:
    return place.rpartition("/")[2].rpartition("-")[0]


def _looks(store: FrameStore) -> list[str]:
    """Categories of a few sequences that lie as LaSOT's do."""
    places = [place for place in _places(store)[:40] if store.has(f"{place}/full_occlusion.txt")]
    return [_category(place) for place in places]


def _detect(store: FrameStore) -> bool:
    found = _looks(store)
    return bool(found) and not set(found) <= EXTENSION_CLASSES


def _detect_extension(store: FrameStore) -> bool:
    found = _looks(store)
    return bool(found) and set(found) <= EXTENSION_CLASSES


def _entries(store: FrameStore, split: str | None) -> list[Entry]:
    listed = "testing_set.txt"
    test = frozenset(read_names(store, listed)) if store.has(listed) else test_set()
    entries = []
    for place in _places(store):
        name = place.rpartition("/")[2]
        found = "test" if name in test else "train"
        if split in (None, found):
            entries.append(Entry(name, partial(_load, store, place, f"lasot/{found}")))
    return entries


def _entries_extension(store: FrameStore, split: str | None) -> list[Entry]:
    return [
        Entry(place.rpartition("/")[2], partial(_load, store, place, "lasot_ext"))
        for place in _places(store)
    ]


def _load(store: FrameStore, place: str, source: str, findings: Findings) -> AnnotatedSequence:
    truth = f"{place}/groundtruth.txt"
    rows = read_rows(store, truth, findings)
    absent = None
    for name in ("full_occlusion.txt", "out_of_view.txt"):
        flags = read_flags(store, f"{place}/{name}", findings)
        if flags is None:
            findings.remark(f"{store.where(place)} has no {name}; its frames count as visible")
            continue
        if len(flags) != len(rows):
            findings.refuse(
                f"{store.where(f'{place}/{name}')} has {len(flags)} flags but {store.where(truth)} "
                f"has {len(rows)} rows"
            )
            continue
        absent = flags == 1 if absent is None else absent | (flags == 1)
    return annotate(
        place.rpartition("/")[2],
        Frames(store, store.pictures(f"{place}/img")),
        rows,
        findings,
        source=source,
        where=store.where(truth),
        origin=1,
        absent=absent,
        category=_category(place),
        frames_where=store.where(f"{place}/img"),
    )


LAYOUT = Layout(
    name="lasot",
    title="LaSOT",
    form="CLASS/CLASS-N/img/00000001.jpg, groundtruth.txt, full_occlusion.txt, out_of_view.txt",
    origin="1: its toolkit is in Matlab, and one of its authors subtracts 1 in his own reader",
    splits=("train", "test"),
    detect=_detect,
    entries=_entries,
)

EXTENSION = Layout(
    name="lasot_ext",
    title="LaSOT extension",
    form="as LaSOT, with its fifteen other classes",
    origin="1: as LaSOT",
    splits=(),
    detect=_detect_extension,
    entries=_entries_extension,
)
