"""Real crops, what a tracker would cut out of a few videos, and what networks answer to them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..errors import SourceError
from ..runtime.base import Engine
from ..tracking.crop import Crop
from ..tracking.settings import TrackerSettings
from ..video.source import Source, open_source

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
    cut = [one for source in sources for one in _of_source(source, each, settings, rng)]
    templates, search = zip(*cut, strict=True)
    order = rng.permutation(len(cut))[:count]
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


Picture = NDArray[np.uint8]


def _of_source(
    source: str | Path, each: int, settings: TrackerSettings, rng: np.random.Generator
) -> list[tuple[Picture, Picture]]:
    """Templates and search crop of each pair of neighbours among frames spread over a source.

    They are cut while the source is read: frames of 4K, kept, would take gigabytes. A short file
    is read a second time for what is still missing; the frames of a source that may not come
    again, which does not know its length, are kept.
    """
    out: list[tuple[Picture, Picture]] = []
    sizes: list[tuple[int, int]] = []
    kept: list[Picture] = []
    last: Picture | None = None
    with open_source(source) as opened:
        comes_again = opened.count is not None
        for image in _spread(opened, 2 * each):
            if last is not None:
                out.append(_cut(_draw_pair(rng, sizes[-1]), last, image, settings))
            if len(out) == each:
                return out
            last = image
            sizes.append(image.shape[1::-1])
            if not comes_again:
                kept.append(image)
    if not out:
        raise SourceError(f"{source} has fewer than two frames; calibration needs a video")
    pairs = len(out)
    # In the order of their numbers, as the boxes are drawn, whichever pair they belong to.
    drawn = [(i, _draw_pair(rng, sizes[i % pairs])) for i in range(pairs, each)]
    more: dict[int, tuple[Picture, Picture]] = {}
    with contextlib.ExitStack() as stack:
        again = _spread(stack.enter_context(open_source(source)), 2 * each) if comes_again else kept
        for first, (before, after) in enumerate(pairwise(again)):
            for i, boxes in drawn:
                if i % pairs == first:
                    more[i] = _cut(boxes, before, after, settings)
    if len(more) < len(drawn):
        raise SourceError(f"{source} had fewer frames when it was read again")
    return [*out, *(more[i] for i, _ in drawn)]


def _spread(opened: Source, wanted: int) -> Iterator[Picture]:
    """Frames spread over a source."""
    length = min(opened.count or _FRAMES, _FRAMES)
    step = max(1, length // wanted)
    for frame in opened:
        if frame.index >= _FRAMES:
            break
        if frame.image is not None and frame.index % step == 0:
            yield frame.image


def _cut(
    boxes: tuple[Box, Box], before: Picture, after: Picture, settings: TrackerSettings
) -> tuple[Picture, Picture]:
    """Both templates around the first box, and the search crop around the second."""
    around = Crop.around(boxes[0], settings.template_factor, settings.template_size)
    wide = Crop.around(boxes[1], settings.search_factor, settings.search_size)
    pair = [around.take(frame, "bgr") for frame in (before, after)]
    return np.stack(pair), wide.take(after, "bgr")


def _draw_pair(rng: np.random.Generator, size: tuple[int, int]) -> tuple[Box, Box]:
    """A box in a picture of so many columns and rows, and where it is looked for."""
    box = _draw(rng, *size)
    return box, _move(rng, box)


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
