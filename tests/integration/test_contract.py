"""docs/tracker.md, "In other languages": a tracker from a bundle's files alone gives our boxes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from tests.doubles import moving_square

import mixformerv2 as mf

Picture = NDArray[np.uint8]


class Foreign:
    """The pseudocode of the page, line by line; nothing of the package is used."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        config = json.loads((folder / "config.json").read_text())
        self.t = {**config["tracker"], **changes}
        self.has_score = config["has_score"]
        self.template = ort.InferenceSession(folder / "template.onnx")
        self.search = ort.InferenceSession(folder / "search.onnx")

    def crop(self, frame: Picture, factor: float, size: int) -> tuple[Picture, int]:
        x, y, w, h = self.box
        side = math.ceil(math.sqrt(w * h) * factor)
        left, top = round(x + w / 2 - side / 2), round(y + h / 2 - side / 2)
        height, width = frame.shape[:2]
        square = np.zeros((side, side, 3), np.uint8)
        y1, y2 = max(0, top), min(top + side, height - 1)
        x1, x2 = max(0, left), min(left + side, width - 1)
        square[y1 - top : y2 - top, x1 - left : x2 - left] = frame[y1:y2, x1:x2]
        return np.asarray(cv2.resize(square, (size, size)), np.uint8), side

    def encode(self, second: Picture) -> None:
        pair = np.stack([self.first, second])[None]
        (self.memory,) = self.template.run(None, {"templates": pair})

    def init(self, frame: Picture, box: tuple[float, ...]) -> None:
        self.box = box
        self.first, _ = self.crop(frame, self.t["template_factor"], self.t["template_size"])
        self.encode(self.first)
        self.frames, self.best, self.candidate = 0, -1.0, self.first

    def update(self, frame: Picture) -> tuple[float, ...]:
        x, y, w, h = self.box
        picture, side = self.crop(frame, self.t["search_factor"], self.t["search_size"])
        boxes, scores, _ = self.search.run(None, {"search": picture[None], "memory": self.memory})
        x1, y1, x2, y2 = (float(v) for v in boxes[0])
        cx = x + w / 2 - side / 2 + side * (x1 + x2) / 2
        cy = y + h / 2 - side / 2 + side * (y1 + y2) / 2
        left, width = self.clip(cx, side * (x2 - x1), frame.shape[1])
        top, height = self.clip(cy, side * (y2 - y1), frame.shape[0])
        self.box = (left, top, width, height)
        self.frames += 1
        score = float(scores[0])
        if self.has_score and score > self.t["update_threshold"] and score > self.best:
            self.best = score
            self.candidate, _ = self.crop(frame, self.t["template_factor"], self.t["template_size"])
        interval = self.t["update_interval"]
        if self.has_score and interval > 0 and self.frames % interval == 0:
            self.encode(self.candidate)
            self.best, self.candidate = -1.0, self.first
        return self.box

    def clip(self, center: float, size: float, length: int) -> tuple[float, float]:
        margin = self.t["min_size"]
        low = min(max(0.0, center - size / 2), length - margin)
        high = min(max(margin, center + size / 2), float(length))
        return low, max(margin, high - low)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_the_pseudocode_is_the_tracker(small_bundle: Path, threshold: float) -> None:
    settings = {"update_interval": 4, "update_threshold": threshold}
    ours = mf.Tracker(small_bundle, engine="onnx", settings=settings)
    foreign = Foreign(small_bundle, **settings)
    frame, box = moving_square(), (20.0, 40.0, 24.0, 24.0)
    ours.init(frame(0), box)
    foreign.init(frame(0), box)
    for i in range(1, 15):
        assert foreign.update(frame(i)) == pytest.approx(ours.update(frame(i)).box, abs=1e-3), i
