"""Several targets: each as if it were alone, one pass of the network for all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2.errors import BoxError, ConfigError, FrameError
from mixformerv2.export import export_int8
from mixformerv2.tracking import MultiTracker, Tracker
from tests.doubles import ScriptedEngine, config, moving_square

FRAME: NDArray[np.uint8] = np.random.default_rng(8).integers(0, 256, (90, 120, 3), dtype=np.uint8)
BOXES = {7: (10.0, 10.0, 20.0, 16.0), 3: (60.0, 30.0, 12.0, 30.0), 5: (90.0, 60.0, 25.0, 25.0)}


def multi(engine: ScriptedEngine | None = None, **settings: float) -> MultiTracker:
    return MultiTracker.around(Tracker.with_engine(engine or ScriptedEngine(), config(**settings)))


def test_each_as_if_alone_in_one_pass() -> None:
    engine = ScriptedEngine()
    together = multi(engine)
    for number, box in BOXES.items():
        assert together.add(FRAME, box, id=number) == number
    for _ in range(3):
        results = together.update(FRAME)
    assert len(engine.searched) == 3
    assert engine.searched[0].shape == (3, 64, 64, 3)
    assert list(results) == [7, 3, 5]

    for number, box in BOXES.items():
        alone = Tracker.with_engine(ScriptedEngine(), config())
        alone.init(FRAME, box)
        for _ in range(3):
            expected = alone.update(FRAME)
        assert results[number] == expected


def test_only_templates_that_change_are_encoded_anew() -> None:
    engine = ScriptedEngine([0.9, 0.1] * 9)
    together = multi(engine, update_interval=2)
    together.add(FRAME, BOXES[7])
    together.add(FRAME, BOXES[3])
    for _ in range(4):
        together.update(FRAME)
    # Two at the start; then the first alone, for the second never scores enough.
    assert [e.shape[0] for e in engine.encoded] == [1, 1, 1]


def test_frames_count_for_the_video() -> None:
    together = multi()
    together.add(FRAME, BOXES[7])
    together.update(FRAME)
    together.skip()
    late = together.add(FRAME, BOXES[3])
    results = together.update(FRAME)
    assert {r.frame for r in results.values()} == {3}
    assert results[late].time == 3 / 30
    assert together.update(FRAME, time=0.25)[late].time == 0.25


def test_every_frame_goes_to_update_first() -> None:
    """As in the documentation: the numbers are the video's, with or without targets."""
    together, found = multi(), []
    for number in range(6):
        results = together.update(FRAME)
        found.append({one: result.frame for one, result in results.items()})
        if number in (1, 3):
            together.add(FRAME, BOXES[7], id=number)
    assert found == [{}, {}, {1: 2}, {1: 3}, {1: 4, 3: 4}, {1: 5, 3: 5}]


def test_an_id_is_a_whole_number() -> None:
    """A name would be taken, and break what compares numbers, with each target after it."""
    together = multi()
    with pytest.raises(ConfigError, match="whole number, got 'dog'"):
        together.add(FRAME, BOXES[7], id="dog")  # type: ignore[arg-type]
    assert together.add(FRAME, BOXES[7], id=np.int64(4)) == 4
    assert together.add(FRAME, BOXES[3]) == 0
    assert list(together.update(FRAME)) == [4, 0]


def test_a_target_begins_at_the_time_of_its_frame() -> None:
    """Its filter would take the first motion for one of many years."""
    together = multi(smooth_hz=1.0)
    together.update(FRAME, time=1.7e9)
    late = together.add(FRAME, BOXES[3])
    smooth = together.update(FRAME, time=1.7e9 + 0.04)[late]
    alone = Tracker.with_engine(ScriptedEngine(), config(smooth_hz=1.0))
    alone.init(FRAME, BOXES[3], time=1.7e9)
    assert smooth.box == alone.update(FRAME, time=1.7e9 + 0.04).box


def test_skipped_frames() -> None:
    together = multi()
    first = together.add(FRAME, BOXES[7])
    skipped = together.skip(time=0.2)[first]
    assert (skipped.box, skipped.score, skipped.state) == (BOXES[7], 0.0, "lost")


def test_ids() -> None:
    together = multi()
    assert [together.add(FRAME, BOXES[7]) for _ in range(3)] == [0, 1, 2]
    together.remove(1)
    assert (together.ids, len(together)) == ([0, 2], 2)
    assert together.add(FRAME, BOXES[3]) == 1
    with pytest.raises(ConfigError, match="target 2 is there"):
        together.add(FRAME, BOXES[3], id=2)
    with pytest.raises(ConfigError, match="no target 9"):
        together.remove(9)


def test_no_targets() -> None:
    assert multi().update(FRAME) == {}
    assert multi().skip() == {}


def test_a_refused_box_or_frame_leaves_the_others() -> None:
    together = multi()
    together.add(FRAME, BOXES[7], id=7)
    with pytest.raises(BoxError):
        together.add(FRAME, (500, 500, 5, 5), id=8)
    with pytest.raises(FrameError):
        together.update(None)
    assert together.ids == [7]
    assert together.update(FRAME)[7].frame == 1


def test_targets_that_come_go_and_change_at_any_time_are_as_if_alone(small_bundle: Path) -> None:
    """The real network, in each engine that answers the same every time."""
    scene = moving_square((160, 240))
    boxes = {0: (20.0, 40.0, 24.0, 24.0), 1: (100.0, 90.0, 30.0, 20.0), 2: (60.0, 20.0, 40.0, 36.0)}
    boxes |= {3: (150.0, 100.0, 26.0, 40.0), 4: (30.0, 100.0, 50.0, 30.0)}
    coming, going = {0: 0, 1: 0, 2: 2, 3: 3, 4: 5}, {1: 8}
    for name in ("onnx", "openvino-fp32", "torch"):
        changes = {"update_interval": 3, "update_threshold": 0.0, "apart": False}
        tracker = Tracker(small_bundle, name, 1, settings=changes)
        together, alone = MultiTracker.around(tracker), {}
        for number in range(12):
            frame = scene(number)
            results = together.update(frame) if number else {}
            assert results.keys() == alone.keys()
            for one, result in results.items():
                expected, alone[one] = tracker.step(frame, alone[one])
                np.testing.assert_allclose(result.box, expected.box, atol=1e-3)
                assert result.score == pytest.approx(expected.score, abs=1e-5)
                assert result.state == expected.state
            for one in [one for one, when in coming.items() if when == number]:
                together.add(frame, boxes[one], id=one)
                alone[one] = tracker.start(frame, boxes[one])[1]
            for one in [one for one, when in going.items() if when == number]:
                together.remove(one)
                del alone[one]
        changed = [not state.templates.online_is_first for state in alone.values()]
        assert any(changed)


@pytest.fixture(scope="module")
def int8_bundle(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With int8 graphs, calibrated on the demo clip."""
    folder = tmp_path_factory.mktemp("int8") / "small"
    export_int8(small_bundle, folder, count=8)
    return folder


@pytest.mark.parametrize("name", ["onnx", "onnx-int8", "openvino-fp32", "openvino-int8"])
def test_thirty_two_targets_are_as_if_alone(int8_bundle: Path, name: str) -> None:
    """Whole passes of every engine, in fp32 and int8; a target less leaves passes of each size."""
    scene, draw = moving_square((160, 240)), np.random.default_rng(4)
    tracker = Tracker(int8_bundle, name, 1, settings={"apart": False})
    together, alone, moved = MultiTracker.around(tracker), {}, 0.0
    for one in range(32):
        x, y, w, h = draw.uniform((0, 0, 16, 16), (180, 110, 50, 50))
        together.add(scene(0), (x, y, w, h), id=one)
        alone[one] = tracker.start(scene(0), (x, y, w, h))[1]
    for number in range(1, 4):
        frame = scene(number)
        results = together.update(frame)
        assert results.keys() == alone.keys()
        for one, result in results.items():
            before = alone[one].box
            expected, alone[one] = tracker.step(frame, alone[one])
            np.testing.assert_allclose(result.box, expected.box, atol=1e-3)
            moved = max(moved, float(np.abs(np.subtract(before, expected.box)).max()))
        if number == 2:
            together.remove(9)
            del alone[9]
    assert moved > 1  # boxes that stay would agree by themselves
