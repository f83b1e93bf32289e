"""Thresholds from scores, and what they do to frames with and without the target."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixformerv2.errors import DataError
from mixformerv2.evaluation.calibration import (
    LEAVING,
    Trace,
    calibrate,
    derive,
    spans,
    states_of,
)
from mixformerv2.tracking import TrackerSettings

SETTINGS = TrackerSettings(64, 128)


def run(name: str = "exit_car", *, away: float = 0.05, here: float = 0.95) -> Trace:
    """Forty frames; the target is away in frames 20 to 29 and poor just before."""
    absent = np.zeros(40, bool)
    absent[20:30] = True
    scores = np.where(absent, away, here)
    scores[0] = 1.0
    overlaps = np.where(absent, np.nan, 0.8)
    overlaps[15:20], scores[15:20] = 0.3, 0.5
    overlaps[31:34] = np.nan  # unlabelled
    return Trace(name, scores, overlaps, absent)


def test_frames_fall_into_their_kinds() -> None:
    found = calibrate([run()], SETTINGS)
    sizes = {kind: len(values) for kind, values in found.kinds.items()}
    # Without the first frame, the five in which the target leaves, and the unlabelled ones.
    assert sizes == {
        "good": 40 - 10 - 1 - LEAVING - 3,
        "poor": 0,
        "off": 0,
        "absent": 10,
        "twin": 0,
    }
    assert found.presence_auc == 1.0
    assert found.called["good"]["tracked"] == 1.0
    assert found.called["absent"]["lost"] == 1.0


def test_an_exit_has_a_delay_and_a_share() -> None:
    one = run()
    one.scores[20:23] = 0.9  # noticed three frames late
    one.scores[5] = 0.01  # and once too early
    (found,) = calibrate([one, run("exit_b")], SETTINGS).exits[:1]
    assert (found.frames, found.delay, found.lost) == (10, 3, pytest.approx(0.7))
    assert found.false_lost == pytest.approx(1 / 14)


def test_what_is_never_noticed_has_no_delay() -> None:
    blind = run("exit_blind", away=0.95)
    found = calibrate([run(), blind, run("exit_c", away=0.95)], SETTINGS)
    assert [one.delay for one in found.exits] == [0, None, None]
    assert found.median_delay == np.inf


def test_twins_do_not_move_the_thresholds() -> None:
    plain = calibrate([run()], SETTINGS)
    found = calibrate([run(), run("twin_bottle", away=0.99)], SETTINGS)
    assert found.thresholds == plain.thresholds
    assert found.presence_auc == 1.0
    assert found.called["twin"]["tracked"] == 1.0


def test_given_thresholds_are_judged_as_they_are() -> None:
    given_ones = {
        "lost_below": 0.01,
        "lost_until": 0.02,
        "uncertain_below": 0.03,
        "uncertain_until": 0.04,
    }
    found = calibrate([run()], SETTINGS, thresholds=given_ones)
    assert found.thresholds == given_ones
    assert found.called["absent"] == {"tracked": 1.0, "uncertain": 0.0, "lost": 0.0}


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=60),
    st.lists(st.floats(0, 1), min_size=1, max_size=60),
)
def test_thresholds_always_make_settings_and_few_false_alarms(
    good: list[float], absent: list[float]
) -> None:
    found = derive(np.array(good), np.array(absent))
    states_of(np.array([1.0, *good]), SETTINGS, found)  # refuses thresholds that do not rise
    assert np.mean(np.array(good) < found["lost_below"] - 1e-4) <= 0.02 + 1 / len(good)


def test_where_both_kinds_are_apart_the_threshold_lies_in_the_middle() -> None:
    apart = derive(np.linspace(0.6, 1, 200), np.linspace(0, 0.2, 50))
    assert apart["lost_below"] == pytest.approx(0.4)


def test_spans_at_the_borders() -> None:
    assert spans(np.array([True, False, False, True])) == [(0, 1), (3, 4)]
    assert spans(np.zeros(3, bool)) == []


def test_it_goes_into_json() -> None:
    values = json.loads(json.dumps(calibrate([run()], SETTINGS).as_dict(), allow_nan=False))
    assert values["exits"][0]["delay"] == 0
    assert sum(one["frames"] for one in values["score_bins"]) == 31


def test_both_kinds_of_frames_are_needed() -> None:
    never = Trace("a", np.ones(9), np.ones(9), np.zeros(9, bool))
    with pytest.raises(DataError, match="absent"):
        calibrate([never], SETTINGS)
