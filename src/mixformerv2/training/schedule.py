"""Learning-rate schedules, as a factor on the peak."""

from __future__ import annotations

import math

from .config import OptimConfig

__all__ = ["lr_factor"]


def lr_factor(step: int, config: OptimConfig) -> float:
    """Factor on `lr` at a step, counted from 0.

    Example:
        >>> lr_factor(0, OptimConfig(warmup=10, steps=100)) < 0.2
        True
        >>> round(lr_factor(100, OptimConfig(warmup=10, steps=100, lr_end=0.1)), 3)
        0.1
    """
    if step < config.warmup:
        return (step + 1) / (config.warmup + 1)
    if config.schedule == "constant":
        return 1.0
    if config.schedule == "step":
        return 1.0 if step < 0.8 * config.steps else 0.1
    done = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return config.lr_end + (1 - config.lr_end) * 0.5 * (1 + math.cos(math.pi * done))
