"""Every model that comes with the package tracks, and says what it may be used for."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from mixformerv2 import Tracker, list_bundles
from mixformerv2.box import iou
from mixformerv2.video.source import open_source
from mixformerv2.weights.bundle import find_bundle, read_config

ASSETS = find_bundle("t").parent


@pytest.mark.parametrize("name", list_bundles())
def test_it_follows_the_cup_before_it_is_hidden(name: str) -> None:
    with (ASSETS / "demo.csv").open(newline="", encoding="utf-8") as file:
        truth = np.array([[float(r[side]) for side in "xywh"] for r in csv.DictReader(file)])
    tracker = Tracker(name, engine="onnx", threads=1)
    boxes = []
    with open_source(ASSETS / "demo.mp4") as source:
        for frame in source:
            if frame.index == 40:
                break
            assert frame.image is not None
            if frame.index == 0:
                tracker.init(frame.image, tuple(truth[0]))
            else:
                boxes.append(tracker.update(frame.image).box)
    assert np.mean([iou(ours, true) for ours, true in zip(boxes, truth[1:40], strict=True)]) > 0.6


@pytest.mark.parametrize("name", list_bundles())
def test_it_says_what_its_weights_may_be_used_for(name: str) -> None:
    folder = find_bundle(name)
    licence = read_config(folder).licence
    assert licence["weights"] in (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    text = (folder / licence["file"]).read_text(encoding="utf-8")
    assert f'the bundle "{name}"' in text
    figures = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    assert figures["weights_sha256"] == read_config(folder).weights_sha256


def test_weights_for_any_use_are_among_them() -> None:
    licences = {name: read_config(find_bundle(name)).licence["weights"] for name in list_bundles()}
    assert licences["t_free"].startswith("MIT")
    assert licences["t"].startswith("research only")
