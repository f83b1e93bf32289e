"""COCO: `annotations/instances_train2017.json` and `train2017/000000000009.jpg`.

Each labelled object makes a video of one still. Crowds and boxes without area are left out.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any

import numpy as np

from ...errors import DataError
from ..store import FrameStore
from .base import AnnotatedSequence, Entry, Findings, Frames, Layout, annotate

__all__ = ["LAYOUT", "read_json"]


def read_json(store: FrameStore, name: str) -> Any:
    """A JSON file's content.

    Raises:
        DataError: it is no JSON, where the line is named; or it is nested too deeply, or has
            numbers of thousands of digits.
    """
    try:
        return json.loads(store.text(name))
    except json.JSONDecodeError as error:
        raise DataError(
            f"{store.where(name)}, line {error.lineno}: it is no JSON: {error.msg}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{store.where(name)} cannot be read as labels: {error}") from error


def _label_files(store: FrameStore, split: str | None = None) -> list[tuple[str, str]]:
    """Label files with the name of their folder of pictures."""
    found = []
    for name in store.files("annotations"):
        match = re.fullmatch(r"annotations/instances_((train|val)\d*)\.json", name)
        if match and split in (None, match[2]):
            found.append((name, match[1]))
    return found


def _entries(store: FrameStore, split: str | None) -> list[Entry]:
    entries = []
    for file, part in _label_files(store, split):
        content = read_json(store, file)
        try:
            names = {image["id"]: image["file_name"] for image in content["images"]}
            classes = {one["id"]: one["name"] for one in content["categories"]}
            inner = f"images/{part}"
            folder = inner if inner in store.folders("images") else part
            for one in content["annotations"]:
                if one.get("iscrowd") or min(one["bbox"][2:]) <= 0:
                    continue
                picture = f"{folder}/{names[one['image_id']]}"
                load = partial(
                    _load, store, picture, one, classes.get(one["category_id"]), file, part
                )
                entries.append(Entry(f"{one['image_id']}-{one['id']}", load))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{store.where(file)} is no COCO file: {error!r}") from error
    return entries


def _load(
    store: FrameStore,
    picture: str,
    label: dict[str, Any],
    category: str | None,
    file: str,
    part: str,
    findings: Findings,
) -> AnnotatedSequence:
    if not store.has(picture):
        findings.refuse(f"{store.where(picture)} is missing, but {store.where(file)} labels it")
    return annotate(
        f"{label['image_id']}-{label['id']}",
        Frames(store, [picture]),
        np.asarray([label["bbox"]], np.float64),
        findings,
        source=f"coco/{part}",
        where=f"{store.where(file)}, annotation {label['id']}",
        category=category,
        by_line=False,
    )


LAYOUT = Layout(
    name="coco",
    title="COCO",
    form="annotations/instances_train2017.json and train2017/ or images/train2017/",
    origin="0, not rounded: its API measures from the left edge of the first pixel",
    splits=("train", "val"),
    detect=lambda store: bool(_label_files(store)),
    entries=_entries,
)
