"""Real crops, what a tracker would cut out of a few videos, and what networks answer to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..errors import SourceError
from ..runtime.base import Engine
from ..tracking.crop import Crop
from ..tracking.settings import TrackerSettings
from ..video.source import open_source

__all__ = ["DEMO", "Answers", "Crops", "Run", "answers", "distance", "of_engine", "read_crops"]

DEMO = Path(__file__).resolve().parent.parent / "assets" / "demo.mp4"
"""What is taken where no video is given."""

_FRAMES = 600
"""A source is read so far at most."""


@dataclass(frozen=True, eq=False)
class Crops:
    """Crops of one batch.

    Attributes:
        templates: `[B, 2, T, T, 3]` uint8 BGR.
        search: `[B, S, S, 3]` uint8 BGR.
    """

    templates: NDArray[np.uint8]
    search: NDArray[np.uint8]

    def parts(self, size: int) -> Iterator[Crops]:
        """In smaller batches."""
        for i in range(0, len(self.search), size):
            yield Crops(self.templates[i : i + size], self.search[i : i + size])


def read_crops(
    settings: TrackerSettings, sources: Sequence[str | Path] = (), count: int = 96
) -> Crops:
    """Templates and search crops around boxes drawn at random, the same ones each time.

    A box is drawn for a frame and looked for a few frames later, a little beside its place: no
    labels are needed, and the target is mostly there.

    Args:
        settings: Sizes and factors of the crops.
        sources: Whatever `open_source` takes; the shipped demo clip where there is none.
        count: How many, over all sources.

    Raises:
        SourceError: a source that cannot be read or has fewer than two frames.
    """
    sources = list(sources) or [DEMO]
    rng = np.random.default_rng(0)
    each = -(-count // len(sources))
    templates, search = [], []
    for source in sources:
        frames = _frames(source, 2 * each)
        for i in range(each):
            first = i % (len(frames) - 1)
            box = _draw(rng, *frames[first].shape[1::-1])
            around = Crop.around(box, settings.template_factor, settings.template_size)
            pair = [around.take(frames[n], "bgr") for n in (first, first + 1)]
            moved = _move(rng, box)
            wide = Crop.around(moved, settings.search_factor, settings.search_size)
            templates.append(np.stack(pair))
            search.append(wide.take(frames[first + 1], "bgr"))
    order = rng.permutation(len(search))[:count]
    return Crops(np.stack(templates)[order], np.stack(search)[order])


Answers = tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]
"""Boxes `[N, 4]` in parts of the search crop, and scores `[N]`."""

Run = Callable[[Crops], tuple[Any, Any]]
"""A network that answers to crops."""


def of_engine(engine: Engine) -> Run:
    """An engine as such a network."""

    def run(crops: Crops) -> tuple[Any, Any]:
        out = engine.step(crops.search, engine.encode_templates(crops.templates))
        return out.boxes, out.scores

    return run


def answers(run: Run, crops: Crops) -> Answers:
    """What a network answers, a few crops at a time."""
    parts = [run(part) for part in crops.parts(8)]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def distance(got: Answers, expected: Answers) -> Answers:
    """Of the worst side of each box `[N]`, and of the scores `[N]`."""
    return np.abs(got[0] - expected[0]).max(1), np.abs(got[1] - expected[1])


def _frames(source: str | Path, wanted: int) -> list[NDArray[np.uint8]]:
    """Frames spread over a source, at least two."""
    with open_source(source) as opened:
        length = min(opened.count or _FRAMES, _FRAMES)
        step = max(1, length // wanted)
        frames = []
        for frame in opened:
            if frame.index >= _FRAMES:
                break
            if frame.image is not None and frame.index % step == 0:
                frames.append(frame.image)
    if len(frames) < 2:
        raise SourceError(f"{source} has fewer than two frames; calibration needs a video")
    return frames


def _draw(rng: np.random.Generator, width: int, height: int) -> Box:
    side = np.exp(rng.uniform(np.log(0.06), np.log(0.45))) * min(width, height)
    stretch = np.exp(rng.uniform(-0.7, 0.7))
    w, h = max(8.0, side * stretch), max(8.0, side / stretch)
    x, y = rng.uniform(0, max(1.0, width - w)), rng.uniform(0, max(1.0, height - h))
    return Box(float(x), float(y), float(w), float(h))


def _move(rng: np.random.Generator, box: Box) -> Box:
    x, y, w, h = box
    dx, dy = rng.normal(0, 0.15, 2) * (w * h) ** 0.5
    grow = np.exp(rng.normal(0, 0.1))
    return Box(float(x + dx), float(y + dy), float(w * grow), float(h * grow))
