"""Film strips: a few frames of a sequence with the true box and those of the trackers.

The pictures are frames of the data set. They lie in the report and nowhere else; a report to be
passed on is made without them.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..box import XYWH
from .benchmarks import Sequence

__all__ = ["COLOURS", "Picture", "film_strip", "frames_to_show"]

COLOURS = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (148, 103, 189),
    (120, 120, 120),
)
"""Red, green, blue of each tracker, told apart by the colour-blind too (Okabe and Ito, 2008)."""
TRUTH = (255, 255, 255)
SIZE = (272, 204)
LOST_BELOW, LOST_FOR = 0.3, 5
FAR = 1e5
"""Pixels beyond any picture, and few enough for OpenCV's whole numbers."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame of a strip.

    Attributes:
        frame: Its number in the sequence.
        data: A `data:` address with a JPEG.
        lost: It is the one in which the target is lost.
    """

    frame: int
    data: str
    lost: bool


def frames_to_show(overlaps: NDArray[np.float64], count: int = 6) -> tuple[list[int], int | None]:
    """Numbers of frames that tell the story, and the one in which the target is lost.

    Args:
        overlaps: `[N]` IoU of each frame, NaN where it does not count.
        count: How many frames at most.

    Example:
        >>> frames_to_show(np.array([1.0] * 20 + [0.0] * 20))
        ([0, 10, 20, 26, 33, 39], 20)
    """
    last = len(overlaps) - 1
    bad = np.where(np.isfinite(overlaps), overlaps < LOST_BELOW, False)
    run, lost = 0, None
    for frame, is_bad in enumerate(bad):
        run = run + 1 if is_bad else 0
        if run == max(min(LOST_FOR, last), 1):
            lost = frame - run + 1
            break
    if lost is None:
        chosen = np.linspace(0, last, count)
    else:
        chosen = np.concatenate([[0, lost / 2], np.linspace(lost, last, count - 2)])
    return sorted({int(frame) for frame in chosen}), lost


def film_strip(
    sequence: Sequence,
    boxes: list[NDArray[np.float64]],
    colours: list[int],
    overlaps: NDArray[np.float64],
) -> list[Picture]:
    """Draw a strip.

    Args:
        sequence: Its frames and truth.
        boxes: `[N, 4]` of each tracker.
        colours: Number of each one's colour.
        overlaps: `[N]` of the one whose story is told.
    """
    frames, lost = frames_to_show(overlaps)
    pictures = []
    for frame in frames:
        here = [one[frame] for one in boxes]
        with np.errstate(over="ignore", invalid="ignore"):  # of a tracker that flies away
            image = _draw(sequence.frame(frame), sequence.truth[frame], here, colours)
        pictures.append(Picture(frame, _jpeg(image), frame == lost))
    return pictures


def _draw(
    image: NDArray[np.uint8],
    truth: NDArray[np.float64],
    boxes: list[NDArray[np.float64]],
    colours: list[int],
) -> NDArray[np.uint8]:
    """The part of a frame in which all boxes are, with them."""
    import cv2

    shown = [box for box in (truth, *boxes) if np.isfinite(box).all()]
    left, top, width, height = _window(shown, (image.shape[1], image.shape[0]))
    scale = SIZE[0] * 1.5 / width  # for dense screens
    if scale < 1:  # a warp would leave out pixels instead of averaging them
        image = np.asarray(
            cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
    zoom = max(scale, 1.0)
    matrix = np.array([[zoom, 0, -left * scale], [0, zoom, -top * scale]])
    view = cv2.warpAffine(image, matrix, (round(width * scale), round(height * scale)))
    for box, colour in [*zip(boxes, colours, strict=True), (truth, None)]:
        if not np.isfinite(box).all():
            continue
        corners = np.array([box[:2], box[:2] + box[2:]])
        corners = np.clip((corners - (left, top)) * scale, -FAR, FAR)
        (x1, y1), (x2, y2) = np.round(corners).astype(int).tolist()
        paint = TRUTH if colour is None else COLOURS[colour % len(COLOURS)]
        if colour is None:  # white shows on any picture with a dark line around it
            cv2.rectangle(view, (x1, y1), (x2, y2), (0, 0, 0), 4)
        cv2.rectangle(view, (x1, y1), (x2, y2), paint[::-1], 2 if colour is None else 3)
    return np.asarray(view, np.uint8)


def _window(boxes: list[NDArray[np.float64]], size: tuple[int, int]) -> XYWH:
    """The cut-out of a strip's shape around all boxes, inside the picture where it fits."""
    width, height = size
    shape = SIZE[0] / SIZE[1]
    corners = np.array([[*box[:2], *(box[:2] + box[2:])] for box in boxes] or [[0, 0, 1, 1]])
    corners = np.clip(corners, 0, [width, height, width, height])
    x1, y1 = corners[:, :2].min(axis=0)
    x2, y2 = corners[:, 2:].max(axis=0)
    across = max(1.7 * (x2 - x1), 1.7 * (y2 - y1) * shape, 0.3 * width, 0.3 * height * shape)
    across = min(across, max(width, height * shape))
    down = across / shape
    return (
        float(_inside((x1 + x2) / 2, across, width)),
        float(_inside((y1 + y2) / 2, down, height)),
        float(across),
        float(down),
    )


def _inside(middle: float, length: float, whole: float) -> float:
    if length >= whole:
        return (whole - length) / 2
    return min(max(middle - length / 2, 0.0), whole - length)


def _jpeg(image: NDArray[np.uint8]) -> str:
    import cv2

    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 72])[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(coded).decode("ascii")
