"""Laws of crops: the map back undoes the map there, and pixels lie where the map says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mixformerv2.box import Box
from mixformerv2.tracking.crop import Crop

WIDTH, HEIGHT = 141, 117  # odd, so that halves occur

factors = st.floats(1.0, 6.0)
sizes = st.integers(16, 320)


@st.composite
def boxes(draw: st.DrawFn, least: float = 0.5) -> Box:
    """Boxes in and around the picture, fractions included."""
    w, h = draw(st.floats(least, WIDTH)), draw(st.floats(least, HEIGHT))
    return Box(draw(st.floats(-w, WIDTH)), draw(st.floats(-h, HEIGHT)), w, h)


@given(boxes(), boxes(), factors, sizes)
def test_to_the_crop_and_back_is_the_identity(
    around: Box, box: Box, factor: float, size: int
) -> None:
    crop = Crop.around(around, factor, size)
    assert crop.to_frame(crop.to_crop(box)) == pytest.approx(box, abs=1e-9 * max(WIDTH, size))
    assert crop.to_crop(crop.to_frame(box)) == pytest.approx(box, abs=1e-9 * max(WIDTH, size))


@given(boxes(), factors, sizes)
def test_the_box_itself_is_in_the_middle(box: Box, factor: float, size: int) -> None:
    crop = Crop.around(box, factor, size)
    assert crop.to_crop(box).center == pytest.approx((size / 2, size / 2), abs=1e-6)
    corners = [v / size for v in crop.to_crop(box).xyxy]
    assert crop.unit_to_frame(corners) == pytest.approx(box, abs=1e-6)


@given(boxes(), factors, sizes)
def test_the_square_holds_the_box_by_the_factor(box: Box, factor: float, size: int) -> None:
    crop = Crop.around(box, factor, size)
    wanted = np.sqrt(box.w * box.h) * factor
    assert wanted - 1e-6 <= crop.side < wanted + 1
    # Half a pixel, and the rounding of sums.
    assert abs(crop.left + crop.side / 2 - box.center[0]) <= 0.5 + 1e-9
    assert abs(crop.top + crop.side / 2 - box.center[1]) <= 0.5 + 1e-9


@st.composite
def rectangles(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Whole-pixel rectangles in the picture, its borders included: x, y, w, h."""
    w, h = draw(st.integers(7, 40)), draw(st.integers(7, 40))
    x = draw(st.one_of(st.integers(0, WIDTH - w), st.sampled_from([0, WIDTH - w])))
    y = draw(st.one_of(st.integers(0, HEIGHT - h), st.sampled_from([0, HEIGHT - h])))
    return x, y, w, h


@given(rectangles(), st.floats(-6, 6), st.floats(-6, 6), st.floats(1.5, 5.0), st.integers(48, 320))
def test_a_painted_rectangle_is_found_where_the_map_says(
    rectangle: tuple[int, int, int, int], dx: float, dy: float, factor: float, size: int
) -> None:
    x, y, w, h = rectangle
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame[y : y + h, x : x + w] = 255
    crop = Crop.around(Box(x + dx, y + dy, w, h), factor, size)
    # Half of the target and more is in the crop on each side; else there is no edge to find.
    assume(crop.left < x and crop.top < y)
    assume(crop.left + crop.side > x + w and crop.top + crop.side > y + h)

    found = _edges(crop.take(frame)[..., 0])
    expected = crop.to_crop(_visible(Box(x, y, w, h), crop)).xyxy
    # Half a pixel of the frame, because the square starts at a whole one and the map at the box's
    # centre, and half a pixel of the crop to find an edge with.
    assert found == pytest.approx(expected, abs=0.5 * crop.scale + 0.5)


def _visible(box: Box, crop: Crop) -> Box:
    """The rectangle without the frame's last column and row, if the crop blackens them."""
    x1, y1, x2, y2 = box.xyxy
    if crop.left + crop.side >= WIDTH:
        x2 = min(x2, WIDTH - 1)
    if crop.top + crop.side >= HEIGHT:
        y2 = min(y2, HEIGHT - 1)
    return Box.from_xyxy(x1, y1, x2, y2)


def _edges(picture: np.ndarray) -> tuple[float, float, float, float]:
    """Where the bright rectangle's sides lie, by its brightness along the middle lines."""
    rows, columns = np.nonzero(picture > 127)
    row, column = picture[int(np.median(rows))] / 255, picture[:, int(np.median(columns))] / 255
    ends = []
    for line, middle in ((row, np.median(columns)), (column, np.median(rows))):
        before, after = line[: int(middle)], line[int(middle) :]
        ends.append((middle // 1 - before.sum(), middle // 1 + after.sum()))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]
