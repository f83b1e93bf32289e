"""A program written for `cv2.Tracker` runs on ours without a change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2 import BoxError, StateError, Tracker, iou
from mixformerv2.integrations.opencv import OpenCVTracker
from mixformerv2.video import open_source
from tests.doubles import ScriptedEngine, config

DEMO = Path(__file__).parents[3] / "src" / "mixformerv2" / "assets" / "demo.mp4"
FIRST = (175, 137, 93, 86)


def follow(tracker: Any, frames: list[NDArray[np.uint8]]) -> list[tuple[int, ...]]:
    """What a program for OpenCV does: init, update, draw."""
    assert tracker.init(frames[0], FIRST) is None
    boxes = []
    for frame in frames[1:]:
        ok, box = tracker.update(frame)
        assert type(ok) is bool
        assert ok
        cv2.rectangle(frame.copy(), box, (0, 255, 0), 2)  # takes whole numbers alone
        boxes.append(tuple(box))
    return boxes


def test_the_same_program_runs_on_opencvs_tracker_and_on_ours() -> None:
    with open_source(DEMO) as source:
        frames = [frame.image for frame, _ in zip(source, range(8), strict=False)]
    pictures = [frame for frame in frames if frame is not None]
    theirs = follow(cv2.TrackerMIL.create(), pictures)
    ours = follow(OpenCVTracker.create(engine="onnx", threads=1), pictures)
    assert len(ours) == len(theirs) == 7
    assert all(iou(a, b) > 0.4 for a, b in zip(ours, theirs, strict=True))


def test_lost_is_not_ok_and_the_result_keeps_its_fractions() -> None:
    engine = ScriptedEngine([0.9, 0.05], corners=(0.41, 0.4, 0.6, 0.6))
    tracker = OpenCVTracker.around(Tracker.with_engine(engine, config()))
    frame = np.zeros((100, 100, 3), np.uint8)
    with pytest.raises(StateError, match="init"):
        tracker.getTrackingScore()
    with pytest.raises(StateError, match="init"):
        tracker.update(frame)
    tracker.init(frame, (40, 40, 20, 20))
    assert tracker.getTrackingScore() == 1.0
    ok, box = tracker.update(frame)
    assert ok
    assert tracker.getTrackingScore() == pytest.approx(0.9)
    assert box == tuple(round(value) for value in tracker.result.box) != tracker.result.box
    ok, _ = tracker.update(frame)
    assert (ok, tracker.result.state) == (False, "lost")


def test_an_empty_selection_is_refused() -> None:
    tracker = OpenCVTracker.around(Tracker.with_engine(ScriptedEngine(), config()))
    with pytest.raises(BoxError, match="above zero"):
        tracker.init(np.zeros((9, 9, 3), np.uint8), (0, 0, 0, 0))
