"""The F-score of long-term tracking: is the target found, and is its absence said?

A threshold on the tracker's score decides which of its boxes are answers. Precision is the mean
overlap of the answers (0 where the target is not there), recall the sum of the overlaps over the
frames in which it is; both are averaged over sequences, F is their harmonic mean, and the best
threshold is taken (Lukezic et al., "Now you see me: evaluating performance in long-term visual
tracking", 2018; the VOT long-term challenges).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LongTerm", "f_score"]

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LongTerm:
    """The best F-score, its precision and recall, and the threshold that gives it."""

    f_score: float
    precision: float
    recall: float
    threshold: float


def f_score(
    overlaps: Sequence[Values],
    scores: Sequence[Values],
    visible: Sequence[NDArray[np.bool_]],
    *,
    steps: int = 100,
) -> LongTerm:
    """Over sequences, each `[N]`: IoU (0 where the target is absent), score, whether it is there.

    Args:
        overlaps: Of every frame.
        scores: The tracker's.
        visible: The truth's.
        steps: How many thresholds are tried, evenly spread over the scores in their order.

    Example:
        >>> import numpy as np
        >>> found = f_score(                      # three found with 0.9; the absent one said so
        ...     [np.array([1.0, 1.0, 0.5, 0.0])],
        ...     [np.array([0.9, 0.9, 0.9, 0.1])],
        ...     [np.array([True, True, True, False])])
        >>> round(found.f_score, 4), found.threshold
        (0.8333, 0.9)
    """
    every = np.sort(np.concatenate(list(scores)))
    places = np.unique(np.round(np.linspace(0, len(every) - 1, steps)).astype(int))
    best = LongTerm(0.0, 0.0, 0.0, float("inf"))
    for threshold in np.unique(every[places]):
        precisions, recalls = [], []
        for overlap, score, here in zip(overlaps, scores, visible, strict=True):
            answered = score >= threshold
            precisions.append(float(overlap[answered].mean()) if answered.any() else 1.0)
            recalls.append(float(overlap[answered].sum()) / max(int(here.sum()), 1))
        precision, recall = float(np.mean(precisions)), float(np.mean(recalls))
        f = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
        if f > best.f_score:
            best = LongTerm(f, precision, recall, float(threshold))
    return best
