"""Label Studio: a task for its video object tracking template, results as predictions.

Source: https://labelstud.io/templates/video_object_detector and the `VideoRectangle` tag. Frames
count from 1, coordinates are percent of the picture.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO

from ...box import Box
from ...tracking.result import TrackResult
from .journal import Journal
from .keyed import Keyed, read_json, upright
from .stretches import keys

__all__ = ["dump", "key_of", "load"]


def dump(journal: Journal, file: TextIO) -> None:
    """One task; `data.video` is the name of the source and must be made an address you serve.

    Where the target is lost its rectangle is switched off (`enabled` is false), and so it is behind
    each stretch of results that ends before the video does.
    """
    header, length = journal.header, journal.length()
    count = length or journal.frame_count()
    data = {"video": header.source}
    file.write(f'[{{"data": {json.dumps(data)}, "predictions": [{{')
    file.write(f'"model_version": {json.dumps(header.model or "mixformerv2")}, "result": [')
    for index, number in enumerate(journal.ids()):
        file.write(", " if index else "")
        file.write(f'{{"id": "object{number}", "type": "videorectangle", ')
        label = json.dumps(header.label(number))
        file.write(f'"from_name": "box", "to_name": "video", "value": {{"labels": [{label}], ')
        file.write(f'"framesCount": {count}, ')
        file.write(f'"duration": {count * journal.seconds_per_frame()!r}, "sequence": [')
        for line, (result, _) in enumerate(keys(journal, number, length)):
            key = key_of(result, (header.width, header.height), journal.seconds_per_frame())
            file.write((",\n" if line else "") + json.dumps(key))
        file.write("]}}")
    file.write("]}]}]\n")


def key_of(result: TrackResult, size: tuple[int, int], seconds_per_frame: float) -> dict[str, Any]:
    """One result as a key of a rectangle's sequence; `size` is that of the frame, pixels."""
    x, y, w, h = result.box
    width, height = size
    return {
        "frame": result.frame + 1,
        "time": (result.frame + 1) * seconds_per_frame,
        "enabled": result.state != "lost",
        "rotation": 0,
        "x": 100 * x / width,
        "y": 100 * y / height,
        "width": 100 * w / width,
        "height": 100 * h / height,
    }


def load(path: Path, size: tuple[int, int]) -> list[Keyed]:
    """Rectangles of the one task in the file: of its last annotation, else of its prediction."""
    tasks = read_json(path)
    if len(tasks) != 1:
        raise ValueError(f"it holds {len(tasks)} tasks; export that of this video alone")
    made = [one for one in tasks[0].get("annotations", ()) if not one.get("was_cancelled")]
    made = made or tasks[0].get("predictions", [])
    if not made:
        raise ValueError(
            "nobody has labelled its task, and there is no prediction; use JSON, not JSON-MIN"
        )
    values = [one["value"] for one in made[-1]["result"] if one.get("type") == "videorectangle"]
    return [
        Keyed(
            next(iter(value.get("labels") or ()), None),
            dict(_key(k, size) for k in value["sequence"]),
        )
        for value in values
    ]


def _key(key: dict[str, Any], size: tuple[int, int]) -> tuple[int, Box | None]:
    """The inverse of `key_of`."""
    frame = int(key["frame"]) - 1
    upright(frame, key.get("rotation"))
    if not key.get("enabled", True):
        return frame, None
    width, height = size
    x, y, w, h = (float(key[side]) / 100 for side in ("x", "y", "width", "height"))
    return frame, Box.parse((x * width, y * height, w * width, h * height))
