"""Is one tracker better than another, or are the sequences that were drawn just kind to it?

Paired bootstrap: sequences are drawn with replacement, the same ones for both trackers, and the
difference of their means is looked at over many draws (Efron and Tibshirani, 1993, chapter 8).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .report import Report

__all__ = ["ENOUGH", "Difference", "paired_bootstrap"]

Values = NDArray[np.float64]
ENOUGH = 10
"""Draws from fewer sequences are too much alike: with 2, half of all trackers that are equal in
truth would be told apart, with 10 one in ten, with very many one in twenty."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Figure of the first minus that of the second.

    Attributes:
        mean: Over the sequences as they are.
        low: The 2.5th percentile over draws; NaN of one sequence, of which all draws are equal.
        high: The 97.5th, or NaN as well.
        better: Share of the draws in which the first is better, ties half; or NaN as well.
        sequences: How many sequences both have.
        figure: Which figure; a name of `metrics.Figures`.
    """

    first: str
    second: str
    mean: float
    low: float
    high: float
    better: float
    sequences: int
    figure: str = "auc"

    @property
    def certain(self) -> bool:
        """Whether zero lies outside the 95 % interval of at least `ENOUGH` sequences."""
        return self.sequences >= ENOUGH and (self.low > 0 or self.high < 0)

    @property
    def verdict(self) -> str:
        """What a report says of it."""
        if self.sequences < ENOUGH:
            return "too few sequences"
        return "certain" if self.certain else "not certain"


def paired_bootstrap(
    first: Report, second: Report, figure: str = "auc", *, draws: int = 10_000, seed: int = 0
) -> Difference:
    """Compare two reports on the same sequences; a failed sequence counts with zero.

    Args:
        first: One tracker.
        second: The other.
        figure: A name of `metrics.Figures`.
        draws: How many times the sequences are drawn.
        seed: Of the draws, so that a report is the same each time it is made.

    Raises:
        DataError: they have no sequence in common.
    """
    a, weights, b = _paired(first, second, figure)
    if not len(a):
        raise DataError(f"{first.tracker} and {second.tracker} have no sequence in common")
    difference = (a - b) * weights
    mean = float(difference.sum() / weights.sum())
    found = Difference(
        first.tracker, second.tracker, mean, math.nan, math.nan, math.nan, len(a), figure
    )
    if len(a) == 1:
        return found
    generator = np.random.default_rng(seed)
    sums = np.empty(draws)
    block = max(1, 2_000_000 // len(a))
    for begin in range(0, draws, block):
        chosen = generator.integers(0, len(a), (min(block, draws - begin), len(a)))
        sums[begin : begin + block] = difference[chosen].sum(axis=1) / weights[chosen].sum(axis=1)
    low, high = np.percentile(sums, [2.5, 97.5])
    better = float((sums > 0).mean() + 0.5 * (sums == 0).mean())
    return replace(found, low=float(low), high=float(high), better=better)


def _paired(first: Report, second: Report, figure: str) -> tuple[Values, Values, Values]:
    """Values of the one, weights, values of the other, of the sequences that both have."""
    others = {one.name: one for one in second.sequences}
    rows = []
    for one in first.sequences:
        other = others.get(one.name)
        if other is None:
            continue
        frames = max(one.figures.frames, other.figures.frames)
        if not frames:
            continue  # nothing to count in it
        weight = float(frames) if first.pooled else 1.0
        rows.append((getattr(one.figures, figure), weight, getattr(other.figures, figure)))
    table = np.asarray(rows, np.float64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]
