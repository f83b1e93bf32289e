"""Frames in which nothing moves: the network rests, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixformerv2.errors import StateError
from mixformerv2.tracking import MultiTracker, Tracker, TrackState
from tests.doubles import ScriptedEngine, config, moving_square

FRAMES = [moving_square()(n) for n in range(4)]
BOX = (20, 40, 24, 24)


def tracker(scores: list[float] | None = None, **settings: Any) -> tuple[Tracker, ScriptedEngine]:
    engine = ScriptedEngine(scores or [])
    one = Tracker.with_engine(engine, config(still_below=8.0, **settings))
    one.init(FRAMES[0], BOX)
    return one, engine


def test_a_still_frame_repeats_the_last_answer() -> None:
    one, engine = tracker([0.9])
    first = one.update(FRAMES[0])
    again = one.update(FRAMES[0])
    assert len(engine.searched) == 1
    assert (again.box, again.score, again.state) == (first.box, first.score, "tracked")
    assert again.frame == 2


def test_a_small_target_that_moves_is_looked_at() -> None:
    one, engine = tracker()
    for frame in FRAMES:
        one.update(frame)
    assert len(engine.searched) == 4


def test_slow_changes_add_up() -> None:
    one, engine = tracker()
    for step in range(0, 20, 2):
        one.update(np.clip(FRAMES[0].astype(int) + step, 0, 255).astype(np.uint8))
    assert 2 <= len(engine.searched) <= 5  # each is held against the last one that was looked at


def test_it_looks_at_least_once_in_thirty_frames() -> None:
    one, engine = tracker()
    for _ in range(61):
        one.update(FRAMES[0])
    assert len(engine.searched) == 3


def test_a_target_in_doubt_is_always_looked_at() -> None:
    one, engine = tracker([0.4] * 5, uncertain_below=0.5)
    for _ in range(5):
        one.update(FRAMES[0])
    assert len(engine.searched) == 5


def test_off_by_default_the_network_is_always_asked() -> None:
    engine = ScriptedEngine()
    one = Tracker.with_engine(engine, config())
    one.init(FRAMES[0], BOX)
    for _ in range(3):
        one.update(FRAMES[0])
    assert len(engine.searched) == 3
    assert one.state is not None
    assert one.state.seen is None


def test_a_saved_state_rests_on(small_bundle: Path) -> None:
    frames = [FRAMES[0]] * 3 + [FRAMES[1]] * 3
    settings = {"still_below": 8.0, "uncertain_below": 0.0, "lost_below": 0.0, "lost_until": 0.0}
    straight = Tracker(small_bundle, engine="onnx", settings=settings)
    straight.init(frames[0], BOX)
    expected = [straight.update(frame) for frame in frames]
    one = Tracker(small_bundle, engine="onnx", settings=settings)
    one.init(frames[0], BOX)
    found = []
    for frame in frames:
        found.append(one.update(frame))
        data = one.save_state()
        one.load_state(data)
    assert found == expected
    assert expected[1].box == expected[2].box


def test_targets_rest_each_by_itself() -> None:
    engine = ScriptedEngine()
    multi = MultiTracker.around(Tracker.with_engine(engine, config(still_below=8.0)))
    quiet, busy = np.zeros((2, 120, 160, 3), np.uint8)
    busy[:, 100:] = 255
    multi.add(quiet, (10, 40, 10, 10))
    multi.add(quiet, (130, 40, 10, 10))
    multi.update(quiet)
    multi.update(busy)
    assert [len(search) for search in engine.searched] == [2, 1]


def test_a_forged_look_wider_than_any_is_not_compared() -> None:
    """Its square alone would be 840 terabytes."""
    one, engine = tracker()
    one.update(FRAMES[0])
    assert one.state is not None
    assert one.state.seen is not None
    wide = replace(one.state.seen, crop=replace(one.state.seen.crop, side=1 << 24))
    one.load_state(replace(one.state, seen=wide).to_bytes())
    one.update(FRAMES[0])
    assert len(engine.searched) == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"skipped": 0', b'"skipped": 1.5'),
        (b'"skipped": 0', b'"skipped": -9'),
        (b'"cells": "', b'"cells": "AAAA'),
        (b'"crop": [', b'"crop": [7, '),
        (b'"crop": [', b'"crap": ['),
    ],
)
def test_a_damaged_look_is_refused(old: bytes, new: bytes) -> None:
    one, _ = tracker()
    one.update(FRAMES[0])
    data = one.save_state()
    assert old in data
    length = int.from_bytes(data[4:8], "little") + len(new) - len(old)
    with pytest.raises(StateError):
        TrackState.from_bytes(data[:4] + length.to_bytes(4, "little") + data[8:].replace(old, new))
