"""One answer of two passes over a video, forward from one given box and backward from another."""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import NDArray

from .result import TargetState, TrackResult

__all__ = ["COLUMNS", "STATES", "blend", "blend_between", "result_of", "row_of"]

STATES: tuple[TargetState, ...] = get_args(TargetState)
COLUMNS = 6
"""x, y, w, h in pixels, score, number of the state; all NaN where nothing was tracked yet."""

Rows = NDArray[np.float64]


def row_of(result: TrackResult) -> list[float]:
    """A result as one row of numbers."""
    return [*result.box, result.score, float(STATES.index(result.state))]


def result_of(row: Rows, frame: int, time: float) -> TrackResult:
    """A row as a result."""
    x, y, w, h, score, state = row.tolist()
    return TrackResult((x, y, w, h), score, STATES[int(state)], frame, time)


def blend_between(
    ends: tuple[int, int], frames: NDArray[np.int64], forward: Rows, backward: Rows
) -> Rows:
    """One answer of both passes for frames between two prompts, `[N, COLUMNS]`; see `blend`.

    Args:
        ends: Frames of the earlier and the later prompt.
        frames: Which frames the rows are of, `[N]`.
        forward: From the earlier prompt.
        backward: From the later one.
    """
    before, after = ends
    return blend(forward, backward, (frames - before) / (after - before))


def blend(forward: Rows, backward: Rows, share: NDArray[np.float64]) -> Rows:
    """One answer of two passes, `[N, COLUMNS]`, between two prompts.

    Each pass counts by how near its prompt is and how sure it was; where they hardly overlap one
    of them is on something else, and the stronger one is taken as it is: a mean would be neither.

    Args:
        forward: From the earlier prompt.
        backward: From the later one.
        share: Of the way from the earlier prompt to the later one, 0 to 1.
    """
    trust = 1e-3
    ahead = (1 - share) * (forward[:, 4] + trust)
    back = share * (backward[:, 4] + trust)
    weight = back / (ahead + back)
    low = np.maximum(forward[:, :2], backward[:, :2])
    far = np.minimum(
        forward[:, :2] + forward[:, 2:4],
        backward[:, :2] + backward[:, 2:4],
    )
    inside = np.prod(np.clip(far - low, 0, None), axis=1)
    smaller = np.minimum(np.prod(forward[:, 2:4], axis=1), np.prod(backward[:, 2:4], axis=1))
    weight = np.where(inside < 0.2 * smaller, np.round(weight), weight)
    out = (1 - weight[:, None]) * forward + weight[:, None] * backward
    out[:, 5] = np.where(weight < 0.5, forward[:, 5], backward[:, 5])
    return np.asarray(out, np.float64)
