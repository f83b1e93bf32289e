"""Figures against values worked out by hand, and laws that hold for any boxes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixformerv2.errors import ConfigError, DataError
from mixformerv2.evaluation.metrics import (
    NORMALIZED_THRESHOLDS,
    SUCCESS_THRESHOLDS,
    counted_frames,
    roc_auc,
    score_boxes,
    share_above,
    share_within,
)

NAN = float("nan")
SQUARE = (0.0, 0.0, 100.0, 100.0)


def test_the_thresholds_are_those_of_the_protocol() -> None:
    np.testing.assert_allclose(SUCCESS_THRESHOLDS, np.arange(21) / 20)
    np.testing.assert_allclose(NORMALIZED_THRESHOLDS, np.arange(51) / 100)


@pytest.mark.parametrize(
    ("predicted", "auc", "precision", "normalized"),
    [
        (SQUARE, 20 / 21, 1.0, 1.0),  # IoU 1 is not above 1
        ((200.0, 0.0, 100.0, 100.0), 0.0, 0.0, 0.0),  # IoU 0 is not above 0
        ((0.0, 0.0, 100.0, 50.0), 10 / 21, 0.0, 26 / 51),  # IoU 0.5, centre 25 px off in y
        ((20.0, 0.0, 100.0, 100.0), 14 / 21, 1.0, 31 / 51),  # IoU 2/3, exactly 20 px off
        ((NAN, 0.0, 100.0, 100.0), 0.0, 0.0, 0.0),
        ((0.0, 0.0, math.inf, 100.0), 0.0, 0.0, 0.0),
    ],
)
def test_figures_of_one_frame(
    predicted: tuple[float, ...], auc: float, precision: float, normalized: float
) -> None:
    figures = score_boxes([SQUARE, SQUARE], [SQUARE, predicted])
    assert figures.frames == 1
    assert figures.auc == pytest.approx(auc)
    assert figures.precision == precision
    assert figures.normalized_precision == pytest.approx(normalized)


def test_the_first_frame_is_not_counted() -> None:
    truth = [SQUARE, SQUARE, SQUARE]
    wrong_first = [(500.0, 0.0, 1.0, 1.0), SQUARE, SQUARE]
    assert score_boxes(truth, wrong_first) == score_boxes(truth, truth)


def test_conventions_disagree_at_the_border_alone() -> None:
    truth = [
        (5, 5, 9, 9),
        (0, 5, 9, 9),  # touches the left border
        (5, 5, 9, 0),  # absent
        (NAN, NAN, NAN, NAN),  # unlabelled
        (5, 5, 9, 9),
    ]
    assert counted_frames(truth, "size").tolist() == [False, True, False, False, True]
    assert counted_frames(truth, "all-four").tolist() == [False, False, False, False, True]


def test_truth_without_a_counted_frame_gives_nan() -> None:
    figures = score_boxes([SQUARE, (NAN,) * 4], [SQUARE, SQUARE])
    assert figures.frames == 0
    assert math.isnan(figures.auc)


def test_a_box_that_flies_away_is_a_miss_and_no_warning() -> None:
    figures = score_boxes([SQUARE] * 4, [SQUARE, (1e308,) * 4, (-1e308, 0, 1e308, 1e308), (0,) * 4])
    assert (figures.auc, figures.precision, figures.frames) == (0.0, 0.0, 3)


def test_bad_input_is_refused_with_a_sentence() -> None:
    with pytest.raises(DataError, match="2 frames but 1 boxes"):
        score_boxes([SQUARE, SQUARE], [SQUARE])
    with pytest.raises(DataError, match=r"shape \[2, 3\]"):
        score_boxes([(1, 2, 3), (1, 2, 3)], [SQUARE, SQUARE])
    with pytest.raises(ConfigError, match="'width' is not known"):
        counted_frames([SQUARE], "width")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="0 positive"):
        roc_auc([], [0.5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_curves_fall_and_rise(values: list[float]) -> None:
    array = np.asarray(values)
    above = share_above(array, SUCCESS_THRESHOLDS)
    within = share_within(array, SUCCESS_THRESHOLDS)
    assert (np.diff(above) <= 0).all()
    np.testing.assert_allclose(above + within, 1.0)


sides = st.floats(1, 500)
boxes = st.tuples(st.floats(-200, 800), st.floats(-200, 800), sides, sides)


@given(st.lists(st.tuples(boxes, boxes), min_size=2, max_size=8), st.floats(-50, 50))
def test_figures_do_not_depend_on_where_the_origin_lies(
    pairs: list[tuple[tuple[float, ...], tuple[float, ...]]], shift: float
) -> None:
    truth, predicted = (np.asarray(side) for side in zip(*pairs, strict=True))
    moved = np.array([shift, shift, 0.0, 0.0])
    here, there = score_boxes(truth, predicted), score_boxes(truth + moved, predicted + moved)
    # A value that sits on a threshold may fall to either side of it by rounding: one bin.
    assert there.auc == pytest.approx(here.auc, abs=1 / 21 + 1e-9)
    assert 0.0 <= here.auc <= 20 / 21 + 1e-9


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=9),
    st.lists(st.integers(0, 5), min_size=1, max_size=9),
)
def test_roc_auc_counts_pairs(above: list[int], below: list[int]) -> None:
    wins = sum((a > b) + 0.5 * (a == b) for a in above for b in below)
    assert roc_auc(above, below) == pytest.approx(wins / len(above) / len(below))
    assert roc_auc(above, below) + roc_auc(below, above) == pytest.approx(1.0)
