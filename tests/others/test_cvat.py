"""CVAT's own agent code (cvat-cli) loads our tracking function and works with it.

What is left out is the server: requests reach these functions as `cvat-cli function run-agent`
hands them on, results leave as it packs them.
"""

from __future__ import annotations

import itertools

import attrs
import cvat_sdk.auto_annotation as cvataa
import numpy as np
import PIL.Image
import pytest
from cvat_cli._internal import agent_driver
from cvat_cli._internal import agent_driver_tracking as driver
from cvat_cli._internal.common import FunctionLoader
from cvat_sdk import models
from numpy.typing import NDArray

from mixformerv2 import BoxError, Tracker

Pictures = list[PIL.Image.Image]


@pytest.fixture
def pictures(frames: list[NDArray[np.uint8]]) -> Pictures:
    return [PIL.Image.fromarray(np.ascontiguousarray(frame[..., ::-1])) for frame in frames]


def load(**parameters: object) -> cvataa.TrackingFunction:
    """Load our module as the command does, and make it the one of this worker."""
    loader = FunctionLoader("mixformerv2.integrations.cvat", None, parameters)
    function = loader.load()
    agent_driver.set_worker_current_function(function)
    numbers = itertools.count(1)
    driver.AgentTrackingFunctionDriver.init_worker(lambda: f"state{next(numbers)}")
    return function


def rectangle(box: tuple[float, ...]) -> cvataa.TrackableShape:
    x, y, w, h = box
    return cvataa.TrackableShape(type="rectangle", points=[x, y, x + w, y + h])


def test_an_agent_tracks_two_rectangles(
    pictures: Pictures, frames: list[NDArray[np.uint8]], truth: list[tuple[float, ...]]
) -> None:
    function = load(model="t", engine="onnx")
    assert isinstance(function.spec, cvataa.TrackingFunctionSpec)
    assert function.spec.supported_shape_types == {models.ShapeType("rectangle").value}
    boxes = (truth[0], (40.0, 40.0, 50.0, 60.0))
    states = driver._worker_job_init_tracking(5, pictures[0], [rectangle(box) for box in boxes])
    assert states == ["state1", "state2"]
    ours = [Tracker("t", "onnx") for _ in boxes]
    for tracker, box in zip(ours, boxes, strict=True):
        tracker.init(frames[0], box)
    for picture, frame in zip(pictures[1:], frames[1:], strict=True):
        shapes = driver._worker_job_track(5, picture, states)
        for tracker, shape in zip(ours, shapes, strict=True):
            result = tracker.update(frame)
            if result.state == "lost":
                assert shape is None
                continue
            assert shape is not None
            assert attrs.asdict(shape) == attrs.asdict(rectangle(result.box))
    assert shapes[0] is not None


def test_a_lost_target_has_no_shape(pictures: Pictures, truth: list[tuple[float, ...]]) -> None:
    load(
        engine="onnx",
        settings={
            "lost_below": 1.0,
            "lost_until": 1.0,
            "uncertain_below": 1.0,
            "uncertain_until": 1.0,
        },
    )
    (state,) = driver._worker_job_init_tracking(5, pictures[0], [rectangle(truth[0])])
    assert driver._worker_job_track(5, pictures[1], [state]) == [None]


def test_greys_and_bad_rectangles(pictures: Pictures, truth: list[tuple[float, ...]]) -> None:
    load(engine="onnx")
    grey = [picture.convert("L") for picture in pictures[:2]]
    (state,) = driver._worker_job_init_tracking(5, grey[0], [rectangle(truth[0])])
    assert driver._worker_job_track(5, grey[1], [state])[0] is not None
    with pytest.raises(BoxError, match="outside"):
        driver._worker_job_init_tracking(5, grey[0], [rectangle((5000, 5000, 9, 9))])
