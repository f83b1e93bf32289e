"""The tracking loop against the published one, frame by frame and closed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2.box import Box
from mixformerv2.export import export_bundle
from mixformerv2.tracking import Tracker, TrackerSettings, TrackState
from mixformerv2.tracking.crop import Crop
from mixformerv2.weights import from_official, save_bundle
from mixformerv2.weights.bundle import read_config

from . import weights

BOX_TOLERANCE = 0.05  # pixels
SCORE_TOLERANCE = 1e-3
GREY_LEVELS = 1  # OpenCV versions round a bilinear resize differently


@dataclass(frozen=True)
class Recorded:
    """What the published loop saw and answered."""

    frames: list[NDArray[np.uint8]]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    numbers: dict[str, NDArray[np.float64]]


@pytest.fixture(scope="module")
def recorded(shared: Path) -> Recorded:
    with np.load(shared / "golden" / "track_basketball.npz") as file:
        numbers = dict(file)
    folder = shared / "data" / "sequences" / "otb_Basketball" / "img"
    frames = [cv2.imread(str(folder / f"{i + 1:06d}.jpg")) for i in range(len(numbers["boxes"]))]
    return Recorded(frames, numbers["boxes"], numbers["scores"], numbers)


@pytest.fixture(scope="module")
def bundle(recorded: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden S network with the recorded box head, as a bundle with graphs."""
    import torch

    state = weights.state_dict("mixformerv2_s")
    for part in ("0_weight", "0_bias", "1_weight", "1_bias"):
        name = "box_head.layers.1." + part.replace("_", ".")
        state[name] = torch.from_numpy(recorded.numbers[f"box_head_1_{part}"])
    state["score_head.layers.1.bias"] += float(recorded.numbers["score_bias_added"])
    folder = tmp_path_factory.mktemp("golden") / "s"
    settings = TrackerSettings(112, 224, update_interval=int(recorded.numbers["interval"]))
    save_bundle(from_official(state), folder, tracker=settings, precision="float32")
    export_bundle(folder)
    return folder


@pytest.fixture(scope="module", params=["torch", "onnx"])
def tracker(bundle: Path, request: pytest.FixtureRequest) -> Tracker:
    return Tracker(bundle, engine=request.param)


def test_closed_loop(tracker: Tracker, recorded: Recorded) -> None:
    results = [tracker.init(recorded.frames[0], recorded.boxes[0])]
    results += [tracker.update(frame) for frame in recorded.frames[1:]]

    boxes = np.array([result.box for result in results])
    scores = np.array([result.score for result in results])
    print(abs(boxes - recorded.boxes).max(), abs(scores - recorded.scores).max())
    np.testing.assert_allclose(boxes, recorded.boxes, rtol=0, atol=BOX_TOLERANCE)
    np.testing.assert_allclose(scores, recorded.scores, rtol=0, atol=SCORE_TOLERANCE)
