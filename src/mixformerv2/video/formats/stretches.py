"""Where an object has no results although the video goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...tracking.result import TrackResult
from .journal import Journal

__all__ = ["with_ends"]


def with_ends(
    journal: Journal, number: int, length: int | None
) -> Iterator[tuple[TrackResult, bool]]:
    """Results of one object, and a lost one behind each stretch of them that ends too early.

    Label tools show a box in all later frames until they are told otherwise: the frame after the
    stretch, unless the video ends there, says that it is not to be seen.

    Args:
        journal: All results.
        number: Of the object.
        length: Of the video, in frames; None where nobody knows how far it goes on.

    Yields:
        A result, and whether it is such an end, which nobody tracked.
    """
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
