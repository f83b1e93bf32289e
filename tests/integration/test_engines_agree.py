"""One bundle, real frames, three engines: the same boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mixformerv2.box import Box
from mixformerv2.tracking import Tracker
from mixformerv2.weights.bundle import list_bundles

PIXELS = 0.5
FRAMES = 100


def frames_of(shared: Path, name: str) -> tuple[list[np.ndarray], np.ndarray]:
    folder = shared / "data" / "sequences" / name
    truth = np.loadtxt(folder / "groundtruth.txt", delimiter=",")[:FRAMES]
    files = sorted((folder / "img").glob("*.jpg"))[:FRAMES]
    return [cv2.imread(str(file)) for file in files], truth


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """PyTorch's threads are the whole process's: put back what was set."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_torch_thread")
@pytest.mark.parametrize("name", ["small", *list_bundles()])
@pytest.mark.parametrize("other", ["openvino-fp32", "torch"])
def test_each_frame_from_the_reference_state(
    shared: Path, small_bundle: Path, name: str, other: str
) -> None:
    bundle = small_bundle if name == "small" else name
    frames, truth = frames_of(shared, "otb_Basketball")
    assert len(frames) == FRAMES
    settings = {"update_interval": 10}  # templates change under way as well
    reference = Tracker(bundle, engine="onnx", threads=1, settings=settings)
    compared = Tracker(bundle, engine=other, threads=1, settings=settings)

    result, state = reference.start(frames[0], truth[0])
    worst, moved = 0.0, 0.0
    for i, frame in enumerate(frames[1:], start=1):
        if i % 10 == 0:  # a target that was lost would leave nothing to compare
            state = replace(state, box=Box(*map(float, truth[i - 1])))
        got, _ = compared.step(frame, state)
        result, after = reference.step(frame, state)
        worst = max(worst, float(np.abs(np.subtract(got.box, result.box)).max()))
        moved = max(moved, float(np.abs(np.subtract(state.box, result.box)).max()))
        assert got.score == pytest.approx(result.score, abs=1e-3)
        state = after
    assert worst <= PIXELS
    assert moved > PIXELS  # there was something to disagree about
