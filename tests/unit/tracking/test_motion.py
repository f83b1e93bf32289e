"""Motion settings: each does what it says, and none does anything by default."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mixformerv2.box import Box
from mixformerv2.errors import ConfigError, StateError
from mixformerv2.tracking import Tracker, TrackerSettings, TrackState
from mixformerv2.tracking.motion import Motion, Smooth, search_box, settled_size
from tests.doubles import ScriptedEngine, config

FRAME: NDArray[np.uint8] = np.random.default_rng(7).integers(0, 256, (90, 120, 3), dtype=np.uint8)
BOX = Box(40, 30, 20, 16)
ALL = {
    "search_lead": 1.0,
    "search_growth": 1.2,
    "max_scale_change": 1.1,
    "size_damping": 0.3,
    "smooth_hz": 1.0,
}


def settings(**values: Any) -> TrackerSettings:
    return TrackerSettings(32, 64, **{"search_factor": 4.0, **values})


def tracker(scores: list[float] | None = None, **values: Any) -> Tracker:
    # The target is always seen a little right of the middle, and larger.
    engine = ScriptedEngine(scores or [], corners=(0.4, 0.4, 0.7, 0.65))
    one = Tracker.with_engine(engine, config(**values))
    one.init(FRAME, BOX)
    return one


def test_nothing_moves_by_default() -> None:
    motion = Motion().after(BOX, Box(60, 30, 20, 16), "tracked", 0.1, settings())
    assert motion == Motion()
    assert search_box(BOX, motion, settings()) == (BOX, 4.0)
    grown = Box(0, 0, 99, 99)
    assert settled_size(BOX, grown, settings()) is grown


def test_the_search_goes_ahead_of_a_steady_motion() -> None:
    chosen = settings(search_lead=1.0)
    motion, box = Motion(), BOX
    for _ in range(12):
        after = Box(box.x + 6, box.y - 2, box.w, box.h)
        motion, box = motion.after(box, after, "uncertain", 0.1, chosen), after
    ahead, _ = search_box(box, motion, chosen)
    assert (ahead.x - box.x, ahead.y - box.y) == pytest.approx((6, -2), abs=0.01)
    assert motion.after(box, box, "lost", 0.1, chosen).speed == (0.0, 0.0)


def test_a_leap_does_not_throw_the_search_out_of_reach() -> None:
    motion = Motion().after(BOX, Box(1e6, 30, 20, 16), "tracked", 0.1, settings(search_lead=1.0))
    assert math.dist(motion.speed, (0, 0)) <= 10 * math.sqrt(BOX.area)


def test_the_search_widens_until_the_target_is_tracked_again() -> None:
    chosen = settings(search_growth=1.5, search_growth_max=2.0)
    motion, sides = Motion(), []
    for target in ("tracked", "uncertain", "lost", "lost", "tracked"):
        motion = motion.after(BOX, BOX, target, 0.1, chosen)
        sides.append(search_box(BOX, motion, chosen)[1])
    assert sides == [4.0, 6.0, 8.0, 8.0, 4.0]


@given(st.floats(1.01, 3.0), st.floats(0, 0.9), st.floats(2, 500), st.floats(2, 500), st.booleans())
def test_a_size_changes_by_no_more_than_the_limit(
    limit: float, damping: float, w: float, h: float, damped: bool
) -> None:
    chosen = settings(max_scale_change=limit, size_damping=damping if damped else 0.0)
    out = settled_size(BOX, Box(5, 5, w, h), chosen)
    assert out.center == pytest.approx((5 + w / 2, 5 + h / 2))
    for old, new, asked in zip(BOX[2:], out[2:], (w, h), strict=True):
        assert old / limit * (1 - 1e-9) <= new <= old * limit * (1 + 1e-9)
        assert (new - old) * (asked - old) >= -1e-9  # never the other way


def test_smoothing_takes_away_tremble_and_follows_what_is_fast() -> None:
    draw = np.random.default_rng(1)
    still, fast = Smooth.at(BOX), Smooth.at(BOX)
    rest, behind, raw = [], [], []
    for step in range(1, 60):
        noise = draw.normal(0, 1.0, 2)
        raw.append(noise[0])
        shaken = Box(BOX.x + noise[0], BOX.y + noise[1], BOX.w, BOX.h)
        still = still.after(shaken, 1 / 30, 1.0, 1.0)
        rest.append(still.box.x - BOX.x)
        moved = Box(BOX.x + 8 * step, BOX.y, BOX.w, BOX.h)
        fast = fast.after(moved, 1 / 30, 1.0, 1.0)
        behind.append(moved.x - fast.box.x)
    assert np.std(rest[10:]) < 0.6 * np.std(raw[10:])
    assert max(behind[10:]) < 0.6 * BOX.w
    deaf = Smooth.at(BOX).after(Box(60, 30, 20, 16), 1 / 30, 1.0, 0.0)
    assert deaf.box.x - BOX.x < 4  # without the gain it is a plain low-pass


def test_smoothing_is_of_the_answer_and_not_of_the_search() -> None:
    plain, smooth = tracker(), tracker(smooth_hz=0.5)
    for _ in range(3):
        expected, answered = plain.update(FRAME), smooth.update(FRAME)
        assert smooth.state is not None
        assert smooth.state.box.xywh == expected.box != answered.box
    assert smooth.skip().box == answered.box


def test_a_frame_that_cannot_be_read_does_not_stop_the_clock_of_the_smoothing() -> None:
    broken, whole = tracker(smooth_hz=0.5), tracker(smooth_hz=0.5)
    broken.skip(time=0.1)
    assert broken.update(FRAME, time=0.2).box == whole.update(FRAME, time=0.2).box


def test_saved_motion_carries_on_with_equal_results() -> None:
    scores = [0.9, 0.9, 0.3, 0.1, 0.9, 0.9]
    straight = tracker(scores, **ALL)
    expected = [straight.update(FRAME, time=0.1 * n) for n in range(1, 7)]
    first, second = tracker(scores[:3], **ALL), tracker(scores[3:], **ALL)
    for n in range(1, 4):
        first.update(FRAME, time=0.1 * n)
    second.load_state(first.save_state())
    assert [second.update(FRAME, time=0.1 * n) for n in range(4, 7)] == expected[3:]


def test_motion_grows_with_the_picture() -> None:
    one = tracker(search_lead=1.0, smooth_hz=1.0)
    one.update(FRAME)
    small = one.state
    assert small is not None
    assert small.motion.smooth is not None
    twice = small.motion.resized(2, 2)
    assert twice.speed == (2 * small.motion.speed[0], 2 * small.motion.speed[1])
    assert twice.smooth is not None
    assert twice.smooth.values == tuple(2 * v for v in small.motion.smooth.values)
    assert one.update(np.repeat(np.repeat(FRAME, 2, 0), 2, 1)).box[2] > small.box.w


def test_a_state_does_not_grow_the_search_beyond_the_settings() -> None:
    assert search_box(BOX, Motion(growth=8.0), settings(search_growth_max=2.0))[1] == 8.0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"speed": [', b'"speed": [-1e300, 0], "was": ['),
        (b'"smooth": [', b'"smooth": [1e300, 1, 1, 1, 1, 1, 1, 1], "was": ['),
        (b'"growth": 1.0', b'"growth": 9.0'),
        (b'"growth": 1.0', b'"growth": NaN'),
        (b'"speed": [', b'"speed": [3,'),
        (b'"smooth": [', b'"smooth": [1,'),
    ],
)
def test_damaged_motion_is_refused(old: bytes, new: bytes) -> None:
    one = tracker(search_lead=1.0, smooth_hz=1.0)
    one.update(FRAME)
    data = one.save_state()
    assert old in data
    length = int.from_bytes(data[4:8], "little") + len(new) - len(old)
    with pytest.raises(StateError):
        TrackState.from_bytes(data[:4] + length.to_bytes(4, "little") + data[8:].replace(old, new))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("search_lead", -1.0),
        ("search_growth", 0.5),
        ("search_growth_max", 99.0),
        ("max_scale_change", 0.9),
        ("size_damping", 1.0),
        ("smooth_hz", math.nan),
    ],
)
def test_settings_out_of_range_are_named(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        settings(**{name: value})


@pytest.mark.parametrize("gain", [0.0, 1.0])
def test_a_smoothed_answer_stays_in_the_picture(gain: float) -> None:
    """Of a target that comes in, the size grows twice as fast as the centre moves."""
    engine = ScriptedEngine()
    one = Tracker.with_engine(engine, config(smooth_hz=1.0, smooth_gain=gain))
    one.init(FRAME, (0, 30, 8, 16))
    for _ in range(8):
        assert one.state is not None
        box = one.state.box
        side = math.ceil(4 * math.sqrt(box.area))
        low = 0.5 - 0.5 * box.w / side  # the left side stays at the border, the right one moves
        engine.corners = (low, 0.4, 1 - low + 4 / side, 0.6)
        found = one.update(FRAME)
        assert one.state.box.x <= 1e-4
        assert found.box[0] >= 0.0
    assert found.box[2] > 8
