"""Whatever comes as a frame is turned into 8-bit colour, or refused by a sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2.errors import FrameError
from mixformerv2.tracking.frame import as_bgr

PICTURE: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
GREY = PICTURE[..., 0]
GREY_AS_COLOUR = np.repeat(GREY[..., None], 3, axis=2)


def test_8_bit_colour_is_not_copied() -> None:
    assert as_bgr(PICTURE) is PICTURE
    turned = PICTURE[:, ::-1]
    assert as_bgr(turned) is turned


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (GREY, GREY_AS_COLOUR),
        (GREY[..., None], GREY_AS_COLOUR),
        (np.dstack([PICTURE, GREY]), PICTURE),
        (PICTURE.astype(np.float32) / 255, PICTURE),
        (PICTURE.astype(np.float64) / 255, PICTURE),
        (GREY.astype(np.float16) / 255, GREY_AS_COLOUR),
        (PICTURE.astype(np.uint16) * 257, PICTURE),
        ((PICTURE.astype(np.uint16) * 257).astype(">u2"), PICTURE),
        (np.asfortranarray(np.dstack([PICTURE, GREY])), PICTURE),
        (GREY[::-1, ::-1], GREY_AS_COLOUR[::-1, ::-1]),
        (np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)),
    ],
    ids=[
        "grey",
        "grey with an axis",
        "alpha",
        "float32",
        "float64",
        "float16 grey",
        "16 bits",
        "16 bits, as TIFF has them",
        "columns first",
        "turned grey",
        "one pixel",
    ],
)
def test_accepted(frame: NDArray[Any], expected: NDArray[np.uint8]) -> None:
    got = as_bgr(frame)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_a_little_over_the_range_is_cut(kind: type[np.floating[Any]]) -> None:
    frame = np.array([[-0.04, 0.0, 0.4, 1.0, 1.0 + 2**-9, 1.05]], kind)
    assert as_bgr(frame)[0, :, 0].tolist() == [0, 0, 102, 255, 255, 255]


def test_a_picture_of_pillow_is_told_its_channels() -> None:
    image = pytest.importorskip("PIL.Image").fromarray(PICTURE)
    with pytest.raises(FrameError, match=r"convert\('RGB'\)\) to a tracker with channels='rgb'"):
        as_bgr(image)


@pytest.mark.parametrize(
    ("frame", "word"),
    [
        (None, "None"),
        ("frame.jpg", "builtins.str"),
        ([[1, 2], [3, 4]], "builtins.list"),
        (np.zeros((3, 480, 640), np.uint8), r"\(3, 480, 640\)"),
        (np.zeros((4, 4, 2), np.uint8), r"\(4, 4, 2\)"),
        (np.zeros(7, np.uint8), r"\(7,\)"),
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
        (np.zeros((5, 0), np.uint8), "no pixels"),
        (PICTURE.astype(np.float32), "astype"),
        (np.full((4, 4, 3), -0.1), "0..1"),
        (np.full((4, 4, 3), 1.05 + 2**-30), r"found 1\.0500000009\d+ to .*numpy.clip"),
        (np.linspace(-2.1, 2.6, 48).reshape(4, 4, 3), "normalisation"),
        (np.full((4, 4, 3), np.nan), "0..1.*not finite"),
        (np.full((4, 4, 3), np.inf), "0..1"),
        (PICTURE.astype(np.int32), "int32"),
        (PICTURE > 9, "bool"),
        (PICTURE.astype(np.complex64), "complex64"),
        (PICTURE.astype(object), "object"),
    ],
)
def test_refused_with_what_was_found(frame: Any, word: str) -> None:
    with pytest.raises(FrameError, match=word):
        as_bgr(frame)
