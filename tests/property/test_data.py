"""Laws of made-up views: boxes land where they were asked for, in any pose."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mixformerv2.data.draft import Recipe, visible_share
from mixformerv2.data.warp import Pose, bend_field, bounds, box_outline, moved, place

poses = st.builds(
    Pose,
    angle=st.floats(-math.pi, math.pi),
    aspect=st.floats(-0.8, 0.8),
    shear=st.floats(-0.4, 0.4),
    tilt=st.tuples(st.floats(-0.25, 0.25), st.floats(-0.25, 0.25)),
    flip=st.booleans(),
    bend=st.floats(0, 0.1),
)
outlines = st.builds(
    box_outline, st.floats(-50, 400), st.floats(-50, 400), st.floats(8, 300), st.floats(8, 300)
)


@given(outlines, poses, st.floats(4, 100), st.floats(-20, 150), st.floats(-20, 150))
def test_the_box_has_the_size_and_centre_asked_for(outline, pose, size, x, y):
    x1, y1, x2, y2 = bounds(moved(outline, place(outline, pose, size, (x, y)), None))
    # float32 points a few hundred pixels out
    assert math.isclose(math.sqrt((x2 - x1) * (y2 - y1)), size, rel_tol=2e-3)
    assert abs((x1 + x2) / 2 - x) < 0.05
    assert abs((y1 + y2) / 2 - y) < 0.05


@given(st.integers(0, 2**32), st.floats(0.0, 0.1), st.floats(8, 64))
def test_bent_points_are_the_ones_looked_up(seed, amplitude, size):
    rng = np.random.default_rng(seed)
    field = bend_field(rng, amplitude, size, (64.0, 64.0), 128)
    if field is None:
        assert amplitude * size < 0.3
        return
    points = box_outline(64 - size / 2, 64 - size / 2, size, size)
    landed = moved(points, np.eye(3), field)
    at = np.clip(landed, 0, 127).astype(int)
    # a pixel at `landed` shows what was at `points`; bends are smooth, so within two pixels
    assert np.abs(landed + field[at[:, 1], at[:, 0]] - points).max() < 2.0


@given(st.integers(0, 2**32), st.floats(1.0, 6.0))
def test_targets_are_put_into_the_crop(seed, factor):
    layouts = Recipe(64, 128, 2.0, factor).layouts(np.random.default_rng(seed))
    assert 0 < layouts.search.centre[0] < 128
    assert 0 < layouts.search.centre[1] < 128
    assert math.exp(-0.91) < layouts.search.size * factor / 128 < math.exp(0.91)


@given(st.tuples(*[st.floats(-100, 200)] * 2), st.tuples(*[st.floats(1, 100)] * 2))
def test_visible_share_is_a_share(corner, extent):
    box = np.array([*corner, corner[0] + extent[0], corner[1] + extent[1]])
    share = visible_share(box, (0, 0, 128, 128))
    assert 0.0 <= share <= 1.0 + 1e-9
    inside = corner[0] >= 0 and corner[1] >= 0 and box[2] <= 128 and box[3] <= 128
    assert (share > 1 - 1e-9) == inside or abs(share - 1) < 1e-6
