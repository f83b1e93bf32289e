"""How sure the four side distributions are (figure 7 of the paper). NumPy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["entropy", "spread"]


def entropy(probs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Entropy of distributions over bins: `[..., K]` to `[...]`, 0 (one bin) to 1 (all alike).

    In units of log K, so that networks with other numbers of bins compare.

    Example:
        >>> entropy(np.array([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])).tolist()
        [0.0, 1.0]
    """
    p = np.asarray(probs, np.float64)
    terms = np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0)
    out: NDArray[np.float64] = np.clip(-terms.sum(-1) / np.log(p.shape[-1]), 0.0, None) + 0.0
    return out


def spread(probs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Standard deviation of each side's place, `[..., K]` to `[...]`, in shares of the crop.

    Bin i stands at i/K (fact 3).

    Example:
        >>> float(spread(np.array([0.5, 0.0, 0.5, 0.0])))
        0.25
    """
    p = np.asarray(probs, np.float64)
    places = np.arange(p.shape[-1]) / p.shape[-1]
    mean = (p * places).sum(-1, keepdims=True)
    out: NDArray[np.float64] = np.sqrt((p * (places - mean) ** 2).sum(-1))
    return out
