"""What a maker of samples hands over, and where targets are put in the crops."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .augment import PLAIN, AugmentConfig

__all__ = ["Draft", "Layout", "Layouts", "Recipe", "visible_share"]

Image = NDArray[np.uint8]
Window = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Draft:
    """A sample before light and noise; the box in pixels of the search crop, not clipped."""

    template: Image
    online: Image
    search: Image
    box: NDArray[np.float64]  # x1, y1, x2, y2
    window: Window  # the part of the crop that shows the frame
    present: bool
    source: str
    visible: float  # share of the box inside the window
    sequence: str = ""  # which video of a labelled set


@dataclass(frozen=True, slots=True)
class Layout:
    """A target in a crop: `sqrt(w h)` and centre in pixels of a crop of `side` pixels."""

    size: float
    centre: tuple[float, float]
    side: int


@dataclass(frozen=True, slots=True)
class Layouts:
    """The layouts of the three views of one sample."""

    template_size: int
    template_factor: float
    search: Layout

    def template(self) -> Layout:
        """The first template: the box was given, the target is in the middle."""
        half = 0.5 * self.template_size
        return Layout(self.template_size / self.template_factor, (half, half), self.template_size)

    def online(self, rng: np.random.Generator) -> Layout:
        """The online template: cut by a tracker, so a little off."""
        exact = self.template()
        slip = 0.03 if rng.random() < 0.7 else 0.10
        dx, dy, ds = rng.normal(0.0, slip, 3)
        size = exact.size * math.exp(float(ds))
        return Layout(
            size,
            (exact.centre[0] + float(dx) * size, exact.centre[1] + float(dy) * size),
            exact.side,
        )


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a maker is asked for: the crops' sizes, and how hard the sample may be.

    `hardness` scales change of pose and looks, and how often something is in the way: 1 is the
    full range, less helps a network that has learnt nothing yet. `augment` scales each by itself.
    """

    template_size: int
    search_size: int
    template_factor: float
    search_factor: float
    hardness: float = 1.0
    augment: AugmentConfig = PLAIN

    def layouts(self, rng: np.random.Generator) -> Layouts:
        """Put the target into the search crop: mostly near the middle at the size it had last."""
        spread = 0.25 if rng.random() < 0.8 else 0.5
        change = min(max(self.augment.scale * float(rng.normal(0.0, spread)), -0.9), 0.9)
        size = self.search_size / self.search_factor * math.exp(change)
        if rng.random() < 0.6:
            offset = self.augment.centre * rng.laplace(0.0, 0.09, 2)
        else:
            offset = self.augment.centre * rng.uniform(-0.40, 0.40, 2)
        dx, dy = (min(max(float(v), -0.47), 0.47) for v in offset)
        centre = (self.search_size * (0.5 + dx), self.search_size * (0.5 + dy))
        search = Layout(size, centre, self.search_size)
        return Layouts(self.template_size, self.template_factor, search)

    def chance(self, rng: np.random.Generator, share: float) -> bool:
        """Whether something that makes a sample harder happens in this one."""
        return bool(rng.random() < share * self.hardness)


def visible_share(box: NDArray[np.float64], window: Window) -> float:
    """Share of a box that lies inside the window."""
    w = min(box[2], window[2]) - max(box[0], window[0])
    h = min(box[3], window[3]) - max(box[1], window[1])
    area = max((box[2] - box[0]) * (box[3] - box[1]), 1e-6)
    return float(max(w, 0.0) * max(h, 0.0) / area)
