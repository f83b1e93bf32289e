"""Several targets: each as if it were alone, one pass of the network for all."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2.errors import BoxError, ConfigError, FrameError
from mixformerv2.tracking import MultiTracker, Tracker
from tests.doubles import ScriptedEngine, config

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


def test_templates_of_all_are_encoded_when_one_changes() -> None:
    engine = ScriptedEngine([0.9, 0.1] * 9)
    together = multi(engine, update_interval=2)
    together.add(FRAME, BOXES[7])
    together.add(FRAME, BOXES[3])
    for _ in range(4):
        together.update(FRAME)
    assert [e.shape[0] for e in engine.encoded] == [2, 2]


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
