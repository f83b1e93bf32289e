"""Masks: DAVIS (`JPEGImages/480p/NAME/00000.jpg`, `Annotations/480p/NAME/00000.png`) and YouTube.

YouTube-VOS is alike, below `train/` or `valid/`, without a resolution, with every fifth frame
labelled and a `meta.json` that names each object. A target's box is the smallest around its mask:
x is the first column, w is last - first + 1.
"""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ..store import FrameStore, decode_picture
from .base import AnnotatedSequence, Entry, Findings, Frames, Layout, annotate
from .coco import read_json
from .text import read_names

__all__ = ["DAVIS", "YOUTUBE", "mask_ids"]


def mask_ids(store: FrameStore, name: str) -> NDArray[np.int64]:
    """A mask as object numbers `[H, W]`, 0 where there is none.

    OpenCV turns palettes into colours. In the palette of these sets the bits of a number are dealt
    out to red, green and blue; gathering them again gives the number back, and any other colour a
    number of its own.

    Raises:
        DataError: the mask cannot be read.
    """
    import cv2

    image: Any = decode_picture(store.read(name), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise DataError(f"mask {store.where(name)} cannot be read; it is damaged")
    if image.ndim == 2:
        return np.asarray(image, np.int64)
    colours = image[..., 2::-1].astype(np.int64)  # red, green, blue
    ids = np.zeros(image.shape[:2], np.int64)
    for bit in range(8):
        for channel in range(3):
            ids |= ((colours[..., channel] >> (7 - bit)) & 1) << (3 * bit + channel)
    return ids


def _objects(store: FrameStore, masks: list[str]) -> list[int]:
    found: set[int] = set()
    for mask in masks:
        found |= set(np.unique(mask_ids(store, mask)).tolist())
    return sorted(found - {0})


def _load(
    store: FrameStore,
    pictures: str,
    masks: str,
    number: int,
    name: str,
    source: str,
    category: str | None,
    findings: Findings,
) -> AnnotatedSequence:
    frames = store.pictures(pictures)
    labels = {PurePosixPath(mask).stem: mask for mask in store.pictures(masks)}
    truth = np.full((len(frames), 4), np.nan)
    absent = np.zeros(len(frames), bool)
    for row, frame in enumerate(frames):
        mask = labels.pop(PurePosixPath(frame).stem, None)
        if mask is None:
            continue  # not labelled
        ys, xs = np.nonzero(mask_ids(store, mask) == number)
        if xs.size:
            left, top = int(xs.min()), int(ys.min())
            truth[row] = (left, top, int(xs.max()) - left + 1, int(ys.max()) - top + 1)
        else:
            absent[row] = True
    for mask in labels.values():
        findings.refuse(f"mask {store.where(mask)} has no picture in {store.where(pictures)}")
    return annotate(
        name,
        Frames(store, frames),
        truth,
        findings,
        source=source,
        where=store.where(masks),
        absent=absent,
        by_line=False,
        category=category,
    )


def _resolution(store: FrameStore) -> str:
    for folder in ("480p", "Full-Resolution", "1080p"):
        if store.folders(f"Annotations/{folder}"):
            return f"/{folder}"
    return ""


def _davis_split(store: FrameStore, split: str) -> set[str]:
    """Names of a split. The lists of 2016 name every frame, those of 2017 every video."""
    names: set[str] = set()
    for year in ("2017", "2016"):
        file = f"ImageSets/{year}/{split}.txt"
        if store.has(file) and not names:
            for line in read_names(store, file):
                first = PurePosixPath(line.split()[0])
                names.add(first.parent.name if first.suffix else first.name)
    if not names:
        raise DataError(f"{store.where()} has no ImageSets/2017/{split}.txt; ask for no split")
    return names


def _davis_entries(store: FrameStore, split: str | None) -> list[Entry]:
    size = _resolution(store)
    wanted = None if split is None else _davis_split(store, split)
    entries = []
    for masks in store.folders(f"Annotations{size}"):
        video = masks.rpartition("/")[2]
        if wanted is None or video in wanted:
            # All objects of DAVIS are there in the first frame.
            objects = _objects(store, store.pictures(masks)[:1])
            for number in objects:
                name = video if len(objects) == 1 else f"{video}-{number}"
                pictures = f"JPEGImages{size}/{video}"
                source = f"davis/{split}" if split else "davis"
                entries.append(
                    Entry(name, partial(_load, store, pictures, masks, number, name, source, None))
                )
    return entries


def _youtube_roots(store: FrameStore) -> dict[str, str]:
    found = {}
    for split, folder in (("train", "train/"), ("valid", "valid/"), ("train", "")):
        if split not in found and store.folders(f"{folder}Annotations"):
            found[split] = folder
    return found


def _youtube_objects(store: FrameStore, file: str) -> dict[str, dict[int, str | None]]:
    """For each video the numbers of its objects, and what they are; empty without the file."""
    if not store.has(file):
        return {}
    try:
        return {
            video: {int(key): one.get("category") for key, one in entry.get("objects", {}).items()}
            for video, entry in read_json(store, file).get("videos", {}).items()
        }
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{store.where(file)} is no file of YouTube-VOS, with videos and their numbered "
            f"objects ({error!r})"
        ) from error


def _youtube_entries(store: FrameStore, split: str | None) -> list[Entry]:
    entries = []
    for found, root in _youtube_roots(store).items():
        if split not in (None, found):
            continue
        named = _youtube_objects(store, f"{root}meta.json")
        for masks in store.folders(f"{root}Annotations"):
            video = masks.rpartition("/")[2]
            known = named.get(video, {})
            objects = sorted(known) or _objects(store, store.pictures(masks))
            for number in objects:
                name = video if len(objects) == 1 else f"{video}-{number}"
                category = known.get(number)
                place = (f"{root}JPEGImages/{video}", masks, number, name, f"youtube/{found}")
                entries.append(Entry(name, partial(_load, store, *place, category)))
    return entries


DAVIS = Layout(
    name="davis",
    title="DAVIS and masks like it",
    form="JPEGImages/480p/NAME/00000.jpg, Annotations/480p/NAME/00000.png, ImageSets/",
    origin="0: boxes are taken from masks",
    splits=("train", "val"),
    detect=lambda store: (
        bool(store.folders("JPEGImages") and store.folders("Annotations"))
        and not store.has("meta.json")
    ),
    entries=_davis_entries,
)

YOUTUBE = Layout(
    name="youtube",
    title="YouTube-VOS and folders like it",
    form="train|valid/JPEGImages/ID/00000.jpg, Annotations/ID/00000.png, meta.json",
    origin="0: boxes are taken from masks",
    splits=("train", "valid"),
    detect=lambda store: any(
        root or store.has("meta.json") for root in _youtube_roots(store).values()
    ),
    entries=_youtube_entries,
)
