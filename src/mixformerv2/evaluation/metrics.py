"""How well boxes follow the truth: curves over thresholds, and their means.

The one-pass protocol of OTB and LaSOT: the first frame is given and not counted; a sequence's
figures are means over its counted frames, a benchmark's are means over its sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..box import pairwise_iou
from ..errors import ConfigError, DataError

__all__ = [
    "NORMALIZED_THRESHOLDS",
    "PRECISION_PIXELS",
    "SUCCESS_THRESHOLDS",
    "Convention",
    "Figures",
    "center_distances",
    "check_convention",
    "counted_frames",
    "normalized_distances",
    "roc_auc",
    "score_boxes",
    "share_above",
    "share_within",
]

Array = NDArray[np.float64]
Convention = Literal["size", "all-four"]
"""Which labelled frames count. Evaluation code in the field disagrees: `"size"` wants width and
height above zero, `"all-four"` wants x and y above zero too, and so leaves out the frames in which
the target touches the left or upper border."""

SUCCESS_THRESHOLDS: Array = np.linspace(0.0, 1.0, 21)
NORMALIZED_THRESHOLDS: Array = np.linspace(0.0, 0.5, 51)
PRECISION_PIXELS = 20.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One sequence's figures, each 0 to 1.

    Attributes:
        auc: Mean of the success curve: share of frames with IoU above each of 21 thresholds 0..1.
        precision: Share of frames whose centre is within 20 px of the true one.
        normalized_precision: Mean over 51 thresholds 0..0.5 of the share of frames whose centre
            error, in units of the true width and height, is within the threshold.
        frames: How many frames were counted.
    """

    auc: float
    precision: float
    normalized_precision: float
    frames: int


def counted_frames(truth: ArrayLike, convention: Convention = "size") -> NDArray[np.bool_]:
    """Which rows of the truth `[N, 4]` count: labelled, of positive size, not the first.

    A row with a value that is not finite is unlabelled. Sparse truth is such rows in between.
    """
    boxes = _boxes(truth, "truth")
    check_convention(convention)
    labelled = np.isfinite(boxes).all(axis=1)
    columns = boxes if convention == "all-four" else boxes[:, 2:]
    counted = np.asarray(labelled & np.all(np.nan_to_num(columns) > 0, axis=1), np.bool_)
    counted[:1] = False
    return counted


def check_convention(convention: str) -> None:
    """Refuse a convention that is none.

    Raises:
        ConfigError: it is not one of `Convention`.
    """
    if convention not in get_args(Convention):
        known = ", ".join(get_args(Convention))
        raise ConfigError(f"convention {convention!r} is not known; choose one of {known}")


def share_above(values: Array, thresholds: Array) -> Array:
    """For each threshold the share of values strictly above it: the success curve of IoUs."""
    return np.asarray((values[:, None] > thresholds).mean(axis=0), np.float64)


def share_within(values: Array, thresholds: Array) -> Array:
    """For each threshold the share of values at or below it: a precision curve of distances."""
    return np.asarray((values[:, None] <= thresholds).mean(axis=0), np.float64)


def center_distances(truth: Array, predicted: Array) -> Array:
    """Distance between centres, in pixels: boxes `[N, 4]` twice, to `[N]`."""
    return np.asarray(np.linalg.norm(_center_offsets(truth, predicted), axis=1), np.float64)


def normalized_distances(truth: Array, predicted: Array) -> Array:
    """Distance between centres in units of the true width and height, `[N]` (TrackingNet)."""
    return np.asarray(
        np.linalg.norm(_center_offsets(truth, predicted) / truth[:, 2:], axis=1), np.float64
    )


def score_boxes(truth: ArrayLike, predicted: ArrayLike, convention: Convention = "size") -> Figures:
    """Compare predicted boxes with the truth, both `[N, 4]` as x, y, w, h.

    A predicted row with a value that is not finite is a miss. No labelled frame after the first
    gives NaN figures, which `Report` leaves out of its means.

    Raises:
        DataError: the two have different lengths or are not rows of four.

    Example:
        >>> truth = [(0, 0, 10, 10), (0, 0, 10, 10), (5, 0, 10, 10)]
        >>> score_boxes(truth, truth).precision
        1.0
        >>> round(score_boxes(truth, [truth[0]] * 3).auc, 4)   # IoU 1 passes 20 of 21, 1/3 passes 7
        0.6429
    """
    true, found = _boxes(truth, "truth"), _boxes(predicted, "predicted boxes")
    if len(true) != len(found):
        raise DataError(
            f"the truth has {len(true)} frames but {len(found)} boxes were predicted; "
            "give one box for each frame, the first included"
        )
    counted = counted_frames(true, convention)
    if not counted.any():
        return Figures(float("nan"), float("nan"), float("nan"), 0)
    true, found = true[counted], found[counted]
    lost = ~np.all(np.isfinite(found), axis=1)
    found = np.where(lost[:, None], 0.0, found)
    overlaps = np.where(lost, 0.0, pairwise_iou(true, found))
    pixels = np.where(lost, np.inf, center_distances(true, found))
    normalized = np.where(lost, np.inf, normalized_distances(true, found))
    return Figures(
        auc=float(share_above(overlaps, SUCCESS_THRESHOLDS).mean()),
        precision=float(share_within(pixels, np.array([PRECISION_PIXELS]))[0]),
        normalized_precision=float(share_within(normalized, NORMALIZED_THRESHOLDS).mean()),
        frames=int(counted.sum()),
    )


def roc_auc(positive: ArrayLike, negative: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties half.

    Example:
        >>> roc_auc([0.9, 0.6], [0.1, 0.6])
        0.875
    """
    above, below = (
        np.asarray(positive, np.float64).ravel(),
        np.asarray(negative, np.float64).ravel(),
    )
    if not above.size or not below.size:
        raise DataError(
            f"a ROC curve needs both kinds, got {above.size} positive and {below.size} negative"
        )
    difference = above[:, None] - below[None, :]
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())


def _center_offsets(truth: Array, predicted: Array) -> Array:
    true = truth[:, :2] + 0.5 * truth[:, 2:]
    return np.asarray(predicted[:, :2] + 0.5 * predicted[:, 2:] - true, np.float64)


def _boxes(values: ArrayLike, what: str) -> Array:
    boxes = np.asarray(values, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise DataError(f"{what} must be rows of x, y, w, h, got shape {list(boxes.shape)}")
    return boxes
