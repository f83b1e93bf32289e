"""The tracker around an engine that answers from a list."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2.errors import BoxError, ConfigError, EngineError, FrameError, StateError
from mixformerv2.tracking import Tracker, TrackerSettings, TrackState
from tests.doubles import MIDDLE, ScriptedEngine, config

FRAME: NDArray[np.uint8] = np.random.default_rng(6).integers(0, 256, (90, 120, 3), dtype=np.uint8)
BOX = (40.0, 30.0, 20.0, 16.0)


def tracker(engine: ScriptedEngine | None = None, **settings: Any) -> Tracker:
    return Tracker.with_engine(engine or ScriptedEngine(), config(**settings))


def started(engine: ScriptedEngine | None = None, **settings: Any) -> Tracker:
    one = tracker(engine, **settings)
    one.init(FRAME, BOX)
    return one


def test_the_first_result_is_the_given_box() -> None:
    result = tracker().init(FRAME, BOX, time=2.0)
    assert (result.box, result.score, result.state) == (BOX, 1.0, "tracked")
    assert (result.frame, result.time) == (0, 2.0)


def test_the_answer_is_mapped_back_around_the_last_box() -> None:
    result = started().update(FRAME)
    side = math.ceil(math.sqrt(20 * 16) * 4.0)
    width = (MIDDLE[2] - MIDDLE[0]) * side
    assert result.box == pytest.approx((50 - width / 2, 38 - width / 2, width, width), abs=1e-5)


def test_frames_and_times_count_on() -> None:
    one = started()
    results = [one.update(FRAME), one.update(FRAME, time=0.5), one.update(FRAME)]
    assert [r.frame for r in results] == [1, 2, 3]
    assert [r.time for r in results] == [1 / 30, 0.5, 0.1]


def test_times_of_any_number_can_be_saved() -> None:
    one = tracker()
    for time in (np.float32(0.5), np.int64(3), np.array(4.0), "5"):
        given = float(time)
        assert one.init(FRAME, BOX, time).time == given  # type: ignore[arg-type]
        one.load_state(one.save_state())
        for call in (lambda t: one.update(FRAME, t), one.skip):
            result = call(time)  # type: ignore[arg-type]
            one.load_state(one.save_state())
            assert result.time == given
            assert type(result.time) is float


@pytest.mark.parametrize("time", [math.nan, math.inf, "noon", [1, 2], 10**400])
def test_times_that_are_none_leave_the_tracker_as_it_was(time: Any) -> None:
    one = started()
    before = one.state
    for call in (lambda t: one.init(FRAME, BOX, t), lambda t: one.update(FRAME, t), one.skip):
        with pytest.raises(ConfigError, match="finite number of seconds"):
            call(time)
    assert one.state is before


def test_boxes_stay_in_the_picture_by_the_smallest_side() -> None:
    engine = ScriptedEngine(corners=(-3.0, -3.0, -2.9, -2.9))
    assert started(engine, min_size=10.0).update(FRAME).box == (0, 0, 10, 10)
    engine = ScriptedEngine(corners=(3.0, 3.0, 3.1, 3.1))
    assert started(engine, min_size=10.0).update(FRAME).box == (110, 80, 10, 10)


def test_crossed_corners_give_the_smallest_side() -> None:
    box = started(ScriptedEngine(corners=(0.6, 0.6, 0.4, 0.4)), min_size=3.0).update(FRAME).box
    assert box[2:] == (3.0, 3.0)


def test_states_follow_the_scores() -> None:
    one = started(ScriptedEngine([0.9, 0.35, 0.45, 0.1, 0.25, 0.35, 0.6]))
    states = [one.update(FRAME).state for _ in range(7)]
    expected = ["tracked", "uncertain", "uncertain", "lost", "lost", "uncertain", "tracked"]
    assert states == expected


def test_templates_are_encoded_once_for_each_change() -> None:
    engine = ScriptedEngine([0.9] * 9)
    one = started(engine, update_interval=3)
    for _ in range(9):
        one.update(FRAME)
    assert len(engine.encoded) == 3  # the start, after frame 3, after frame 6
    assert engine.encoded[0].shape == (1, 2, 32, 32, 3)
    assert all(memory is engine.encoded[i // 3] for i, memory in enumerate(engine.memories))


def test_without_a_score_head_all_is_tracked_and_templates_stay() -> None:
    engine = ScriptedEngine([0.0] * 8)
    one = started(engine, has_score=False, update_interval=2)
    results = [one.update(FRAME) for _ in range(8)]
    assert {(r.score, r.state) for r in results} == {(1.0, "tracked")}
    assert len(engine.encoded) == 1


def test_a_score_a_little_above_one_is_one() -> None:
    assert started(ScriptedEngine([1.0000001])).update(FRAME).score == 1.0


def test_rgb_frames_are_the_same_to_the_network() -> None:
    engines = ScriptedEngine(), ScriptedEngine()
    bgr = Tracker.with_engine(engines[0], config())
    rgb = Tracker.with_engine(engines[1], config(), channels="rgb")
    bgr.init(FRAME, BOX)
    rgb.init(FRAME[..., ::-1], BOX)
    assert bgr.update(FRAME) == rgb.update(FRAME[..., ::-1])
    np.testing.assert_array_equal(engines[0].searched[0], engines[1].searched[0])
    np.testing.assert_array_equal(engines[0].encoded[0], engines[1].encoded[0])


def test_channels_are_bgr_or_rgb() -> None:
    with pytest.raises(ConfigError, match="'gbr'"):
        Tracker.with_engine(ScriptedEngine(), config(), channels="gbr")  # type: ignore[arg-type]


def test_a_frame_of_another_size_takes_the_box_along() -> None:
    one = started()
    before = one.update(FRAME).box
    large = np.repeat(np.repeat(FRAME, 2, axis=0), 3, axis=1)
    side = math.ceil(math.sqrt(before[2] * 3 * before[3] * 2) * 4.0)
    result = one.update(large)
    x, y, w, h = result.box
    assert (x + w / 2, y + h / 2) == pytest.approx((50 * 3, 38 * 2), abs=1e-3)
    assert w == pytest.approx((MIDDLE[2] - MIDDLE[0]) * side, abs=1e-3)


def test_a_frame_of_one_pixel() -> None:
    one = started(min_size=10.0)
    tiny = np.zeros((1, 1, 3), np.uint8)
    for _ in range(3):
        assert np.isfinite(one.update(tiny).box).all()
    assert one.update(FRAME).frame == 4
    assert tracker().init(tiny, (0, 0, 1, 1)).box == (0, 0, 1, 1)


def test_odd_frames_are_refused_and_change_nothing() -> None:
    one = started()
    state = one.state
    with pytest.raises(FrameError):
        one.update(None)
    with pytest.raises(FrameError):
        one.init(FRAME.astype(np.float32), BOX)
    assert one.state is state


@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 0, 5),
        (0, 0, 5, -1),
        (math.nan, 0, 5, 5),
        (0, 0, math.inf, 5),
        (0, -math.inf, 5, 5),
        (120, 0, 5, 5),
        (-5, 0, 5, 5),
        (0, 90, 5, 5),
        (1e308, 0, 1e308, 5),
        (1, 2, 3),
        "abcd",
        "1234",
        b"1234",
        (1, 2, 1e-200, 1e-200),
        None,
    ],
    ids=str,
)
def test_boxes_that_cannot_be_tracked(box: Any) -> None:
    with pytest.raises(BoxError):
        tracker().init(FRAME, box)


def test_parts_of_the_picture_for_a_box_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="boxes are in pixels"):
        tracker().init(FRAME, (0.3, 0.3, 0.1, 0.2))


def test_a_number_that_no_float_holds_is_not_printed() -> None:
    with pytest.raises(BoxError, match="no float can hold"):
        tracker().init(FRAME, (10**5000, 1, 1, 1))


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ((-10, 5, 30, 20), (0, 5, 20, 20)),
        ((100, 80, 50, 50), (100, 80, 20, 10)),
        ((-1e9, -1e9, 3e9, 3e9), (0, 0, 120, 90)),
    ],
)
def test_boxes_partly_outside_are_cut_with_a_warning(
    given: tuple[float, ...], used: tuple[float, ...]
) -> None:
    with pytest.warns(UserWarning, match="stands out of the picture"):
        assert tracker().init(FRAME, given).box == used


def test_a_box_at_the_very_border_is_no_cause_for_a_warning() -> None:
    box = (120 - 0.1 * 3, 0.0, 0.1 * 3, 90.0)  # 120.00000000000001
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert tracker().init(FRAME, box).box == box


def test_update_before_init() -> None:
    for call in (lambda t: t.update(FRAME), lambda t: t.skip(), lambda t: t.save_state()):
        with pytest.raises(StateError, match="init"):
            call(tracker())


def test_answers_that_are_not_finite() -> None:
    corners = (math.nan, 0.4, 0.6, 0.6)
    with pytest.raises(EngineError, match="not finite"):
        started(ScriptedEngine(corners=corners)).update(FRAME)
    with pytest.raises(EngineError, match="not finite"):
        started(ScriptedEngine([math.nan])).update(FRAME)


def test_a_step_is_a_function() -> None:
    one = tracker()
    _, state = one.start(FRAME, BOX)
    first = one.step(FRAME, state)
    again = one.step(FRAME, state)
    assert first[0] == again[0]
    assert first[1].box == again[1].box
    assert (state.frame, state.box) == (0, BOX)
    assert one.state is None


def test_a_skipped_frame_repeats_the_box_and_is_forgotten() -> None:
    one = started(ScriptedEngine([0.9, 0.45]))
    seen = one.update(FRAME)
    skipped = one.skip(time=9.0)
    assert (skipped.box, skipped.score, skipped.state) == (seen.box, 0.0, "lost")
    assert (skipped.frame, skipped.time) == (2, 9.0)
    after = one.update(FRAME)
    assert (after.frame, after.state) == (3, "tracked")  # 0.45 does not end "tracked"


def test_templates_change_on_a_skipped_frame_as_on_any() -> None:
    engine = ScriptedEngine([0.9] * 4)
    one = started(engine, update_interval=2)
    one.update(FRAME)
    one.skip()
    one.update(FRAME)
    assert len(engine.encoded) == 2


def test_a_saved_state_carries_on() -> None:
    scores = [0.9, 0.7, 0.3, 0.8, 0.6, 0.1]
    whole = started(ScriptedEngine(scores), update_interval=2)
    expected = [whole.update(FRAME) for _ in scores]

    before = started(ScriptedEngine(scores[:3]), update_interval=2)
    for _ in range(3):
        before.update(FRAME)
    after = tracker(ScriptedEngine(scores[3:]), update_interval=2)
    after.load_state(before.save_state())
    assert [after.update(FRAME) for _ in range(3)] == expected[3:]


def test_another_bundles_state_is_refused() -> None:
    data = started().save_state()
    other = started(weights_sha256="ef" * 32)
    mine = other.state
    with pytest.raises(StateError, match="abababababab"):
        other.load_state(data)
    assert other.state is mine
    with pytest.raises(StateError):
        other.step(FRAME, started().state)  # type: ignore[arg-type]


def test_a_state_of_other_settings_is_refused() -> None:
    data = started(ScriptedEngine(), long_term=True, update_interval=7).save_state()
    other = tracker(ScriptedEngine(), update_interval=7)
    with pytest.raises(StateError, match=r"with long_term=True, and .* has long_term=False:"):
        other.load_state(data)
    assert other.state is None
    assert tracker(ScriptedEngine(), long_term=True, update_interval=7).load_state(data) is None
    # A state by itself is a value, which any tracker of the same network may go on from.
    assert other.step(FRAME, TrackState.from_bytes(data))[0].frame == 1


def test_a_state_of_a_network_of_these_weights_with_shortcuts_is_refused() -> None:
    plain = config()
    keeping = replace(plain, arch={"keep_tokens": 9, "keep_after": 1, "exit_after": 0})
    leaving = replace(plain, arch={"exit_after": 1, "exit_score": 0.9})
    by = [Tracker.with_engine(ScriptedEngine(), one) for one in (plain, keeping, leaving)]
    for one in by:
        one.init(FRAME, BOX)
        for other in by:
            if other is one:
                other.load_state(one.save_state())
            else:
                with pytest.raises(StateError, match=r"keep_tokens|exit_after"):
                    other.load_state(one.save_state())
    old = by[0].state
    assert old is not None
    by[0].load_state(old.to_bytes(plain.tracker))  # as an earlier version has saved it
    with pytest.raises(
        StateError, match=r"with keep_tokens=0, keep_after=0, .* tracker has keep_t"
    ):
        by[1].load_state(old.to_bytes(plain.tracker))


@pytest.mark.parametrize("name", ["redetect_frames", "redetect_tiles", "middle_after"])
def test_settings_that_count_are_whole_numbers(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be a whole number, got 2.5"):
        TrackerSettings(32, 64, **{name: 2.5})
    with pytest.raises(ConfigError, match="search_middle must be"):
        TrackerSettings(32, 64, search_middle=48.0)  # type: ignore[arg-type]


def test_a_state_with_other_templates_is_refused() -> None:
    other = Tracker.with_engine(ScriptedEngine(), config())
    state = started().save_state()
    settings = other.settings
    bigger = config()
    object.__setattr__(bigger, "tracker", type(settings)(48, 64))
    with pytest.raises(StateError, match="32 pixels"):
        Tracker.with_engine(ScriptedEngine(), bigger).load_state(state)


def test_settings_by_name() -> None:
    one = Tracker.with_engine(ScriptedEngine(), config(), settings={"update_interval": 7})
    assert one.settings.update_interval == 7
    assert one.settings.search_factor == 4.0
    assert Tracker.with_engine(ScriptedEngine(), config(), settings=one.settings).settings == (
        one.settings
    )


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"interval": 3}, "interval"),
        ({"update_interval": -3}, "-3"),
        ({"update_interval": "often"}, "often"),
        ({"search_size": 128}, "belongs to the network"),
        ("min_size=4", "a mapping"),
    ],
)
def test_settings_that_cannot_be(settings: Any, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        Tracker.with_engine(ScriptedEngine(), config(), settings=settings)


def test_memories_of_few_templates_are_kept() -> None:
    engine = ScriptedEngine()
    one = tracker(engine)
    states = [one.start(FRAME, (x, 20.0, 20.0, 16.0))[1] for x in (10.0, 20.0, 30.0)]
    for _ in range(4):
        for state in states:
            one.step(FRAME, state)
    assert len(engine.encoded) == 3
    for x in range(40):
        one.step(FRAME, one.start(FRAME, (x, 20.0, 20.0, 16.0))[1])
    one.step(FRAME, states[0])
    assert len(engine.encoded) == 3 + 40 + 1
