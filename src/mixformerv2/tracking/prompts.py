"""Several given boxes in one video: from each the tracker runs forward, and backward if asked.

Between two given boxes the frames are tracked twice, forward from the earlier and backward from the
later one, and the two answers are blended (`blend.py`): an error that grows on the way from one box
has not begun to grow on the way from the other.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..errors import BoxError, ConfigError, OutputError, SourceError
from .blend import blend_between, result_of, row_of
from .result import TrackResult
from .state import TrackState
from .tracker import Tracker

if TYPE_CHECKING:
    from ..video.source import Source, SourceLike, VideoFrame

__all__ = ["follow_prompts", "parse_prompts"]

logger = logging.getLogger(__name__)

Rows = NDArray[np.float64]


def parse_prompts(prompts: Mapping[int, Sequence[float]]) -> dict[int, Box]:
    """Check given boxes; in the order of their frames.

    Raises:
        ConfigError: no mapping, none in it, or a frame that is no number of one.
        BoxError: a box that is none; the frame is named.
    """
    if not isinstance(prompts, Mapping):
        raise ConfigError(f"prompts is {{frame: (x, y, w, h)}}, a mapping; got {prompts!r:.80}")
    if not prompts:
        raise ConfigError("no box is given; prompts is {frame: (x, y, w, h)} with at least one")
    given = {_frame(frame): box for frame, box in prompts.items()}
    out: dict[int, Box] = {}
    for frame in sorted(given):
        try:
            out[frame] = Box.parse(given[frame])
        except BoxError as error:
            raise BoxError(f"frame {frame}: {error}") from error
    return out


def _frame(value: Any) -> int:
    """The number of a frame, which may be NumPy's."""
    try:
        frame = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        frame = -1
    if frame < 0:
        raise ConfigError(f"a prompt's frame is a whole number from 0, got {value!r}")
    return frame


def follow_prompts(
    source: SourceLike,
    video: Source,
    tracker: Tracker,
    prompts: Mapping[int, Box],
    *,
    both: bool,
    first: int = 0,
) -> Iterator[TrackResult]:
    """Results from the first prompt on; from frame `first` on where `both` directions are wanted.

    After the last prompt results come at once. Before it, with `both`, those between two prompts
    come when the later one has been reached; what is kept meanwhile are numbers, never pictures.

    Args:
        source: What `video` was opened from, to be read again for the way back.
        video: The frames.
        tracker: Its own target is not touched.
        prompts: As `parse_prompts` gives them.
        both: Run backward as well.
        first: Before it the target is not looked for; no prompt is earlier.

    After `video.stop()` it ends soon; then, and where the source ends before the last prompt, what
    is known after the one before is the run forward alone.

    Raises:
        ConfigError: `both` of a live source.
        SourceError: the source ends before the last prompt.
    """
    if both and video.live:
        raise ConfigError(
            f"{video.name} is live: what has passed cannot be tracked backward; use reverse=False"
        )
    with ExitStack() as stack:
        again = _Again(source, stack)
        yield from _both_ways(again, video, tracker, prompts, both=both, first=first)


class _Again:
    """A source for the ways back; one from afar is fetched for them, once, instead of read anew.

    Args:
        source: As it was given.
        stack: Holds the copy.
    """

    def __init__(self, source: SourceLike, stack: ExitStack) -> None:
        self._source = source
        self._stack = stack
        self._near = not isinstance(source, str)

    def place(self) -> SourceLike:
        """What `open_source` takes."""
        from ..video.address import fetched

        if not self._near:
            self._near = True
            try:
                self._source = self._stack.enter_context(fetched(str(self._source)))
            except (ConfigError, OutputError, SourceError) as error:
                # No fsspec, or no room: it is read from afar, which takes longer.
                logger.info("%s", error)
        return self._source


def _both_ways(
    again: _Again,
    video: Source,
    tracker: Tracker,
    prompts: Mapping[int, Box],
    *,
    both: bool,
    first: int,
) -> Iterator[TrackResult]:
    """`follow_prompts` once everything is checked."""
    waiting = sorted(prompts)
    begun: int | None = None  # the prompt of the run that goes on
    state: TrackState | None = None
    times: list[float] = []  # up to the last prompt; a live source has no end
    ahead: list[list[float]] = []  # forward rows since that prompt
    seen = 0
    for one in video:
        seen += 1
        if both and waiting:
            times.append(one.time)
        if waiting and waiting[0] <= one.index:
            prompt = waiting.pop(0)
            if both:
                yield from _between(
                    again, video, tracker, prompts, (begun, prompt), times, ahead, first
                )
                if video.stopped:
                    return
            begun, state, ahead = prompt, None, []
        if begun is None:
            continue
        result, state = _next(tracker, prompts[begun], state, one)
        if both and waiting:
            ahead.append(row_of(result))
        else:
            yield replace(result, frame=one.index, time=one.time)
    yield from _forward_alone(ahead, begun, times)
    if waiting and not video.stopped:
        raise SourceError(
            f"{video.name} ended after {seen} frames, before the box given on frame {waiting[0]}"
        )


def _next(
    tracker: Tracker, given: Box, state: TrackState | None, frame: VideoFrame
) -> tuple[TrackResult, TrackState | None]:
    """One frame of a run; the given box waits for the first frame that can be read."""
    if frame.image is None:
        if state is None:
            return TrackResult(given.xywh, 0.0, "lost", 0, 0.0), None
        return tracker.miss(state, frame.time)
    if state is None:
        return tracker.start(frame.image, given, frame.time)
    return tracker.step(frame.image, state, frame.time)


def _forward_alone(
    ahead: list[list[float]], begun: int | None, times: list[float]
) -> Iterator[TrackResult]:
    """What the run from a prompt has found, where it will not be blended."""
    for number, row in enumerate(ahead, begun or 0):
        yield result_of(np.array(row), number, times[number])


def _between(
    again: _Again,
    video: Source,
    tracker: Tracker,
    prompts: Mapping[int, Box],
    ends: tuple[int | None, int],
    times: list[float],
    ahead: list[list[float]],
    first: int,
) -> Iterator[TrackResult]:
    """The frames from one prompt to the next, the latter not included, in order."""
    from ..video.clip import Clip

    before, after = ends
    if after - 1 == before:  # nothing lies between, and a way back costs a seek
        yield from _forward_alone(ahead, before, times)
        return
    clip = Clip(again.place(), np.array(times))
    back: list[list[float]] = []
    state: TrackState | None = None
    for frame in clip.backward(after, first - 1 if before is None else before):
        if video.stopped:
            yield from _forward_alone(ahead, before, times)
            return
        # On the way back the clock runs forward as well, or filters would not know its pace.
        frame = replace(frame, time=-frame.time)
        result, state = _next(tracker, prompts[after], state, frame)
        back.append(row_of(result))
    rows: Rows = np.array(back[:0:-1]).reshape(-1, 6)  # without the prompt itself, in order
    start = first
    if before is not None:
        # The first row is the prompt's own.
        yield result_of(np.array(ahead[0]), before, times[before])
        start = before + 1
        forward: Rows = np.array(ahead[1:]).reshape(-1, 6)
        rows = blend_between((before, after), np.arange(start, after), forward, rows)
    for frame_number, row in enumerate(rows, start):
        yield result_of(row, frame_number, times[frame_number])
