"""The numbers that steer a tracker. They travel in a bundle's `config.json`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import ConfigError

__all__ = ["TrackerSettings"]


_RANGES = {
    "search_lead": (0.0, 2.0),
    "search_growth": (1.0, 2.0),
    "search_growth_max": (1.0, 8.0),
    "max_scale_change": (0.0, 100.0),
    "size_damping": (0.0, 0.99),
    "smooth_hz": (0.0, 1000.0),
    "smooth_gain": (0.0, 1000.0),
    "redetect_score": (0.0, 1.0),
    "redetect_frames": (1, 1000),
    "redetect_tiles": (1, 1024),
    "still_below": (0.0, 255.0),
    "middle_below": (0.0, 1.0),
    "middle_after": (1, 1000),
    "box_style": (0.0, 1.0),
}
"""Least and greatest values of the settings that are plain numbers; whole ones of whole numbers."""


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
        mirror: Show the network each crop mirrored too, and answer the mean of both.
        search_lead: How far the search goes ahead of a moving target: shares of its last motion.
        search_growth: While the state is not "tracked", the side of the search region grows by
            this factor in each frame; 1 never grows it.
        search_growth_max: Up to so many times its usual side.
        max_scale_change: Largest factor by which a side may change from frame to frame; 0 sets no
            limit.
        size_damping: What share of the last size stays in each frame, 0 for none.
        smooth_hz: Cutoff of the One-Euro filter on the answered boxes, in hertz; 0 answers them
            as they are. The search does not see the filter.
        smooth_gain: What a speed of one box length a second adds to that cutoff, in hertz.
        long_term: While the state is "lost", look for the target in the whole frame.
        redetect_score: A target that is found again must score so much; `uncertain_until` where 0.
        redetect_frames: It must do so in so many frames, one after the other, to be believed.
        redetect_tiles: Tiles of the frame that are searched at once; the next ones in the next
            frame.
        still_below: While no part of the last search region has changed by so many grey levels,
            the last answer holds and the network is not asked; 0 always asks it.
        search_middle: While the target hardly moves, the network is shown the middle of the search
            crop alone, so many pixels a side; 0 always shows all of it.
        middle_below: Hardly moving: no side moves by so many box lengths, `sqrt(w * h)`, a frame,
        middle_after: and so in so many frames, one after the other, all of them "tracked".
        apart: Of several targets: where two that began apart have nearly the same box, one of
            them gives way (`Doubles`). False follows each as if it were alone.
        box_style: How much of the difference between the given box and what the network answers
            in the same frame is carried over to the answers (`style_of`); 0 answers what the
            network does, as published, and does not look at the first frame.
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
    mirror: bool = False
    search_lead: float = 0.0
    search_growth: float = 1.0
    search_growth_max: float = 2.0
    max_scale_change: float = 0.0
    size_damping: float = 0.0
    smooth_hz: float = 0.0
    smooth_gain: float = 1.0
    long_term: bool = False
    redetect_score: float = 0.0
    redetect_frames: int = 2
    redetect_tiles: int = 16
    still_below: float = 0.0
    search_middle: int = 0
    middle_below: float = 0.1
    middle_after: int = 3
    apart: bool = True
    box_style: float = 0.0

    def __post_init__(self) -> None:
        for name in ("template_size", "search_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or not 16 <= value <= 4096:
                raise ConfigError(f"{name} must be a whole number from 16 to 4096, got {value!r}")
        if not isinstance(self.search_middle, int) or (
            self.search_middle
            and not (
                self.search_size / 2 <= self.search_middle < self.search_size
                and (self.search_size - self.search_middle) % 2 == 0
            )
        ):
            raise ConfigError(
                "search_middle must be 0, or at least half of search_size and an even number of "
                f"pixels smaller than its {self.search_size}, got {self.search_middle!r}"
            )
        for name in ("template_factor", "search_factor"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 1.0 <= value <= 16.0):
                raise ConfigError(f"{name} must be from 1 to 16, got {value!r}")
        if not 0 < self.min_size <= 256:
            raise ConfigError(
                f"min_size must be above 0 and at most 256 pixels, got {self.min_size!r}"
            )
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
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if isinstance(low, int) and not isinstance(value, int):
                raise ConfigError(f"{name} must be a whole number, got {value!r}")
            if not (math.isfinite(value) and low <= value <= high):
                raise ConfigError(f"{name} must be from {low:g} to {high:g}, got {value!r}")
        if 0.0 < self.max_scale_change <= 1.0:
            raise ConfigError(
                f"max_scale_change must be above 1, or 0 for no limit, got {self.max_scale_change}"
            )
