"""Does the score tell whether the target is there?

The template of each sequence is held against its own search regions, in which the target is, and
against those of the other sequences, in which it is not. The answer is the area under the ROC
curve of the score: 0.5 tells nothing, 1 never errs. The template policy and the lost signal hang
on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..errors import DataError
from ..runtime.base import Engine
from ..tracking.crop import Crop
from ..tracking.settings import TrackerSettings
from .benchmarks import Sequence
from .metrics import roc_auc

__all__ = ["CROPS", "Presence", "presence"]

CROPS = ("search_factor", "template_factor")
"""The settings of a tracker that change what it looks at here; the sizes are the network's."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Presence:
    """Scores of regions with the target and of regions of other sequences.

    Attributes:
        auc: Area under the ROC curve.
        present: `[P]` scores, the target is there.
        absent: `[Q]` scores, it is not.
    """

    auc: float
    present: NDArray[np.float64]
    absent: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Crops:
    template: Picture
    searches: list[Picture]


def presence(
    engine: Engine,
    settings: TrackerSettings,
    sequences: Iterable[Sequence],
    *,
    per_sequence: int = 20,
    seed: int = 0,
) -> Presence:
    """Score `per_sequence` regions with, and as many without, the target of each sequence.

    A search region lies around the true box of the last labelled frame before it, as it does for
    a tracker that has not lost its target.

    Args:
        engine: Runs the bundle.
        settings: Sizes and factors of its crops.
        sequences: At least two.
        per_sequence: Regions of each kind; evenly spread over the frames whose target is labelled
            and can be seen.
        seed: Draws which regions of other sequences are shown.

    Raises:
        DataError: fewer than two sequences.
    """
    crops = [_cut(one, settings, per_sequence) for one in sequences]
    if len(crops) < 2:
        raise DataError(f"presence needs at least two sequences, got {len(crops)}")
    draw = np.random.default_rng(seed)
    present: list[float] = []
    absent: list[float] = []
    for index, own in enumerate(crops):
        others = [one for other, it in enumerate(crops) if other != index for one in it.searches]
        chosen = draw.permutation(len(others))[: len(own.searches)]
        memory = engine.encode_templates(np.stack([own.template, own.template])[None])
        present += [_score(engine, memory, search) for search in own.searches]
        absent += [_score(engine, memory, others[number]) for number in chosen]
    return Presence(roc_auc(present, absent), np.asarray(present), np.asarray(absent))


def _score(engine: Engine, memory: object, search: Picture) -> float:
    return float(engine.step(search[None], memory).scores[0])


def _cut(sequence: Sequence, settings: TrackerSettings, count: int) -> _Crops:
    """One pass over a sequence: its template and up to `count` search regions."""
    there = np.isfinite(sequence.truth).all(axis=1)
    if sequence.absent is not None:
        there &= ~sequence.absent  # some sets have boxes of targets that are hidden
    labelled = np.flatnonzero(there)
    wanted = labelled[1:]
    if len(wanted) > count:
        wanted = wanted[np.linspace(0, len(wanted) - 1, count).round().astype(int)]
    before = {int(frame): int(labelled[labelled < frame][-1]) for frame in wanted}
    template, searches = np.zeros((0, 0, 3), np.uint8), []
    for index, picture in enumerate(sequence.frames()):
        if index == 0:
            around = Crop.around(sequence.box, settings.template_factor, settings.template_size)
            template = around.take(picture)
        elif index in before:
            box = Box(*(float(v) for v in sequence.truth[before[index]]))
            around = Crop.around(box, settings.search_factor, settings.search_size)
            searches.append(around.take(picture))
    return _Crops(template, searches)
