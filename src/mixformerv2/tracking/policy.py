"""When the templates change, and what the score says about the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .result import TargetState
from .settings import TrackerSettings

__all__ = ["TemplatePolicy", "Templates", "target_state"]

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Templates:
    """What a tracker remembers of its target's looks.

    Attributes:
        pair: `[2, T, T, 3]` BGR, the first template and the online one: what the network sees.
        online_is_first: Whether both of `pair` are the first template.
        candidate: `[T, T, 3]`, the best crop since the last change; None stands for the first.
        best: The candidate's score; -1 without one.
    """

    pair: Picture
    online_is_first: bool = True
    candidate: Picture | None = None
    best: float = -1.0

    @classmethod
    def of(cls, first: Picture) -> Templates:
        """The templates right after the start: the first one, twice."""
        return cls(np.stack([first, first]))


@dataclass(frozen=True, slots=True)
class TemplatePolicy:
    """Changes the online template as published (fact 4 of the design).

    A crop becomes the candidate when it scores above `threshold` and is the best since the last
    change. On every multiple of `interval` the candidate becomes the online template and the
    first template the candidate: an interval without a score above `threshold` puts the first
    template back.

    Attributes:
        interval: Frames between changes; 0 never changes anything. The paper's default is 200;
            the published configurations have 10 to 25 for some benchmarks.
        threshold: Scores up to this never make a candidate.
    """

    interval: int = 200
    threshold: float = 0.5

    def advance(
        self, templates: Templates, frame: int, score: float, crop: Callable[[], Picture]
    ) -> Templates:
        """The templates after a frame.

        Args:
            templates: Those before it; returned as they are where nothing changes.
            frame: Number of the frame, counted from 1 after the start.
            score: The network's score of the frame, 0 to 1.
            crop: Cuts the target out of the frame, `[T, T, 3]`; called only when it is wanted.
        """
        if self.interval == 0:
            return templates
        candidate, best = templates.candidate, templates.best
        if score > self.threshold and score > best:
            candidate, best = crop(), score
        if frame % self.interval == 0:
            return self._change(templates, candidate)
        if candidate is templates.candidate:
            return templates
        return Templates(templates.pair, templates.online_is_first, candidate, best)

    def _change(self, templates: Templates, candidate: Picture | None) -> Templates:
        if candidate is None and templates.online_is_first:
            # The same array as before tells the tracker that its memory still holds.
            return Templates(templates.pair)
        first = templates.pair[0]
        online = first if candidate is None else candidate
        return Templates(np.stack([first, online]), online_is_first=candidate is None)


def target_state(before: TargetState, score: float, settings: TrackerSettings) -> TargetState:
    """What a score says about the target, with hysteresis.

    A state is entered below one threshold and left only at a higher one, so that a score that
    trembles around a threshold does not make the state flicker.

    Example:
        >>> settings = TrackerSettings(64, 128, lost_below=0.2, lost_until=0.3)
        >>> [target_state("tracked", 0.25, settings), target_state("lost", 0.25, settings)]
        ['uncertain', 'lost']
    """
    if score < (settings.lost_until if before == "lost" else settings.lost_below):
        return "lost"
    calm = before == "tracked"
    if score < (settings.uncertain_below if calm else settings.uncertain_until):
        return "uncertain"
    return "tracked"
