"""Crops: numbers that can be checked by hand."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2.box import Box
from mixformerv2.tracking.crop import Crop

PICTURE: NDArray[np.uint8] = np.random.default_rng(1).integers(1, 256, (72, 96, 3), dtype=np.uint8)


def published(frame: NDArray[np.uint8], box: Box, factor: float, size: int) -> NDArray[np.uint8]:
    """The published crop, padded in full: slow, and plainly right."""
    crop = Crop.around(box, factor, size)
    right, bottom = crop.left + crop.side, crop.top + crop.side
    pads = (
        max(0, -crop.top),
        max(0, bottom - frame.shape[0] + 1),
        max(0, -crop.left),
        max(0, right - frame.shape[1] + 1),
    )
    inside = frame[
        crop.top + pads[0] : bottom - pads[1],
        crop.left + pads[2] : right - pads[3],
    ]
    square = cv2.copyMakeBorder(inside, *pads, cv2.BORDER_CONSTANT)
    return np.asarray(cv2.resize(square, (size, size)), np.uint8)


BOXES = {
    "inside": Box(40, 30, 12, 9),
    "left": Box(-5, 30, 14, 14),
    "right": Box(86, 20, 20, 10),
    "top": Box(50, -3, 11, 7),
    "bottom": Box(30, 65, 9, 9),
    "corner": Box(90, 68, 11, 8),
    "larger than the frame": Box(2, 2, 90, 68),
    "whole frame": Box(0, 0, 96, 72),
    "small": Box(40, 30, 0.7, 0.4),
    "thin": Box(1, 30, 94, 0.5),
}


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize(("factor", "size"), [(2.0, 32), (4.5, 64), (5.0, 33)])
def test_as_if_the_frame_had_been_padded(name: str, factor: float, size: int) -> None:
    expected = published(PICTURE, BOXES[name], factor, size)
    got = Crop.around(BOXES[name], factor, size).take(PICTURE)
    np.testing.assert_array_equal(got, expected)


def test_nothing_of_earlier_crops_shines_through() -> None:
    draw = np.random.default_rng(2)
    for _ in range(60):
        x, y = draw.uniform(-20, 100, 2)
        w, h = draw.uniform(1, 60, 2)
        box = Box(float(x), float(y), float(w), float(h)).clip(96, 72, 1.0)
        got = Crop.around(box, 4.0, 40).take(PICTURE)
        np.testing.assert_array_equal(got, published(PICTURE, box, 4.0, 40))


@pytest.mark.parametrize("side", [1000, 7000])
def test_far_larger_than_the_frame(side: int) -> None:
    crop = Crop(left=-400, top=-500, side=side, size=500, center=(0.0, 0.0))
    square = np.zeros((side, side, 3), np.uint8)
    square[500:571, 400:495] = PICTURE[:71, :95]
    expected = cv2.resize(square, (500, 500))
    np.testing.assert_array_equal(crop.take(PICTURE), expected)


@pytest.mark.parametrize("corner", [(-50, 0), (0, -50), (96, 0), (0, 72), (500, 500), (-900, 3)])
def test_outside_is_black(corner: tuple[int, int]) -> None:
    crop = Crop(*corner, side=50, size=20, center=(0.0, 0.0))
    assert not crop.take(PICTURE).any()


def test_last_column_and_row_are_black_where_the_crop_reaches_them() -> None:
    white = np.full((20, 30, 3), 255, np.uint8)
    crop = Crop(left=10, top=0, side=20, size=20, center=(20.0, 10.0)).take(white)
    assert crop[:19, :19].all()
    assert not crop[:, 19].any()
    assert not crop[19].any()


def test_half_pixels_round_to_even() -> None:
    assert [Crop.around(Box(x, 0, 2, 2), 1.0, 8).left for x in (0.5, 1.5, 2.5)] == [0, 2, 2]


def test_side_is_rounded_up() -> None:
    assert Crop.around(Box(0, 0, 3, 4), 2.0, 8).side == 7  # sqrt(12) * 2 = 6.93


@pytest.mark.parametrize(
    "view",
    [
        PICTURE[::-1],
        PICTURE[:, ::-1],
        PICTURE[..., ::-1],
        np.asfortranarray(PICTURE),
        PICTURE[::2, ::2],
        PICTURE.transpose(1, 0, 2),
    ],
    ids=["flipped", "mirrored", "channels", "fortran", "every second", "turned"],
)
@pytest.mark.parametrize("box", [Box(15, 12, 5, 4), Box(0, 0, 20, 20)], ids=["inside", "border"])
def test_strides_do_not_matter(view: NDArray[np.uint8], box: Box) -> None:
    crop = Crop.around(box, 2.0, 24)
    np.testing.assert_array_equal(crop.take(view), crop.take(np.ascontiguousarray(view)))


def test_rgb_frames_give_bgr_crops() -> None:
    crop = Crop.around(Box(3, 3, 20, 20), 2.0, 24)
    rgb = np.ascontiguousarray(PICTURE[..., ::-1])
    np.testing.assert_array_equal(crop.take(rgb, "rgb"), crop.take(PICTURE))


def test_the_crop_belongs_to_the_caller() -> None:
    crop = Crop.around(Box(0, 0, 50, 50), 2.0, 24)
    first = crop.take(PICTURE)
    kept = first.copy()
    crop.take(np.zeros_like(PICTURE))
    np.testing.assert_array_equal(first, kept)
    assert not np.shares_memory(first, PICTURE)


def test_a_picture_of_the_very_size_is_not_handed_out() -> None:
    frame = PICTURE.copy()
    crop = Crop(left=5, top=5, side=20, size=20, center=(15.0, 15.0)).take(frame)
    assert not np.shares_memory(crop, frame)


def test_threads_do_not_share_a_canvas() -> None:
    box = Box(0, 0, 60, 60)
    pictures = [np.full((72, 96, 3), value, np.uint8) for value in (50, 100, 150, 200)]
    expected = [published(p, box, 4.0, 64) for p in pictures]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(50):
            got = Crop.around(box, 4.0, 64).take(pictures[number])
            if not np.array_equal(got, expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
