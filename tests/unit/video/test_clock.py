"""Time only rises, whatever the stamps of a stream do."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixformerv2.video.clock import NO_STAMP, Clock

STEP = 4  # hundredths of a second


def times(stamps: list[int]) -> list[float]:
    clock = Clock(Fraction(1, 100), STEP / 100)
    return [clock.at(stamp, index) for index, stamp in enumerate(stamps)]


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([50, 54, 58, 70], [0, 0.04, 0.08, 0.2]),
        ([NO_STAMP] * 3, [0, 0.04, 0.08]),
        # A new start, from zero or anywhere before: goes on one frame later.
        ([100, 104, 108, 0, 4, 8], [0, 0.04, 0.08, 0.12, 0.16, 0.2]),
        ([100, 104, 108, 50, 54, 0, 4], [0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24]),
        # One stamp is wrong: what comes after it is right again.
        ([0, 4, 30, 12, 16, 34], [0, 0.04, 0.3, 0.3004, 0.3008, 0.34]),
    ],
)
def test_what_stamps_stand_for(stamps: list[int], expected: list[float]) -> None:
    assert times(stamps) == pytest.approx(expected)


def test_without_a_base_frames_are_counted() -> None:
    clock = Clock(None, 0.5)
    assert [clock.at(stamp, index) for index, stamp in enumerate([9, 3, 7])] == [0, 0.5, 1]


@given(st.lists(st.integers(-1000, 10_000) | st.just(NO_STAMP), min_size=2))
def test_it_never_goes_back(stamps: list[int]) -> None:
    for before, after in itertools.pairwise(times(stamps)):
        assert after > before
