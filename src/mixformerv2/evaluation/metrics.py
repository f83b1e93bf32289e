"""How well boxes follow the truth: curves over thresholds, and their means.

The one-pass protocol of OTB and LaSOT: a sequence's figures are means over its counted frames, a
benchmark's are means over its sequences. Which frames count is a value, `Counting`, because the
field's toolkits do not agree; every report says it in a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..box import pairwise_iou
from ..errors import ConfigError, DataError

__all__ = [
    "FINE_THRESHOLDS",
    "NORMALIZED_THRESHOLDS",
    "PIXEL_THRESHOLDS",
    "PRECISION_PIXELS",
    "SUCCESS_THRESHOLDS",
    "Absent",
    "Convention",
    "Counting",
    "Errors",
    "Figures",
    "Sizeless",
    "center_distances",
    "check_convention",
    "counted_frames",
    "figures_of",
    "frame_errors",
    "normalized_distances",
    "roc_auc",
    "score_boxes",
    "share_above",
    "share_within",
]

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Convention = Literal["size", "all-four"]
"""Which labelled frames count. Evaluation code in the field disagrees: `"size"` wants width and
height above zero, `"all-four"` wants x and y above zero too, and so leaves out the frames in which
the target touches the left or upper border."""
Absent = Literal["left-out", "miss", "near", "near-normalized"]
"""What becomes of a frame that the labels call invalid or without the target: it is left out; or it
is a miss that no tracker can avoid, as where figures are divided by all frames (LaSOT in published
evaluation code); or a miss in overlap and a hit in distance (UAV123 in published code and in its
Matlab toolkit, which set the error to -1); or a miss but in normalized distance (the others in
published code, which sets that error alone to -1)."""
Sizeless = Literal["as-it-is", "repeated", "repeated-if-labelled"]
"""What becomes of an answered box without width or height: it stays, a miss of overlap; or the one
before it is repeated, as in published evaluation code, there in all frames whose truth is not NaN:
those without the target have a row of zeros in some sets and one of NaN in UAV123."""
_GONE = {"miss": (np.inf, np.inf), "near": (-1.0, -1.0), "near-normalized": (np.inf, -1.0)}
"""Distance and normalized distance of such a frame where it counts."""

SUCCESS_THRESHOLDS: Array = np.linspace(0.0, 1.0, 21)
FINE_THRESHOLDS: Array = np.linspace(0.0, 1.0, 101)
NORMALIZED_THRESHOLDS: Array = np.linspace(0.0, 0.5, 51)
PIXEL_THRESHOLDS: Array = np.arange(0.0, 51.0)
PRECISION_PIXELS = 20.0
NORMALIZED_AT = 0.2


@dataclass(frozen=True, slots=True)
class Counting:
    """Which frames count, and as what.

    Attributes:
        convention: Which boxes of the truth are valid.
        first: Count the given frame, as a hit: published code does. Without it, as in the
            protocol of our own folders and in GOT-10k, it is not counted.
        absent: What becomes of frames that are not valid.
        origin: How the benchmark's files call the first pixel; `"all-four"` looks at their numbers.
        sizeless: What becomes of answered boxes without width or height.

    Example:
        >>> Counting().sentence
        'frames whose true w, h > 0; the given frame is not counted; absent frames are left out'
    """

    convention: Convention = "size"
    first: bool = False
    absent: Absent = "left-out"
    origin: int = 0
    sizeless: Sizeless = "as-it-is"

    def __post_init__(self) -> None:
        check_convention(self.convention)
        if self.absent not in get_args(Absent):
            known = ", ".join(get_args(Absent))
            raise ConfigError(f"absent frames {self.absent!r}: choose one of {known}")
        if self.sizeless not in get_args(Sizeless):
            known = ", ".join(get_args(Sizeless))
            raise ConfigError(f"boxes without size {self.sizeless!r}: choose one of {known}")

    @property
    def sentence(self) -> str:
        """What a report says of it."""
        valid = "w, h > 0" if self.convention == "size" else "x, y, w, h > 0"
        first = "counts as a hit" if self.first else "is not counted"
        absent = {
            "left-out": "are left out",
            "miss": "count as misses",
            "near": "count as misses of overlap and hits of distance",
            "near-normalized": "count as misses, and as hits of normalized distance",
        }[self.absent]
        text = f"frames whose true {valid}; the given frame {first}; absent frames {absent}"
        if self.sizeless != "as-it-is":
            text += "; the box before one without width or height is repeated"
        return text


@dataclass(frozen=True, slots=True, eq=False)
class Errors:
    """What the counted frames of a sequence say, one value each.

    Attributes:
        overlaps: `[M]` IoU; -1 in a frame that counts as a miss whatever was answered.
        pixels: `[M]` distance of the centres; infinite for a miss.
        normalized: `[M]` the same in units of the true width and height.
        frames: `[M]` numbers of these frames in the sequence.
    """

    overlaps: Array = field(repr=False)
    pixels: Array = field(repr=False)
    normalized: Array = field(repr=False)
    frames: NDArray[np.int64] = field(repr=False)

    @property
    def success(self) -> Array:
        """`[101]`, the success curve over `FINE_THRESHOLDS`."""
        return share_above(self.overlaps, FINE_THRESHOLDS)

    @property
    def precision(self) -> Array:
        """`[51]`, the precision curve over `PIXEL_THRESHOLDS`."""
        return share_within(self.pixels, PIXEL_THRESHOLDS)

    @property
    def normalized_precision(self) -> Array:
        """`[51]`, the normalized precision curve over `NORMALIZED_THRESHOLDS`."""
        return share_within(self.normalized, NORMALIZED_THRESHOLDS)


@dataclass(frozen=True, slots=True)
class Figures:
    """One sequence's figures, each 0 to 1.

    Attributes:
        auc: Mean of the success curve: share of frames with IoU above each of 21 thresholds 0..1.
        precision: Share of frames whose centre is within 20 px of the true one.
        normalized_precision: Mean over 51 thresholds 0..0.5 of the share of frames whose centre
            error, in units of the true width and height, is within the threshold.
        frames: How many frames were counted.
        auc_101: The mean over 101 thresholds 0..1.
        normalized_at_20: Share of frames whose normalized centre error is within 0.2: what LaSOT's
            and TNL2K's tables call P_Norm.
        overlap: Mean IoU, GOT-10k's AO.
        sr_50: Share of frames with IoU above 0.5.
        sr_75: Share of frames with IoU above 0.75.
    """

    auc: float
    precision: float
    normalized_precision: float
    frames: int
    auc_101: float = float("nan")
    normalized_at_20: float = float("nan")
    overlap: float = float("nan")
    sr_50: float = float("nan")
    sr_75: float = float("nan")


def counted_frames(
    truth: ArrayLike, counting: Counting | Convention = "size", absent: ArrayLike | None = None
) -> Flags:
    """Which rows of the truth `[N, 4]` count.

    A row with a value that is not finite is unlabelled and does not, unless it is `absent` and
    absent frames count as misses. Sparse truth is such rows in between. Where none counts but the
    given one, as in a test set whose truth a server keeps, that one says nothing either.
    """
    counting = _counting(counting)
    valid, gone = _validity(_boxes(truth, "truth"), counting, absent)
    counted = valid if counting.absent == "left-out" else valid | gone
    counted[:1] &= counting.first and bool(counted[1:].any())
    return counted


def _counting(value: Counting | Convention) -> Counting:
    return value if isinstance(value, Counting) else Counting(value)


def _validity(boxes: Array, counting: Counting, absent: ArrayLike | None) -> tuple[Flags, Flags]:
    """`[N]` frames with a valid box; `[N]` frames that the labels call invalid or absent."""
    labelled = np.isfinite(boxes).all(axis=1)
    flags = np.zeros(len(boxes), bool) if absent is None else np.asarray(absent, bool)
    if flags.shape != labelled.shape:
        raise DataError(f"{len(boxes)} boxes but {len(flags)} flags of absence")
    in_file = boxes + np.array([counting.origin, counting.origin, 0, 0])
    columns = in_file if counting.convention == "all-four" else in_file[:, 2:]
    positive = np.all(np.nan_to_num(columns) > 0, axis=1)
    return labelled & positive & ~flags, flags | (labelled & ~positive)


def check_convention(convention: str) -> None:
    """Refuse a convention that is none.

    Raises:
        ConfigError: it is not one of `Convention`.
    """
    if convention not in get_args(Convention):
        known = ", ".join(get_args(Convention))
        raise ConfigError(f"convention {convention!r} is not known; choose one of {known}")


def share_above(values: Array, thresholds: Array) -> Array:
    """For each threshold the share of values strictly above it: the success curve of IoUs.

    NaN where there are no values.
    """
    return _share(values[:, None] > thresholds)


def share_within(values: Array, thresholds: Array) -> Array:
    """For each threshold the share of values at or below it: a precision curve of distances.

    NaN where there are no values.
    """
    return _share(values[:, None] <= thresholds)


def _share(hits: Flags) -> Array:
    return np.asarray(hits.mean(axis=0) if len(hits) else np.full(hits.shape[1], np.nan))


def center_distances(truth: Array, predicted: Array) -> Array:
    """Distance between centres, in pixels: boxes `[N, 4]` twice, to `[N]`."""
    return np.asarray(np.linalg.norm(_center_offsets(truth, predicted), axis=1), np.float64)


def normalized_distances(truth: Array, predicted: Array) -> Array:
    """Distance between centres in units of the true width and height, `[N]` (TrackingNet)."""
    return np.asarray(
        np.linalg.norm(_center_offsets(truth, predicted) / truth[:, 2:], axis=1), np.float64
    )


def frame_errors(
    truth: ArrayLike,
    predicted: ArrayLike,
    counting: Counting | Convention = "size",
    *,
    absent: ArrayLike | None = None,
    size: tuple[int, int] | None = None,
) -> Errors:
    """Compare each counted frame, boxes `[N, 4]` as x, y, w, h.

    A predicted row with a value that is not finite is a miss; of one without size see `Sizeless`.

    Args:
        truth: `[N, 4]`, NaN where there is no box.
        predicted: `[N, 4]`, one row a frame, the given one included.
        counting: Which frames count.
        absent: `[N]`, the labels say that the target cannot be seen.
        size: Width and height of the picture, to clip both boxes to before they are compared, as
            GOT-10k's toolkit does.

    Raises:
        DataError: the two have different lengths or are not rows of four.
    """
    counting = _counting(counting)
    true, found = _boxes(truth, "truth"), _boxes(predicted, "predicted boxes")
    if len(true) != len(found):
        raise DataError(
            f"the truth has {len(true)} frames but {len(found)} boxes were predicted; "
            "give one box for each frame, the first included"
        )
    counted = counted_frames(true, counting, absent)
    valid = _validity(true, counting, absent)[0][counted]
    if counting.sizeless != "as-it-is":
        found = _repeated(found, true, counting)
    if counting.first:
        found = found.copy()
        found[:1] = true[:1]
    true, found = true[counted], found[counted]
    lost = ~np.all(np.isfinite(found), axis=1)
    found = np.where(lost[:, None], 0.0, found)
    true = np.where(valid[:, None], true, 1.0)
    if size is not None:
        true, found = _clipped(true, size), _clipped(found, size)
    # A tracker that flies away may answer numbers whose products no float holds.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        overlaps = np.where(lost, 0.0, pairwise_iou(true, found))
        pixels = np.where(lost, np.inf, center_distances(true, found))
        normalized = np.where(lost, np.inf, normalized_distances(true, found))
    far, far_normalized = _GONE.get(counting.absent, (np.inf, np.inf))
    return Errors(
        np.where(valid, overlaps, -1.0),
        np.where(valid, pixels, far),
        np.where(valid, normalized, far_normalized),
        np.flatnonzero(counted),
    )


def _repeated(found: Array, true: Array, counting: Counting) -> Array:
    """Answered boxes, of those without size the one before; the first stays, whatever it is."""
    without = np.asarray((found[:, 2:] <= 0).any(axis=1), bool)
    if counting.sizeless == "repeated-if-labelled":
        without &= np.isfinite(true).all(axis=1)
    frames = np.arange(len(found))
    without[:1] = False
    return np.asarray(found[np.maximum.accumulate(np.where(without, 0, frames))])


def figures_of(errors: Errors) -> Figures:
    """Means over the counted frames; NaN where there is none."""
    overlaps, count = errors.overlaps, len(errors.overlaps)
    if not count:
        return Figures(float("nan"), float("nan"), float("nan"), 0)
    return Figures(
        auc=float(share_above(overlaps, SUCCESS_THRESHOLDS).mean()),
        precision=float(share_within(errors.pixels, np.array([PRECISION_PIXELS]))[0]),
        normalized_precision=float(errors.normalized_precision.mean()),
        frames=count,
        auc_101=float(errors.success.mean()),
        normalized_at_20=float(share_within(errors.normalized, np.array([NORMALIZED_AT]))[0]),
        overlap=float(np.maximum(overlaps, 0.0).mean()),
        sr_50=float((overlaps > 0.5).mean()),
        sr_75=float((overlaps > 0.75).mean()),
    )


def score_boxes(
    truth: ArrayLike, predicted: ArrayLike, counting: Counting | Convention = "size"
) -> Figures:
    """Compare predicted boxes with the truth, both `[N, 4]` as x, y, w, h: `frame_errors`, in one.

    No frame that counts gives NaN figures, which `Report` leaves out of its means.

    Raises:
        DataError: the two have different lengths or are not rows of four.

    Example:
        >>> truth = [(0, 0, 10, 10), (0, 0, 10, 10), (5, 0, 10, 10)]
        >>> score_boxes(truth, truth).precision
        1.0
        >>> round(score_boxes(truth, [truth[0]] * 3).auc, 4)   # IoU 1 passes 20 of 21, 1/3 passes 7
        0.6429
    """
    return figures_of(frame_errors(truth, predicted, counting))


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


def _clipped(boxes: Array, size: tuple[int, int]) -> Array:
    width, height = size
    x, y = np.clip(boxes[:, 0], 0, width), np.clip(boxes[:, 1], 0, height)
    # Clips where a box begins and how far it may then go, but keeps its length: the toolkit's way.
    return np.stack(
        [x, y, np.clip(boxes[:, 2], 0, width - x), np.clip(boxes[:, 3], 0, height - y)], axis=1
    )


def _boxes(values: ArrayLike, what: str) -> Array:
    boxes = np.asarray(values, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise DataError(f"{what} must be rows of x, y, w, h, got shape {list(boxes.shape)}")
    return boxes
