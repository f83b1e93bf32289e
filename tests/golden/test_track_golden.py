"""The tracking loop against the published one, frame by frame and closed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2.box import Box
from mixformerv2.export import export_bundle
from mixformerv2.tracking import Tracker, TrackerSettings, TrackState
from mixformerv2.tracking.crop import Crop
from mixformerv2.tracking.policy import TemplatePolicy
from mixformerv2.weights import from_official, save_bundle

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
    state = weights.tracked_state_dict(recorded.numbers)
    folder = tmp_path_factory.mktemp("golden") / "s"
    settings = TrackerSettings(112, 224, update_interval=int(recorded.numbers["interval"]))
    save_bundle(from_official(state), folder, tracker=settings, precision="float32")
    export_bundle(folder)
    return folder


@pytest.fixture(scope="module", params=["torch", "onnx"])
def tracker(bundle: Path, request: pytest.FixtureRequest) -> Iterator[Tracker]:
    import torch

    before = torch.get_num_threads()
    yield Tracker(bundle, engine=request.param, threads=1)
    torch.set_num_threads(before)


def test_crops_of_awkward_boxes(recorded: Recorded) -> None:
    numbers = recorded.numbers
    for i in range(6):
        for size, factor in ((112, 2.0), (224, 4.5)):
            crop = Crop.around(Box(*map(float, numbers[f"box_{i}"])), factor, size)
            taken = crop.take(recorded.frames[0])[..., ::-1].astype(int)
            assert crop.scale == numbers[f"scale_{i}_{size}"]
            assert abs(taken - numbers[f"crop_{i}_{size}"]).max() <= GREY_LEVELS, (i, size)


def test_each_frame_from_the_recorded_state(tracker: Tracker, recorded: Recorded) -> None:
    for i, state in enumerate(recorded_states(tracker, recorded), start=1):
        result, _ = tracker.step(recorded.frames[i], state)
        assert result.box == pytest.approx(recorded.boxes[i], abs=BOX_TOLERANCE), i
        assert result.score == pytest.approx(recorded.scores[i], abs=SCORE_TOLERANCE), i


def recorded_states(tracker: Tracker, recorded: Recorded) -> Iterator[TrackState]:
    """The state before each frame but the first, made of the recorded boxes and scores alone."""
    settings = tracker.settings
    policy = TemplatePolicy(settings.update_interval, settings.update_threshold)
    _, state = tracker.start(recorded.frames[0], recorded.boxes[0])
    for i in range(1, len(recorded.frames)):
        yield state
        box = Box(*map(float, recorded.boxes[i]))
        around = Crop.around(box, settings.template_factor, settings.template_size)
        templates = policy.advance(
            state.templates, i, recorded.scores[i], partial(around.take, recorded.frames[i])
        )
        state = replace(state, box=box, frame=i, templates=templates)


def test_closed_loop(tracker: Tracker, recorded: Recorded) -> None:
    results = [tracker.init(recorded.frames[0], recorded.boxes[0])]
    results += [tracker.update(frame) for frame in recorded.frames[1:]]

    boxes = np.array([result.box for result in results])
    scores = np.array([result.score for result in results])
    np.testing.assert_allclose(boxes, recorded.boxes, rtol=0, atol=BOX_TOLERANCE)
    np.testing.assert_allclose(scores, recorded.scores, rtol=0, atol=SCORE_TOLERANCE)


def test_the_recording_changes_templates_and_puts_the_first_back(
    tracker: Tracker, recorded: Recorded
) -> None:
    states = list(recorded_states(tracker, recorded))
    first_again = [state.templates.online_is_first for state in states]
    assert not all(first_again[7:13])  # the first interval has candidates above 0.5
    assert any(first_again[13:])  # a later one has none
