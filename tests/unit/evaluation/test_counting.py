"""Which frames count, and the figures of the field, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mixformerv2.errors import ConfigError, DataError
from mixformerv2.evaluation.longterm import f_score
from mixformerv2.evaluation.metrics import Counting, counted_frames, figures_of, frame_errors

NAN = float("nan")
SQUARE = (10.0, 10.0, 100.0, 100.0)
HALF = (10.0, 10.0, 100.0, 50.0)  # IoU 0.5, centre 25 px off, 0.25 of the height
THREE_QUARTERS = (10.0, 10.0, 100.0, 80.0)  # IoU 0.8, centre 10 px off, 0.1


def test_figures_of_three_frames() -> None:
    errors = frame_errors([SQUARE] * 4, [SQUARE, SQUARE, HALF, THREE_QUARTERS])
    figures = figures_of(errors)
    assert errors.frames.tolist() == [1, 2, 3]
    assert figures.overlap == pytest.approx((1 + 0.5 + 0.8) / 3)
    assert figures.sr_50 == pytest.approx(2 / 3)  # 0.5 is not above 0.5
    assert figures.sr_75 == pytest.approx(2 / 3)
    assert figures.precision == pytest.approx(2 / 3)
    assert figures.normalized_at_20 == pytest.approx(2 / 3)
    assert figures.auc == pytest.approx((20 + 10 + 16) / 21 / 3)
    assert figures.auc_101 == pytest.approx((100 + 50 + 80) / 101 / 3)
    assert errors.precision[[9, 10, 24, 25]].tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1])


def test_the_given_frame_may_count_as_a_hit() -> None:
    wrong_first = [HALF, HALF]
    assert figures_of(frame_errors([SQUARE] * 2, wrong_first)).overlap == 0.5
    counted = figures_of(frame_errors([SQUARE] * 2, wrong_first, Counting(first=True)))
    assert (counted.frames, counted.overlap) == (2, 0.75)


def test_a_given_frame_alone_says_nothing() -> None:
    """As in a test set whose truth a server keeps: a box that never moves would be perfect."""
    for truth in ([SQUARE], [SQUARE, (NAN,) * 4]):
        errors = frame_errors(truth, [SQUARE] * len(truth), Counting(first=True))
        assert (figures_of(errors).frames, len(errors.frames)) == (0, 0)
        for curve in (errors.success, errors.precision, errors.normalized_precision):
            assert np.isnan(curve).all()


@pytest.mark.parametrize(
    ("absent", "frames", "auc", "precision"),
    [
        ("left-out", 1, 20 / 21, 1.0),
        ("miss", 3, 20 / 21 / 3, 1 / 3),
        ("near", 3, 20 / 21 / 3, 1.0),
        ("near-normalized", 3, 20 / 21 / 3, 1 / 3),
    ],
)
def test_absent_frames(absent: str, frames: int, auc: float, precision: float) -> None:
    """One is said to be absent though it has a box, one has no box; one was never labelled."""
    truth = [SQUARE, SQUARE, SQUARE, (NAN,) * 4, (NAN,) * 4]
    flags = [False, False, True, True, False]
    counting = Counting(absent=absent)  # type: ignore[arg-type]
    figures = figures_of(frame_errors(truth, [SQUARE] * 5, counting, absent=flags))
    assert (figures.frames, figures.auc, figures.precision) == pytest.approx(
        (frames, auc, precision)
    )


def test_published_code_takes_an_absent_frame_for_a_hit_of_normalized_distance() -> None:
    """By hand: a hit, a miss that is 0.9 of the size away, and two frames without the target."""
    truth = [SQUARE, SQUARE, (NAN,) * 4, (NAN,) * 4]
    found = [SQUARE, (100.0, 10.0, 100.0, 100.0), SQUARE, SQUARE]
    counting = Counting(first=True, absent="near-normalized")
    figures = figures_of(frame_errors(truth, found, counting, absent=[False, False, True, True]))
    assert (figures.normalized_at_20, figures.precision) == (0.75, 0.25)
    assert figures.sr_50 == 0.25


def test_a_box_without_size_may_be_the_one_before_it() -> None:
    empty = (0.0, 0.0, 0.0, 0.0)
    found = [SQUARE, SQUARE, empty, empty, SQUARE]
    for sizeless, overlap in (("as-it-is", 0.5), ("repeated", 1.0), ("repeated-if-labelled", 1.0)):
        counting = Counting(sizeless=sizeless)  # type: ignore[arg-type]
        assert figures_of(frame_errors([SQUARE] * 5, found, counting)).overlap == overlap
        assert ("is repeated" in counting.sentence) == (overlap == 1)
    unlabelled = [SQUARE, SQUARE, (NAN,) * 4, SQUARE, SQUARE]
    counting = Counting(sizeless="repeated-if-labelled")
    assert figures_of(frame_errors(unlabelled, found, counting)).overlap == pytest.approx(2 / 3)
    with pytest.raises(ConfigError, match="boxes without size 'gone'"):
        Counting(sizeless="gone")  # type: ignore[arg-type]


def test_all_four_looks_at_the_numbers_in_the_file() -> None:
    """A box at pixel 0 stands as 1 in the files of a benchmark that counts from 1."""
    truth = [SQUARE, (0.0, 5.0, 9.0, 9.0)]
    assert counted_frames(truth, Counting("all-four")).tolist() == [False, False]
    assert counted_frames(truth, Counting("all-four", origin=1)).tolist() == [False, True]


def test_boxes_are_clipped_as_got10k_does() -> None:
    """Both boxes lose what is outside the picture, so the outside does not count."""
    truth, found = [(0, 0, 9, 9), (-10, 0, 30, 10)], [(0, 0, 9, 9), (-10, 0, 20, 10)]
    assert figures_of(frame_errors(truth, found)).overlap == pytest.approx(2 / 3)
    # The toolkit moves the left side to 0 and keeps the width: 30 of 40 and 20 of 40 are left.
    assert figures_of(frame_errors(truth, found, size=(40, 40))).overlap == pytest.approx(2 / 3)
    right = figures_of(frame_errors([(0, 0, 9, 9), (30, 0, 10, 10)], [(0,) * 4, (30, 0, 20, 10)]))
    inside = frame_errors(
        [(0, 0, 9, 9), (30, 0, 10, 10)], [(0,) * 4, (30, 0, 20, 10)], size=(40, 9)
    )
    assert right.overlap == pytest.approx(0.5)
    assert figures_of(inside).overlap == 1.0


def test_a_sentence_names_every_rule() -> None:
    sentence = Counting("all-four", first=True, absent="near").sentence
    for part in ("x, y, w, h > 0", "given frame counts as a hit", "hits of distance"):
        assert part in sentence


def test_unknown_rules_are_refused() -> None:
    with pytest.raises(ConfigError, match="absent frames 'gone'"):
        Counting(absent="gone")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="2 boxes but 1 flags"):
        counted_frames([SQUARE, SQUARE], "size", [True])


def test_f_score_rewards_saying_that_it_is_gone() -> None:
    overlaps = np.array([1.0, 1.0, 0.0, 0.0])
    visible = np.array([True, True, False, False])
    honest = f_score([overlaps], [np.array([0.9, 0.8, 0.1, 0.1])], [visible])
    assert (honest.f_score, honest.precision, honest.recall) == (1.0, 1.0, 1.0)
    assert honest.threshold == 0.8
    blind = f_score([overlaps], [np.ones(4)], [visible])
    assert (blind.precision, blind.recall) == (0.5, 1.0)
    assert blind.f_score == pytest.approx(2 / 3)


def test_f_score_averages_over_sequences() -> None:
    """A sequence without an answer has precision 1 and recall 0, as in the VOT challenges."""
    good, none = np.ones(2), np.zeros(2)
    there = np.ones(2, bool)
    found = f_score([good, none], [np.ones(2), np.zeros(2)], [there, there])
    assert (found.threshold, found.precision, found.recall) == (1.0, 1.0, 0.5)
    assert found.f_score == pytest.approx(2 / 3)
    assert not math.isnan(f_score([none], [none], [there]).f_score)
