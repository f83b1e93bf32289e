"""ImageNet VID: `Data/VID/train/ILSVRC2015_VID_train_0000/VIDEO/000000.JPEG`, XML files beside.

Every object of a video (`trackid`) is a sequence as long as the video: where a frame's file does
not name it, it is out of view. Corners are inclusive.
"""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath

import numpy as np

from ...errors import DataError
from ..store import FrameStore
from .base import AnnotatedSequence, Entry, Findings, Frames, Layout, annotate
from .text import read_xml

__all__ = ["LAYOUT"]

DATA, LABELS = "Data/VID", "Annotations/VID"
Found = tuple[float, float, float, float, bool]


def _videos(store: FrameStore, split: str) -> list[str]:
    """Folders of videos, below `Data/VID`: train has one level more."""
    inner = store.folders(f"{DATA}/{split}")
    if split == "train":
        inner = [video for part in inner for video in store.folders(part)]
    return [name.removeprefix(f"{DATA}/") for name in inner]


def _entries(store: FrameStore, split: str | None) -> list[Entry]:
    """Needs to open all XML files of the split, to know which objects there are."""
    entries = []
    for one in ("train", "val") if split is None else (split,):
        for video in _videos(store, one):
            for track in _tracks(store, video):
                name = f"{video.rpartition('/')[2]}.{track}"
                entries.append(Entry(name, partial(_load, store, video, track, name, one)))
    return entries


def _files(store: FrameStore, video: str) -> list[str]:
    return [name for name in store.files(f"{LABELS}/{video}") if name.endswith(".xml")]


def _tracks(store: FrameStore, video: str) -> list[str]:
    names = {
        node.findtext("trackid", "")
        for name in _files(store, video)
        for node in read_xml(store, name).iter("object")
    }
    return sorted(names - {""}, key=lambda text: (len(text), text))


def _load(
    store: FrameStore, video: str, track: str, name: str, split: str, findings: Findings
) -> AnnotatedSequence:
    labels = {PurePosixPath(file).stem: file for file in _files(store, video)}
    pictures = store.pictures(f"{DATA}/{video}")
    truth = np.full((len(pictures), 4), np.nan)
    absent = np.ones(len(pictures), bool)
    category = None
    for row, picture in enumerate(pictures):
        file = labels.pop(PurePosixPath(picture).stem, None)
        if file is None:
            findings.refuse(f"{store.where(picture)} has no label file in {LABELS}/{video}")
            absent[row] = False
            continue
        for node in read_xml(store, file).iter("object"):
            if node.findtext("trackid") == track:
                category = node.findtext("name") or category
                try:
                    corners = (node.findtext(f"bndbox/{c}", "") for c in CORNERS)
                    x1, y1, x2, y2 = (float(text) for text in corners)
                except ValueError:
                    findings.refuse(f"{store.where(file)}: object {track} has no box of 4 numbers")
                    continue
                truth[row], absent[row] = (x1, y1, x2 - x1 + 1, y2 - y1 + 1), False
    for file in labels.values():
        findings.refuse(f"{store.where(file)} labels a picture that is not there")
    if not np.isfinite(truth).any():
        raise DataError(f"{store.where(f'{LABELS}/{video}')}: object {track} has no box")
    return annotate(
        name,
        Frames(store, pictures),
        truth,
        findings,
        source=f"vid/{split}",
        where=store.where(f"{LABELS}/{video}"),
        absent=absent,
        by_line=False,
        category=category,
    )


CORNERS = ("xmin", "ymin", "xmax", "ymax")

LAYOUT = Layout(
    name="vid",
    title="ImageNet VID",
    form="Data/VID/train|val/.../VIDEO/000000.JPEG, Annotations/VID/train|val/.../VIDEO/000000.xml",
    origin="0, corners inclusive: not stated by its authors; published readers take it so",
    splits=("train", "val"),
    detect=lambda store: bool(store.folders(f"{LABELS}/train") or store.folders(f"{LABELS}/val")),
    entries=_entries,
)
