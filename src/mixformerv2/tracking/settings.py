"""The numbers that steer a tracker. They travel in a bundle's `config.json`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import ConfigError

__all__ = ["TrackerSettings"]


@dataclass(frozen=True, slots=True)
class TrackerSettings:
    """Geometry, template policy and the thresholds of the states.

    Attributes:
        template_size: Side of the template crop, pixels.
        search_size: Side of the search crop, pixels.
        template_factor: Side of the template crop over `sqrt(w * h)` of the target.
        search_factor: The same for the search crop.
        min_size: Smallest side of an answered box, pixels of the frame; also the margin by which
            a box stays inside the picture. 10 in the published code.
        update_interval: Frames between changes of the online template; 0 never changes it.
        update_threshold: A candidate template must score above this.
        lost_below: The state becomes "lost" when the score falls below this,
        lost_until: and stays "lost" until the score is at least this.
        uncertain_below: The state becomes "uncertain" when the score falls below this,
        uncertain_until: and stays "uncertain" until the score is at least this.
    """

    template_size: int
    search_size: int
    template_factor: float = 2.0
    search_factor: float = 4.5
    min_size: float = 10.0
    update_interval: int = 200
    update_threshold: float = 0.5
    lost_below: float = 0.2
    lost_until: float = 0.3
    uncertain_below: float = 0.4
    uncertain_until: float = 0.5

    def __post_init__(self) -> None:
        for name in ("template_size", "search_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or not 16 <= value <= 4096:
                raise ConfigError(f"{name} must be a whole number from 16 to 4096, got {value!r}")
        for name in ("template_factor", "search_factor"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 1.0 <= value <= 16.0):
                raise ConfigError(f"{name} must be from 1 to 16, got {value!r}")
        if not (math.isfinite(self.min_size) and self.min_size > 0):
            raise ConfigError(f"min_size must be above 0 pixels, got {self.min_size!r}")
        if not isinstance(self.update_interval, int) or self.update_interval < 0:
            raise ConfigError(
                "update_interval must be a whole number of frames, 0 for never, "
                f"got {self.update_interval!r}"
            )
        rising = (self.lost_below, self.lost_until, self.uncertain_below, self.uncertain_until)
        if not all(0 <= v <= 1 for v in (*rising, self.update_threshold)):
            raise ConfigError(f"thresholds must lie in 0..1, got {rising}, {self.update_threshold}")
        if list(rising) != sorted(rising):
            raise ConfigError(
                "thresholds must rise: lost_below <= lost_until <= uncertain_below <= "
                f"uncertain_until, got {rising}"
            )
