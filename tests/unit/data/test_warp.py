"""Boxes of rendered views are where the pixels say, whatever the pose."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mixformerv2.data.warp import (
    Pose,
    bend_field,
    bounds,
    box_outline,
    mask_outline,
    moved,
    place,
    render,
)


def blob(rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros((160, 200), np.uint8)
    points = rng.integers(30, 130, (6, 2)).astype(np.int32)
    cv2.fillConvexPoly(mask, cv2.convexHull(points), 1)
    return mask


def test_outline_of_a_rectangle_is_its_pixel_edges():
    mask = np.zeros((50, 60), np.uint8)
    mask[10:20, 15:40] = 1
    outline = mask_outline(mask, largest=True)
    np.testing.assert_allclose(bounds(outline), [15, 10, 40, 20], atol=1e-4)


def test_outline_of_an_empty_mask_is_none():
    assert mask_outline(np.zeros((9, 9), np.uint8), largest=True) is None


def test_outline_of_a_box_touches_its_sides():
    np.testing.assert_allclose(bounds(box_outline(3, 4, 20, 10)), [3, 4, 23, 14], atol=1e-4)


def test_place_gives_the_size_and_centre_asked_for():
    rng = np.random.default_rng(0)
    for _ in range(20):
        outline = mask_outline(blob(rng), largest=True)
        matrix = place(outline, Pose.draw(rng, 1.0), 31.5, (70.0, 55.0))
        x1, y1, x2, y2 = bounds(moved(outline, matrix, None))
        assert np.sqrt((x2 - x1) * (y2 - y1)) == pytest.approx(31.5, rel=1e-4)
        assert (x1 + x2) / 2 == pytest.approx(70.0, abs=1e-2)
        assert (y1 + y2) / 2 == pytest.approx(55.0, abs=1e-2)


@pytest.mark.parametrize("bend", [0.0, 0.1])
@pytest.mark.parametrize("seed", range(12))
def test_box_is_where_the_rendered_mask_is(seed, bend):
    rng = np.random.default_rng(seed)
    mask = blob(rng)
    outline = mask_outline(mask, largest=True)
    matrix = place(outline, Pose.draw(rng, 1.0), 60.0, (64.0, 64.0))
    field = bend_field(rng, bend, 60.0, (64.0, 64.0), 128)
    assert (field is None) == (bend == 0.0)
    seen = render(mask * 255, matrix, 128, field) > 127
    y, x = np.nonzero(seen)
    box = bounds(moved(outline, matrix, field))
    # Outlines are thinned, fields are looked up at whole pixels: a pixel and a half of slack.
    np.testing.assert_allclose(
        box, [x.min(), y.min(), x.max() + 1, y.max() + 1], atol=1.0 if bend == 0 else 2.0
    )


def test_identity_renders_the_picture_itself():
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(render(picture, np.eye(3), 64), picture)


def test_a_picture_that_ends_is_black_outside():
    picture = np.full((40, 40, 3), 200, np.uint8)
    shift = np.array([[1.0, 0, 10], [0, 1.0, 10], [0, 0, 1.0]])
    seen = render(picture, shift, 64)
    assert seen[:10].max() == 0
    assert seen[50:].max() == 0
    assert seen[10:50, 10:50].min() == 200


def test_upright_only_takes_the_turn_away():
    pose = Pose(angle=0.3, aspect=0.2, shear=0.1, flip=True)
    assert pose.upright() == Pose(aspect=0.2, flip=True)
