"""What label tools are told of an object: its keys, and where its results end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ...tracking.result import TrackResult
from .journal import Journal

__all__ = ["keys"]

Key = tuple[TrackResult, bool]


def keys(journal: Journal, number: int, length: int | None) -> Iterator[Key]:
    """Results of one object, and a lost one behind each stretch of them that ends too early.

    Label tools show a box in all later frames until they are told otherwise: the frame after the
    stretch, unless the video ends there, says that it is not to be seen. Between two keys they draw
    the boxes on a line, so of a journal that is `thinned` most frames need no key.

    Args:
        journal: All results.
        number: Of the object.
        length: Of the video, in frames; None where nobody knows how far it goes on.

    Yields:
        A result, and whether it is such an end, which nobody tracked.
    """
    every = _with_ends(journal, number, length)
    if not journal.thin:
        yield from every
        return
    # An end stands behind a stretch in view: it parts that from the next.
    for lost, stretch in groupby(every, lambda key: key[0].state == "lost"):
        found = list(stretch)
        if lost:  # hidden until the next key; an end is another thing than a result
            yield from found[: 2 if found[0][1] else 1]
            continue
        results = [result for result, _ in found]
        for index in _kept(results, journal.thin):
            yield found[index]


def _with_ends(journal: Journal, number: int, length: int | None) -> Iterator[Key]:
    last: TrackResult | None = None
    for result in (row.result for row in journal if row.id == number):
        if last is not None and last.state != "lost" and result.frame > last.frame + 1:
            yield _end(last, journal), True
        yield result, False
        last = result
    if last is not None and last.state != "lost" and last.frame + 1 != length:
        yield _end(last, journal), True


def _end(last: TrackResult, journal: Journal) -> TrackResult:
    time = last.time + journal.seconds_per_frame()
    return replace(last, state="lost", score=0.0, frame=last.frame + 1, time=time)


def _kept(results: list[TrackResult], tolerance: float) -> list[int]:
    """Which results to keep so that lines between them lead by all others: Douglas and Peucker.

    Args:
        results: Of frames that follow each other.
        tolerance: How far a side may be from its line, in pixels.
    """
    x, y, w, h = np.array([result.box for result in results]).T
    sides = np.stack([x, y, x + w, y + h], 1)
    keep, parts = {0, len(results) - 1}, [(0, len(results) - 1)]
    while parts:
        first, last = parts.pop()
        if last - first < 2:
            continue
        share = np.arange(1, last - first)[:, None] / (last - first)
        line: NDArray[np.float64] = sides[first] + share * (sides[last] - sides[first])
        off = np.abs(sides[first + 1 : last] - line).max(1)
        if off.max() > tolerance:
            middle = first + 1 + int(off.argmax())
            keep.add(middle)
            parts += [(first, middle), (middle, last)]
    return sorted(keep)
