"""The yardstick is the published code: a slow or wrong one would flatter every ratio of a bench."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from benchmarks.published_way import PublishedNet, PublishedTracker

from . import weights

ATOL = 1e-4  # of the contract; float32 sums in another order differ by about 1e-6


@pytest.mark.parametrize("name", ["mixformerv2_s", "mixformerv2_b"])
@torch.inference_mode()
def test_network(name: str) -> None:
    boxes, probs, score = PublishedNet(weights.state_dict(name))(*weights.inputs(name))
    want = weights.reference(name)
    np.testing.assert_allclose(boxes, want["pred_boxes"][:, 0], rtol=0, atol=ATOL)
    for index, side in enumerate("lrtb"):
        np.testing.assert_allclose(probs[:, index], want[f"prob_{side}"], rtol=0, atol=ATOL)
    np.testing.assert_allclose(score, want["pred_scores"], rtol=0, atol=ATOL)


def test_tracking_loop(shared: Path) -> None:
    with np.load(shared / "golden" / "track_basketball.npz") as file:
        numbers = dict(file)
    folder = shared / "data" / "sequences" / "otb_Basketball" / "img"
    frames = [
        cv2.cvtColor(cv2.imread(str(folder / f"{i:06d}.jpg")), cv2.COLOR_BGR2RGB)
        for i in range(1, len(numbers["boxes"]) + 1)
    ]
    net = PublishedNet(weights.tracked_state_dict(numbers))
    tracker = PublishedTracker(net, interval=int(numbers["interval"]))
    tracker.init(frames[0], tuple(numbers["boxes"][0]))
    for frame, box, score in zip(frames, numbers["boxes"], numbers["scores"], strict=True):
        if frame is frames[0]:
            continue
        assert tracker.update(frame) == pytest.approx(tuple(box), abs=0.05)
        assert tracker.score == pytest.approx(score, abs=1e-3)
