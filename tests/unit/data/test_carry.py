"""Boxes carried by points and by flow: they follow what moves, and say when they lost it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mixformerv2.data import pseudo
from mixformerv2.data.carry import FlowTeacher, PointTeacher, moved_box

TEACHERS = {"points": PointTeacher, "flow": FlowTeacher}


def growing_square(count: int, step: int = 2, growth: float = 1.01) -> tuple[list, list]:
    """A textured square that moves and grows over a textured ground, and its boxes."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(0, 120, (64, 80, 3), dtype=np.uint8), (320, 256))
    coat = cv2.resize(rng.integers(100, 255, (12, 12, 3), dtype=np.uint8), (128, 128))
    frames, boxes = [], []
    for index in range(count):
        side = 48 * growth**index
        x, y = 40.0 + step * index, 90.0
        matrix = np.array([[side / 128, 0, x], [0, side / 128, y]])
        frame = ground.copy()
        cv2.warpAffine(coat, matrix, (320, 256), frame, borderMode=cv2.BORDER_TRANSPARENT)
        frames.append(frame)
        boxes.append((x, y, side, side))
    return frames, boxes


@pytest.mark.parametrize("by", TEACHERS)
def test_a_box_is_carried_along(by):
    frames, boxes = growing_square(20)
    found = pseudo.follow(TEACHERS[by](), frames, boxes[0])
    assert len(found) == 20
    assert pseudo.iou(found[-1], boxes[-1]) > 0.85
    assert pseudo.iou(found[-1], boxes[0]) < 0.4  # to stay would fail
    agree, back = pseudo.agreement(TEACHERS[by](), frames, found)
    assert all(agree)
    assert len(back) == 20


@pytest.mark.parametrize("by", TEACHERS)
def test_a_box_that_is_lost_is_given_up(by):
    frames, boxes = growing_square(6)
    noise = np.random.default_rng(1).integers(0, 255, frames[0].shape, dtype=np.uint8)
    found = pseudo.follow(TEACHERS[by](), [*frames, noise, noise], boxes[0])
    assert len(found) == 6
    flat = np.full_like(frames[0], 90)
    outside = pseudo.follow(TEACHERS[by](), [flat] * 3, (-80.0, -80.0, 40.0, 40.0))
    assert len(outside) == 1


def test_the_median_of_the_points_moves_the_box():
    rng = np.random.default_rng(0)
    before = rng.uniform(0, 40, (60, 2)).astype(np.float32)
    after = 1.5 * before + np.array([3.0, -2.0], np.float32)
    after[:15] = 100.0  # a quarter of them is wrong
    x, y, w, h = moved_box((0.0, 0.0, 40.0, 20.0), before, after)
    np.testing.assert_allclose((x, y, w, h), (3.0, -2.0, 60.0, 30.0), rtol=0.1, atol=2.5)
    assert moved_box((5.0, 6.0, 8.0, 9.0), before, before) == pytest.approx((5, 6, 8, 9))


def test_flow_is_computed_once_for_all_boxes(monkeypatch):
    frames, boxes = growing_square(5)
    teacher = FlowTeacher(kept=6)
    calls = []
    real = teacher._flow

    class Counting:
        def calc(self, *arguments):
            calls.append(1)
            return real.calc(*arguments)

    monkeypatch.setattr(teacher, "_flow", Counting())
    first = pseudo.follow(teacher, frames, boxes[0])
    assert len(calls) == 8  # there and back
    again = pseudo.follow(teacher, frames[2:], boxes[2])
    assert len(calls) == 8  # the last three pairs are still known
    assert len(first) == 5
    assert len(again) == 3


@pytest.mark.parametrize("by", TEACHERS)
def test_clips_are_labelled_by_either(by):
    frames, _ = growing_square(48, growth=1.0)
    found = pseudo.label_clip(
        "clip", frames, pseudo.make_teacher(by), np.random.default_rng(0), starts=1, many=2
    )
    assert found
    assert all(len(tracklet.frames) >= pseudo.SHORTEST // pseudo.STRIDE for tracklet in found)
