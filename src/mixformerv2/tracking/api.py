"""A video in, one result for each of its frames out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..box import Box
from .result import TrackResult
from .settings import TrackerSettings
from .tracker import Tracker

if TYPE_CHECKING:
    from ..video.source import SourceLike

__all__ = ["track"]


def track(
    source: SourceLike,
    box: Sequence[float],
    model: str | Path = "t",
    engine: str = "auto",
    threads: int | None = None,
    settings: TrackerSettings | Mapping[str, Any] | None = None,
) -> Iterator[TrackResult]:
    """Follow a target through a video, lazily and in constant memory.

    One result comes for each frame of the source. The first is the given box with score 1. A
    frame that cannot be read repeats the last box with state "lost".

    Args:
        source: A video file, a folder or glob of pictures, a camera's number, an address, or a
            list of pictures.
        box: `(x, y, w, h)` in pixels of the first frame.
        model: Name of a shipped bundle, or a bundle folder.
        engine: As for `Tracker`.
        threads: As for `Tracker`.
        settings: As for `Tracker`.

    Raises:
        BoxError: a box that is not finite, has no area or lies outside the first frame.
        SourceError: a source that cannot be opened or holds no frame.

    Example:
        >>> for result in track("clip.mp4", box=(197, 213, 34, 81)):  # doctest: +SKIP
        ...     print(result.frame, result.box, result.score, result.state)
    """
    from ..video.source import open_source

    given = Box.parse(box)
    with open_source(source) as video:
        tracker = Tracker(model, engine, threads, settings=settings)
        started = False
        for one in video:
            if one.image is not None:
                answer = tracker.update(one.image, one.time) if started else None
                result = answer or tracker.init(one.image, given, one.time)
                started = True
            elif started:
                result = tracker.skip(one.time)
            else:
                # The given box waits for the first frame that can be read.
                result = TrackResult(given.xywh, 0.0, "lost", one.index, one.time)
            yield replace(result, frame=one.index)
