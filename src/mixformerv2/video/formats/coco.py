"""COCO with videos (CocoVID): images know their video and frame, annotations their object."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any, TextIO

from .journal import Journal

__all__ = ["dump"]


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
