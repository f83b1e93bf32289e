"""The first box: how it was drawn is carried over to the answers, and to nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from mixformerv2.box import Box, iou
from mixformerv2.errors import ConfigError, EngineError, StateError
from mixformerv2.tracking import MultiTracker, Tracker
from mixformerv2.tracking.api import follow
from mixformerv2.tracking.first import Style, style_of
from mixformerv2.tracking.state import TrackState
from mixformerv2.training.config import TrainConfig
from mixformerv2.weights.bundle import find_bundle, read_config
from tests.doubles import ScriptedEngine, config, moving_square

FRAME = moving_square()(0)
BOX = (20.0, 40.0, 24.0, 24.0)
TIGHT = (0.375, 0.40625, 0.59375, 0.625)
"""Corners in a crop of 96 frame pixels around `BOX`: two columns narrower than it, three higher."""


def tracker(corners: tuple[float, float, float, float] = TIGHT, **settings: Any) -> Tracker:
    one = Tracker.with_engine(ScriptedEngine(corners=corners), config(**settings))
    one.init(FRAME, BOX)
    return one


def sizes(low: float = 0.5) -> st.SearchStrategy[float]:
    return st.floats(low, 500.0)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x, y = draw(st.floats(-50, 500)), draw(st.floats(-50, 500))
    return Box(x, y, draw(sizes()), draw(sizes()))


def test_off_the_first_frame_is_not_looked_at() -> None:
    engine = ScriptedEngine()
    Tracker.with_engine(engine, config()).init(FRAME, BOX)
    assert not engine.searched


def test_one_look_and_the_given_box_is_answered_as_it_is() -> None:
    engine = ScriptedEngine(corners=TIGHT)
    one = Tracker.with_engine(engine, config(box_style=1.0))
    result = one.init(FRAME, BOX)
    assert (result.box, result.score) == (BOX, 1.0)
    assert len(engine.searched) == 1


def test_in_full_a_target_at_rest_has_the_box_that_was_given() -> None:
    one = tracker(box_style=1.0)
    assert one.update(FRAME).box == pytest.approx(BOX)


def test_a_half_of_the_size_and_a_quarter_of_the_place() -> None:
    plain, half = tracker().update(FRAME).box, tracker(box_style=0.5).update(FRAME).box
    assert plain == pytest.approx((20.0, 43.0, 21.0, 21.0))
    for i in (0, 1):
        found, given = (box[i] + box[i + 2] / 2 for box in (plain, BOX))
        assert half[i] + half[i + 2] / 2 == pytest.approx(found + (given - found) / 4)
        assert half[i + 2] == pytest.approx(np.sqrt(plain[i + 2] * BOX[i + 2]))


def test_the_search_does_not_see_it() -> None:
    seen, boxes = [], []
    for share in (0.0, 1.0):
        engine = ScriptedEngine(corners=TIGHT)
        one = Tracker.with_engine(engine, config(box_style=share))
        one.init(FRAME, BOX)
        for _ in range(4):
            one.update(FRAME)
        seen.append(engine.searched[-4:])
        assert one.state is not None
        boxes.append(one.state.box)
    np.testing.assert_array_equal(*seen)
    assert boxes[0] == boxes[1]


def test_a_frame_that_cannot_be_read_repeats_the_answer() -> None:
    one = tracker(box_style=0.5)
    before = one.update(FRAME).box
    assert one.skip().box == before


def test_before_anything_is_found_a_frame_that_cannot_be_read_repeats_the_given_box() -> None:
    one = tracker(box_style=1.0)
    assert one.skip().box == BOX
    other = tracker(box_style=1.0)
    other.load_state(one.save_state())
    assert other.skip().box == BOX
    multi = MultiTracker.around(one)
    multi.add(FRAME, BOX, id=1)
    assert multi.skip()[1].box == BOX
    assert other.update(FRAME).box == tracker(box_style=1.0).update(FRAME).box


@pytest.mark.parametrize(
    "settings", [{"smooth_hz": 1.0}, {"size_damping": 0.8}, {"max_scale_change": 1.02}]
)
def test_what_goes_by_the_last_box_does_not_count_the_style_of_the_first_twice(
    settings: dict[str, Any],
) -> None:
    assert tracker(box_style=1.0, **settings).update(FRAME).box == pytest.approx(BOX)


def test_a_target_that_is_lost_at_once_stays_where_it_was_given() -> None:
    settings = config(box_style=1.0, long_term=True, lost_below=0.3, lost_until=0.3)
    one = Tracker.with_engine(ScriptedEngine([1.0, *[0.1] * 9], corners=TIGHT), settings)
    one.init(FRAME, BOX)
    result = one.update(FRAME)
    assert result.state == "lost"
    assert result.box == pytest.approx(BOX)


def test_a_first_look_that_fails_leaves_the_last_target() -> None:
    engine = ScriptedEngine(corners=TIGHT)
    one = Tracker.with_engine(engine, config(box_style=1.0))
    one.init(FRAME, BOX)
    multi = MultiTracker.around(one)
    engine.corners = (np.nan,) * 4
    with pytest.raises(EngineError, match="not finite"):
        one.init(FRAME, (60, 60, 20, 20))
    with pytest.raises(EngineError, match="not finite"):
        multi.add(FRAME, BOX)
    assert multi.ids == []
    engine.corners = TIGHT
    assert one.update(FRAME).box == pytest.approx(BOX)


def test_a_warning_names_the_line_of_whoever_gave_the_box() -> None:
    box = (150.0, 40.0, 24.0, 24.0)
    one = tracker(box_style=0.5)
    for give in (
        lambda: one.init(FRAME, box),
        lambda: one.start(FRAME, box),
        lambda: MultiTracker.around(one).add(FRAME, box),
        lambda: next(follow([FRAME], box, lambda: one)),
    ):
        with pytest.warns(UserWarning, match="stands out of the picture") as said:
            give()
        assert said[0].filename == __file__


def test_it_grows_with_the_picture() -> None:
    one = tracker(box_style=1.0)
    assert one.state is not None
    large = one.state.resized(320, 240)
    assert large.style == one.state.style


@pytest.mark.parametrize("smooth", [{}, {"smooth_hz": 1.0}])
def test_it_survives_a_trip_through_bytes(smooth: dict[str, Any]) -> None:
    one = tracker(box_style=0.7, **smooth)
    one.update(FRAME)
    other = tracker(box_style=0.7, **smooth)
    other.init(FRAME, (60, 60, 20, 20))
    other.load_state(one.save_state())
    assert other.update(FRAME).box == one.update(FRAME).box


@pytest.mark.parametrize(
    "values", [[0.3, 0, 1, 1], [0, 0, 1.5, 1], [0, 0, 1, 0.5], [0, float("inf"), 1, 1], [0, 0, 1]]
)
def test_a_forged_style_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError):
        Style.read(values) if len(values) == 4 else Style.read([*values, float("nan")])


def test_a_forged_state_is_refused() -> None:
    one = tracker(box_style=0.5)
    assert one.state is not None
    forged = replace(one.state, style=Style(w=9.0))
    with pytest.raises(StateError):
        TrackState.from_bytes(forged.to_bytes())


def test_a_network_that_sees_something_else_says_nothing_of_style() -> None:
    assert style_of(Box(0, 0, 20, 20), Box(15, 15, 20, 20), 1.0) == Style()


@drawn(boxes(), boxes(), st.floats(0, 1))
def test_a_style_is_never_far_from_the_network(given_box: Box, found: Box, share: float) -> None:
    style = style_of(given_box, found, share)
    assert Style.read((style.x, style.y, style.w, style.h)) == style
    styled = style.of(found)
    cx, cy = found.center
    assert styled.x < cx < styled.x + styled.w
    assert styled.y < cy < styled.y + styled.h


@drawn(boxes(), st.floats(-0.2, 0.2), st.floats(-0.2, 0.2), st.floats(0.8, 1.25))
def test_in_full_it_gives_the_given_box_back(
    given_box: Box, x: float, y: float, size: float
) -> None:
    cx, cy = given_box.center
    found = Box.from_cxcywh(
        cx + x * given_box.w, cy + y * given_box.h, size * given_box.w, given_box.h / size
    )
    styled = style_of(given_box, found, 1.0).of(found)
    if iou(given_box.xywh, found.xywh) >= 0.4:
        assert styled.xywh == pytest.approx(given_box.xywh, rel=1e-6, abs=1e-6)


@drawn(boxes(), boxes(), st.floats(0, 1))
def test_it_can_be_undone(given_box: Box, found: Box, share: float) -> None:
    style = style_of(given_box, found, share)
    assert style.undone(style.of(found)).xywh == pytest.approx(found.xywh, rel=1e-6, abs=1e-6)


def test_answers_stay_in_the_picture_and_no_smaller_than_allowed() -> None:
    one = Tracker.with_engine(
        ScriptedEngine(corners=(0.4, 0.4, 0.65, 0.65)), config(box_style=1.0, min_size=10.0)
    )
    one.init(FRAME, (0.0, 0.0, 10.0, 10.0))
    for _ in range(5):
        x, y, w, h = one.update(FRAME).box
        assert x >= 0
        assert y >= 0
        assert min(w, h) >= 10.0
        assert x + w <= 160
        assert y + h <= 120


def test_several_targets_have_their_own() -> None:
    multi = MultiTracker.around(tracker(box_style=1.0))
    multi.add(FRAME, BOX, id=1)
    multi.add(FRAME, (80.0, 30.0, 30.0, 24.0), id=2)
    results = multi.update(FRAME)
    assert results[1].box == pytest.approx(BOX)
    assert results[2].box == pytest.approx((80.0, 30.0, 30.0, 24.0), rel=1e-3)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_from_0_to_1(share: float) -> None:
    with pytest.raises(ConfigError, match="box_style"):
        config(box_style=share)


def test_what_is_shipped_and_trained_has_it_and_what_is_converted_has_not() -> None:
    assert read_config(find_bundle("t")).tracker.box_style == 0.5
    assert read_config(find_bundle("t_free")).tracker.box_style == 0.75
    assert TrainConfig().tracker_settings({}).box_style == 0.5
    assert config().tracker.box_style == 0.0
