"""COCO with videos (CocoVID): images know their video and frame, annotations their object."""

from __future__ import annotations

import json
from pathlib import Path, PurePath
from typing import Any, TextIO

from ...box import Box
from .journal import Journal
from .keyed import Keyed, read_json

__all__ = ["dump", "load"]


def dump(journal: Journal, file: TextIO) -> None:
    """Frames as images, results as annotations; `frame_id` counts from 0, ids from 1.

    `score` and `state` are additions that readers of plain COCO ignore.
    """
    header = journal.header
    name = PurePath(header.source).stem or "video"
    labels = journal.labels()
    kinds = {number: labels[header.label(number)] for number in journal.ids()}
    images = {frame: index for index, frame in enumerate(journal.frames(), 1)}
    video = {
        "id": 1,
        "name": name,
        "file_name": header.source,
        "width": header.width,
        "height": header.height,
        "length": journal.frame_count(),
        "fps": header.fps,
    }
    parts: dict[str, Any] = {
        "info": {"description": f"{header.source} tracked by {header.tool}", "version": "1.0"},
        "videos": [video],
        "categories": [
            {"id": kind, "name": name, "supercategory": "object"} for name, kind in labels.items()
        ],
        "tracks": [
            {"id": number, "video_id": 1, "category_id": kind} for number, kind in kinds.items()
        ],
    }
    file.write(json.dumps(parts)[:-1])
    file.write(', "images": [')
    for frame, index in images.items():
        image = {
            "id": index,
            "video_id": 1,
            "frame_id": frame,
            "file_name": f"{name}/{frame:06d}.jpg",
            "width": header.width,
            "height": header.height,
        }
        file.write(("" if index == 1 else ",\n") + json.dumps(image))
    file.write('], "annotations": [')
    for index, (number, result) in enumerate(journal, 1):
        annotation = {
            "id": index,
            "image_id": images[result.frame],
            "video_id": 1,
            "category_id": kinds[number],
            "track_id": number,
            "instance_id": number,
            "bbox": list(result.box),
            "area": result.box[2] * result.box[3],
            "iscrowd": 0,
            "score": result.score,
            "state": result.state,
        }
        file.write(("" if index == 1 else ",\n") + json.dumps(annotation))
    file.write("]}\n")


def load(path: Path, size: tuple[int, int]) -> list[Keyed]:
    """Objects of the one video in the file."""
    parts = read_json(path)
    if len(parts.get("videos", ())) != 1:
        raise ValueError("it must tell of one video, in `videos`; plain COCO knows no tracks")
    frames = {image["id"]: int(image["frame_id"]) for image in parts["images"]}
    names = {kind["id"]: kind["name"] for kind in parts["categories"]}
    found: dict[int, Keyed] = {}
    for one in parts["annotations"]:
        number = one["track_id"] if "track_id" in one else one["instance_id"]
        keyed = found.setdefault(number, Keyed(names.get(one["category_id"]), tells=False))
        keyed.keys[frames[one["image_id"]]] = Box.parse(one["bbox"])
    return [found[number] for number in sorted(found)]
