"""Side distributions on another number of bins."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["resample_sides", "resampling"]


def resample_sides(probs: Tensor, bins: int) -> Tensor:
    """Side distributions on another number of bins: `[..., K]` to `[..., bins]`.

    Bin i stands at i/K before and at i/bins after (fact 3). The sum stays, and so does the
    expectation, but for what stands beyond the new last bin and is moved onto it.

    Example:
        >>> resample_sides(torch.tensor([0.0, 1.0]), 4)  # at one half before and after
        tensor([0.0000, 0.2500, 0.5000, 0.2500])
    """
    if probs.shape[-1] == bins:
        return probs
    matrix = resampling(probs.shape[-1], bins).to(probs.device, probs.dtype)
    return probs @ matrix


@lru_cache(maxsize=32)
def resampling(old: int, new: int) -> Tensor:
    """What each old bin gives each new bin: `[old, new]`, nothing negative, rows sum to one.

    Going to fewer bins, an old bin's mass is shared by its two neighbours so that its place is
    their mean. Going to more, it is first spread over a symmetric triangle as wide as the old
    spacing on either side, so that a smooth distribution stays smooth instead of becoming a comb;
    near an end the triangle is narrower, so that it stays symmetric.
    """
    place = (torch.arange(old, dtype=torch.float64) * new / old).clamp(max=new - 1)
    spread = 64 if new > old else 0
    offsets = torch.arange(-spread, spread + 1, dtype=torch.float64) / max(1, spread + 1)
    weights = 1 - offsets.abs()
    weights = weights / weights.sum()
    room = torch.minimum(place, new - 1 - place).clamp(max=new / old)
    points = place[:, None] + room[:, None] * offsets  # [old, offsets]
    low = points.floor().clamp(0, max(0, new - 2))
    share = (points - low).clamp(0, 1)
    matrix = torch.zeros(old, new, dtype=torch.float64)
    index = low.long()
    matrix.scatter_add_(1, index, (1 - share) * weights)
    matrix.scatter_add_(1, (index + 1).clamp(max=new - 1), share * weights)
    return matrix
