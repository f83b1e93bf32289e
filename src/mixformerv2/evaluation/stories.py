"""Which sequences a report shows in pictures: the worst of each tracker, the widest differences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .report import Report, SequenceReport
from .strips import Picture, film_strip, frames_to_show
from .study import FIGURES, Study

__all__ = ["Story", "first_losses", "tell_stories"]

WORST = 10
DIFFERENT = 5


@dataclass(frozen=True)
class Story:
    """One sequence in pictures.

    Attributes:
        name: Of the sequence.
        values: Number of a tracker, and its figure.
        overlaps: Number of a tracker, and its `[N]` IoU, NaN where a frame does not count.
        pictures: The strip.
    """

    name: str
    values: tuple[tuple[int, float], ...]
    overlaps: tuple[tuple[int, NDArray[np.float64]], ...]
    pictures: tuple[Picture, ...]


def tell_stories(study: Study) -> Iterator[tuple[str, str, list[Story]]]:
    """Key, title and stories of each section."""
    reports = study.reports
    worst = _worst_first(study, reports[0])[:WORST]
    name = FIGURES[study.main][0]
    if worst:
        what = "worst sequence" if len(worst) == 1 else f"{len(worst)} worst sequences"
        title = f"The {what} of {reports[0].tracker}"
        stories = [_story(study, one.name, 0) for one in worst]
        yield "worst", title, [one for one in stories if one is not None]
    for index in range(1, len(reports)):
        ours = {one.name: _value(study, one) for one in _told(reports[0])}
        gaps = [
            (ours[one.name] - _value(study, one), one.name)
            for one in _told(reports[index])
            if one.name in ours
        ]
        for sign, which in ((1, 0), (-1, index)):
            order = sorted(gaps, key=lambda gap: (-sign * gap[0], gap[1]))
            chosen = [name for gap, name in order if sign * gap > 0.02][:DIFFERENT]
            stories = [_story(study, one, index if sign > 0 else 0) for one in chosen]
            told = [one for one in stories if one is not None]
            better, other = reports[which].tracker, reports[index if sign > 0 else 0].tracker
            if told:
                title = f"Where {better} is better than {other} in {name}"
                yield f"better-{which}-{index}", title, told


def first_losses(study: Study, report: Report) -> Iterator[tuple[str, int]]:
    """Sequences in which a tracker loses its target, the worst first, and in which frame."""
    for one in _worst_first(study, report):
        if one.visible is not None:
            _, lost = frames_to_show(_overlaps(one, len(one.visible)))
            if lost is not None:
                yield one.name, max(lost, 1)


def _worst_first(study: Study, report: Report) -> list[SequenceReport]:
    return sorted(_told(report), key=lambda one: (_value(study, one), one.name))


def _told(report: Report) -> list[SequenceReport]:
    return [one for one in report.sequences if one.run is not None and one.figures.frames]


def _value(study: Study, one: SequenceReport) -> float:
    value = float(getattr(one.figures, study.main))
    return value if math.isfinite(value) else 0.0


def _story(study: Study, name: str, hero: int) -> Story | None:
    """A sequence with the boxes of all trackers, told by the overlaps of one of them."""
    sequence = next((one for one in study.sequences if one.name == name), None)
    if sequence is None:
        return None
    found = [
        (index, one)
        for index, report in enumerate(study.reports)
        for one in report.sequences
        if one.name == name and one.run is not None and one.errors is not None
    ]
    overlaps = {index: _overlaps(one, len(sequence)) for index, one in found}
    try:
        pictures = film_strip(
            sequence,
            [one.run.boxes for _, one in found if one.run is not None],
            [index for index, _ in found],
            overlaps[hero],
        )
    except DataError:  # its frames are not there: results were read without the data
        return None
    values = tuple((index, _value(study, one)) for index, one in found)
    return Story(name, values, tuple(overlaps.items()), tuple(pictures))


def _overlaps(one: SequenceReport, count: int) -> NDArray[np.float64]:
    out = np.full(count, np.nan)
    if one.errors is not None:
        out[one.errors.frames] = np.maximum(one.errors.overlaps, 0.0)
    return out
