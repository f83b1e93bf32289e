"""`track --prompt FRAME:X,Y,W,H`: several given boxes of one object, tracked and then written.

Between two given boxes both runs are known only once the later one is reached, so the source is
read twice: to track, and to draw and write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..box import Box
from ..errors import BoxError, ConfigError
from ..tracking.result import TrackResult
from .boxes import parse_boxes
from .terminal import progress

if TYPE_CHECKING:
    from ..tracking.crowd import Results, Start
    from ..video.source import VideoFrame
    from .follow import Outputs, Summary

__all__ = ["Recorded", "follow_prompted", "read_prompts"]


def read_prompts(texts: Iterable[str]) -> dict[int, Box]:
    """Boxes by their frame, from `FRAME:X,Y,W,H`.

    Raises:
        BoxError: no frame, no box, or two boxes for one frame.

    Example:
        >>> read_prompts(["120:10,20,30,40"])
        {120: Box(x=10.0, y=20.0, w=30.0, h=40.0)}
    """
    out: dict[int, Box] = {}
    for text in texts:
        frame, colon, box = text.partition(":")
        if not colon or not (frame.isascii() and frame.strip().isdigit()):
            raise BoxError(f"--prompt {text!r} must be FRAME:X,Y,W,H, such as 120:10,20,30,40")
        (given,) = parse_boxes([box])[:1]
        if int(frame) in out:
            raise BoxError(f"--prompt: frame {int(frame)} has two boxes; give each frame one")
        out[int(frame)] = given
    return out


class Recorded:
    """Results that are there already, given out with the frames they belong to."""

    def __init__(self, results: Mapping[int, TrackResult], seconds: float) -> None:
        self._results = results
        self.seconds = seconds

    @property
    def waiting(self) -> list[Start]:
        """Nobody: all is tracked."""
        return []

    def take(self, frame: VideoFrame) -> Results:
        """The result of a frame; none before the first given box of a run without `reverse`."""
        found = self._results.get(frame.index)
        return {} if found is None else {1: found}


def follow_prompted(
    source: str,
    prompts: Mapping[int, Box],
    outputs: Outputs,
    *,
    model: str,
    engine: str,
    threads: int | None,
    settings: Mapping[str, Any] | None,
    reverse: bool,
    quiet: bool,
) -> Summary:
    """Track from all given boxes, then write everything that `outputs` names.

    Raises:
        ConfigError: a live source.
    """
    import time

    from ..tracking.prompts import follow_prompts
    from ..tracking.tracker import Tracker
    from ..video.source import open_source
    from .follow import record

    tracker = Tracker(model, engine, threads, settings=settings)
    began = time.perf_counter()
    results = {}
    with open_source(source) as frames:
        if frames.live:
            raise ConfigError(f"{frames.name} is live and cannot be read twice; use --box")
        with progress(f"{frames.name}, tracking", frames.count, quiet=quiet) as watch:
            for one in follow_prompts(source, frames, tracker, prompts, both=reverse):
                results[one.frame] = one
                watch({1: one})
    run = Recorded(results, time.perf_counter() - began)
    with (
        open_source(source) as frames,
        progress(f"{frames.name}, writing", frames.count, quiet=quiet) as watch,
    ):
        return record(frames, run, tracker.info, outputs, model=model, watch=watch)
