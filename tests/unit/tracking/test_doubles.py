"""Frames in which two targets have one box."""

from __future__ import annotations

import numpy as np

from mixformerv2.box import iou
from mixformerv2.tracking.doubles import Doubles
from mixformerv2.tracking.result import TargetState, TrackResult

Boxes = dict[int, tuple[float, float, float, float]]


def results(boxes: Boxes, state: TargetState = "tracked") -> dict[int, TrackResult]:
    return {n: TrackResult(box, 0.9, state, 0, 0.0) for n, box in boxes.items()}


def test_frames_are_counted_as_by_the_overlap_of_each_pair() -> None:
    rng = np.random.default_rng(0)
    doubles, expected = Doubles(), dict[tuple[int, int], int]()
    doubles.add(results({n: (1000.0 * n, 0, 5, 5) for n in range(5)}))  # all begin apart
    for _ in range(60):
        boxes: Boxes = {}
        for n in range(5):
            x, y, w, h = (float(v) for v in rng.uniform(10, 13, 4))
            boxes[n] = x, y, w, h
        doubles.add(results(boxes))
        for one in range(5):
            for other in range(one + 1, 5):
                if iou(boxes[one], boxes[other]) >= 0.7:
                    expected[one, other] = expected.get((one, other), 0) + 1
    assert doubles.frames == expected
    assert sum(expected.values()) > 50


def test_what_begins_together_or_is_lost_is_no_double() -> None:
    doubles = Doubles()
    box = (0.0, 0.0, 10.0, 10.0)
    doubles.add(results({1: box, 2: box}))
    doubles.add(results({1: box, 2: box, 3: (90.0, 0.0, 10.0, 10.0)}))
    assert not doubles.frames
    doubles.add(results({1: box, 2: box, 3: box}, "lost"))
    assert not doubles.frames
    doubles.add(results({1: box, 2: box, 3: box}))
    assert doubles.frames == {(1, 3): 1, (2, 3): 1}
