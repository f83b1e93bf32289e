"""A video in, one result for each of its frames out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..box import Box
from ..errors import ConfigError
from .result import TrackResult
from .settings import TrackerSettings
from .tracker import Tracker

if TYPE_CHECKING:
    from ..video.source import SourceLike

__all__ = ["track"]

RECONNECT = 300.0
"""Seconds for which a stream that dropped is tried again, as in `open_source`."""


def track(
    source: SourceLike,
    box: Sequence[float] | None = None,
    model: str | Path = "t",
    engine: str = "auto",
    threads: int | None = None,
    settings: TrackerSettings | Mapping[str, Any] | None = None,
    *,
    prompts: Mapping[int, Sequence[float]] | None = None,
    reverse: bool = True,
    start_frame: int = 0,
    max_frames: int | None = None,
    reconnect: float = RECONNECT,
) -> Iterator[TrackResult]:
    """Follow a target through a video, lazily and in constant memory.

    One result comes for each frame of the source. The first is the given box with score 1. A
    frame that cannot be read repeats the last box with state "lost".

    Args:
        source: A video file, a folder or glob of pictures, a camera's number, an address, or a
            list of pictures.
        box: `(x, y, w, h)` in pixels of the first frame, or of `start_frame`.
        model: Name of a shipped bundle, or a bundle folder.
        engine: As for `Tracker`.
        threads: As for `Tracker`.
        settings: As for `Tracker`.
        prompts: Boxes by the number of their frame, in place of `box`: each is the truth of its
            frame. Results come from frame 0 on, those between two boxes once the later one is
            reached.
        reverse: With `prompts`, run backward from each as well, and blend both runs where they
            meet. Without it, results begin at the first of them and come at once.
        start_frame: Frame that `box` is given on, and the first to be tracked; results have the
            numbers and times of the source. Not with `prompts`, which name their frames.
        max_frames: Stop after so many frames; None for all. Not with `prompts`.
        reconnect: Of a stream: seconds without a picture after which it is given up; 0 ends at the
            first drop.

    Raises:
        BoxError: a box that is not finite, has no area or lies outside its frame.
        ConfigError: neither `box` nor `prompts`, or both; a live source in `reverse`;
            `start_frame` below 0 or `max_frames` below 1, or either with `prompts`.
        SourceError: a source that cannot be opened, holds no frame or ends before a given box.

    Example:
        >>> for result in track("clip.mp4", box=(175, 137, 93, 86)):  # doctest: +SKIP
        ...     print(result.frame, result.box, result.score, result.state)
        >>> list(track("clip.mp4", prompts={0: (9, 9, 30, 80), 120: (64, 12, 31, 78)}))
        ... # doctest: +SKIP
    """
    if (box is None) == (prompts is None):
        raise ConfigError("give either box, on the first frame, or prompts, by frame")
    if max_frames is not None and not _is_count(max_frames):
        raise ConfigError(f"max_frames must be at least 1 frame, or None, got {max_frames!r}")
    if prompts is not None:
        if start_frame or max_frames:
            raise ConfigError(
                "prompts names its frames itself and goes with the whole source; leave out "
                "start_frame and max_frames"
            )
        yield from _prompted(
            source, prompts, reverse, (model, engine, threads), settings, reconnect
        )
        return
    given = Box.parse(() if box is None else box)
    results = follow(
        source,
        given,
        lambda: Tracker.for_video(model, engine, threads, settings),
        start_frame=start_frame,
        reconnect=reconnect,
    )
    with closing(results):
        yield from islice(results, max_frames)


def _is_count(value: Any) -> bool:
    return isinstance(value, Integral) and int(value) >= 1


def follow(
    source: SourceLike,
    box: Sequence[float],
    make: Callable[[], Tracker],
    *,
    start_frame: int = 0,
    reconnect: float = RECONNECT,
) -> Generator[TrackResult]:
    """`track` with a tracker of one's own, made once the source is open.

    Raises:
        BoxError, ConfigError, SourceError: as for `track`.
    """
    from ..video.source import open_source

    given = Box.parse(box)
    with open_source(source, start=start_frame, reconnect=reconnect) as video:
        tracker, started = make(), False
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


def _prompted(
    source: SourceLike,
    prompts: Mapping[int, Sequence[float]],
    reverse: bool,
    made: tuple[str | Path, str, int | None],
    settings: TrackerSettings | Mapping[str, Any] | None,
    reconnect: float,
) -> Iterator[TrackResult]:
    from ..video.source import open_source
    from .prompts import follow_prompts, parse_prompts

    given = parse_prompts(prompts)
    with open_source(source, reconnect=reconnect) as video:
        tracker = Tracker.for_video(*made, settings)
        yield from follow_prompts(source, video, tracker, given, both=reverse)
