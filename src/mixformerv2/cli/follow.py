"""The run behind `track` and `demo`: frames in, results on disk as they come."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..box import Box
from ..errors import OutputError, SourceError
from ..runtime.base import EngineInfo
from ..tracking.crowd import Crowd, Follower, Results, Start
from ..tracking.result import TargetState
from ..video.draw import Overlay
from ..video.formats import export, prove
from ..video.formats.journal import Journal, JournalWriter, RunHeader, label_of
from ..video.formats.streams import is_stdout, is_stream
from ..video.source import Source, VideoFrame
from ..video.writer import VideoWriter, check_size

__all__ = [
    "Follower",
    "Interrupt",
    "Outputs",
    "Picture",
    "Summary",
    "follow",
    "prove_outputs",
    "record",
    "video_writer",
]


logger = logging.getLogger(__name__)

_BY_SIZE = frozenset({"coco", "cvat", "labelstudio"})
"""Formats that tell the size of frames, of which a journal has one."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where results go.

    Attributes:
        journal: JSONL, always written.
        video: Annotated video, or None.
        exports: Files made from the journal at the end, with their formats.
        replaced: Files that nobody named, and that an earlier run has left.
        without_lost: Leave lost rows out of the exports, as `export` does.
        labels: What the objects are, as in `RunHeader`.
        thin: Of the exports, as `export` takes it.
        given: Which boxes were given, as in `RunHeader`.
    """

    journal: Path
    video: Path | None = None
    exports: tuple[tuple[Path, str], ...] = ()
    replaced: tuple[Path, ...] = ()
    without_lost: bool = False
    labels: tuple[str, ...] = ()
    thin: float = 0.0
    given: tuple[tuple[int, int], ...] = ()

    @property
    def to_stdout(self) -> bool:
        """Whether results come out where the command prints."""
        return any(map(is_stdout, (self.journal, *(path for path, _ in self.exports))))


@dataclass(slots=True)
class Summary:
    """What a run came to.

    Attributes:
        frames: Frames in the journal, broken ones included.
        broken: Frames that could not be decoded.
        dropped: Frames of a live source that came too fast.
        gaps: How often a stream dropped and came back.
        missed: Seconds of its gaps together.
        seconds: Wall time of the run: decoding, tracking, drawing and encoding.
        tracking: Seconds in the tracker alone, without the first frame; 0 where nobody took them.
        states: Frames by object and state.
        doubles: Frames in which two objects had nearly the same box, by pair.
        drawn: Whether the video was made, if one was asked for.
        began: Time of its first frame in the source, in seconds.
        silent: Why the sound of the source is not in it, or None.
        signal: Number of the signal that ended the run, or None.
        failed: Why it could not go on, where what was found until then is written; else None.
        engine: Which engine ran.
    """

    engine: EngineInfo
    frames: int = 0
    broken: int = 0
    dropped: int = 0
    gaps: int = 0
    missed: float = 0.0
    seconds: float = 0.0
    tracking: float = 0.0
    states: dict[int, Counter[TargetState]] = field(default_factory=dict)
    doubles: Counter[tuple[int, int]] = field(default_factory=Counter)
    drawn: bool = True
    began: float = 0.0
    silent: str | None = None
    signal: int | None = None
    failed: SourceError | None = None

    @property
    def fps(self) -> float:
        """Frames a second of the whole run."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    @property
    def tracker_fps(self) -> float:
        """Frames a second that the tracker alone would make."""
        tracked = self.frames - self.broken - 1
        return tracked / self.tracking if tracked > 0 and self.tracking > 0 else 0.0


def follow(
    source: Source,
    boxes: list[Box],
    follower: Follower,
    outputs: Outputs,
    *,
    model: str,
    limit: int | None = None,
    watch: Callable[[Results], None] = lambda results: None,
) -> Summary:
    """Follow the boxes through the source and write everything that `outputs` names.

    Ctrl-C and SIGTERM end the run after the present frame; all outputs are then completed.

    Args:
        source: Frames. The boxes belong to its first good one.
        boxes: One for each object; they are numbered from 1.
        follower: Does the tracking.
        outputs: Where to.
        model: Name of the bundle, for the journal.
        limit: Frames at most.
        watch: Called after each frame with its results, to show progress.

    Raises:
        BoxError: A box is outside of the first frame. Nothing is written.
        OutputError: A file cannot be written any further.
    """
    run = Crowd(follower, [Start(number, box) for number, box in enumerate(boxes, 1)])
    frames = iter(source)
    # The first good frame proves the boxes before any file is touched.
    opening = _until_started(frames, run)
    begun = opening[-1][0].index
    outputs = replace(outputs, given=tuple((n, begun) for n in range(1, len(boxes) + 1)))
    results = _all_results(opening, frames, run)
    summary = record(source, results, follower.info, outputs, model=model, limit=limit, watch=watch)
    summary.tracking = run.seconds
    summary.doubles = follower.doubles
    return summary


def record(
    source: Source,
    results: Iterable[tuple[VideoFrame | None, Results]],
    info: EngineInfo,
    outputs: Outputs,
    *,
    model: str,
    limit: int | None = None,
    whole: bool = True,
    stop: Callable[[], None] | None = None,
    watch: Callable[[Results], None] = lambda results: None,
) -> Summary:
    """Write results as they come.

    Args:
        source: Where the frames come from.
        results: Results of each frame, in order, with the frame where a video is made.
        info: Which engine runs.
        outputs: Where to.
        model: Name of the bundle, for the journal.
        limit: Frames at most.
        whole: Whether the results go as far as the source, where no limit ends them.
        stop: Called at a signal; where None it stops the source.
        watch: Called after each frame with its results.

    Raises:
        OutputError: as in `follow`.
    """
    summary = Summary(info)
    prove_outputs(outputs, source.size)
    with ExitStack() as stack:
        interrupt = stack.enter_context(Interrupt(stop or source.stop))
        header = _header(source, model, info, outputs)
        journal = stack.enter_context(JournalWriter(outputs.journal, header))
        picture = None
        if outputs.video is not None:
            writer = stack.enter_context(video_writer(outputs.video, source))
            picture = Picture(writer, outputs.labels)
        began, why = time.perf_counter(), "source" if whole else "limit"
        for frame, found in results:
            for number, result in found.items():
                journal.write(number, result)
                summary.states.setdefault(number, Counter())[result.state] += 1
            if picture is not None and frame is not None:
                picture.add(frame, found)
            summary.frames += 1
            watch(found)
            if summary.frames == limit:
                why = "source" if source.used_up else "limit"
                break
        summary.seconds = time.perf_counter() - began
        summary.began = picture.began if picture is not None else 0.0
        summary.broken, summary.dropped = source.broken, source.dropped
        summary.gaps, summary.missed = source.gaps, source.missed
        summary.signal = interrupt.received
        why = why if interrupt.received is None else "interrupted"
        journal.end(why, frames=summary.frames, broken=summary.broken)
        if source.sized and (written := {form for _, form in outputs.exports} & _BY_SIZE):
            width, height = source.size
            logger.warning(
                "%s: its frames vary in size; %s has them all as %d x %d pixels, as the first",
                source.name,
                " and ".join(sorted(written)),
                width,
                height,
            )
        for path, form in outputs.exports:
            export(
                Journal(outputs.journal),
                path,
                form,
                without_lost=outputs.without_lost,
                thin=outputs.thin,
            )
    return summary


def prove_outputs(outputs: Outputs, size: tuple[int, int]) -> None:
    """Find out before the run, and before an older file is emptied, what cannot be written.

    Args:
        outputs: Where to.
        size: Width and height of the frames, in pixels.

    Raises:
        OutputError: A file cannot be written, or no video can have this size.
    """
    if outputs.video is not None:
        check_size(*size)
    for path, _ in outputs.exports:
        prove(path)
    for file in (outputs.journal, outputs.video):
        if file is not None and not is_stream(file):
            _prove_file(file)


def _prove_file(path: Path) -> None:
    there = os.path.exists(path)
    try:
        with path.open("ab"):
            pass
        if not there:
            path.resolve().unlink()
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def video_writer(path: Path, source: Source) -> VideoWriter:
    """A video in which the frames of a source look as they do there."""
    return VideoWriter(path, fps=source.fps, aspect=source.aspect)


def _header(source: Source, model: str, engine: EngineInfo, outputs: Outputs) -> RunHeader:
    return RunHeader(
        source=source.name,
        width=source.size[0],
        height=source.size[1],
        fps=source.fps,
        model=model,
        engine=f"{engine.name} {engine.precision}",
        tool=f"mixformerv2 {__version__}",
        labels=outputs.labels,
        given=outputs.given,
    )


def _until_started(frames: Iterator[VideoFrame], run: Crowd) -> list[tuple[VideoFrame, Results]]:
    """Everything up to the first good frame, which starts the tracker."""
    done: list[tuple[VideoFrame, Results]] = []
    for frame in frames:
        done.append((frame, run.take(frame)))
        if not run.waiting:
            return done
    raise SourceError("the source ended before its first frame; run it again")


def _all_results(
    opening: list[tuple[VideoFrame, Results]], frames: Iterator[VideoFrame], run: Crowd
) -> Iterator[tuple[VideoFrame, Results]]:
    yield from opening
    opening.clear()  # a picture that is not needed any more
    for frame in frames:
        yield frame, run.take(frame)


class Picture:
    """Draws frames into the video; in place of a broken frame the last good one stays.

    Args:
        writer: Of the video.
        labels: What the objects are, as in `RunHeader`.
    """

    def __init__(self, writer: VideoWriter, labels: tuple[str, ...] = ()) -> None:
        self._writer = writer
        self._labels = labels
        self._overlay = Overlay()
        self._last: NDArray[np.uint8] | None = None

    @property
    def began(self) -> float:
        """Time of the first frame that was drawn, in seconds."""
        return self._writer.began or 0.0

    def add(self, frame: VideoFrame, results: Results) -> None:
        note = None
        if frame.image is None:
            note = f"frame {frame.index} cannot be decoded"
        image = self._last if frame.image is None else frame.image
        if image is not None:
            names = {n: label_of(self._labels, n) for n in results} if self._labels else None
            drawn = self._overlay.draw(image, results, note=note, labels=names)
            self._writer.write(drawn, frame.time)
            self._last = image


class Interrupt(contextlib.AbstractContextManager["Interrupt"]):
    """While it is entered, the first Ctrl-C or SIGTERM only asks for an end; a second one insists.

    Outside of the main thread signals cannot be had, and are left as they are.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self.received: int | None = None
        self._ask = ask
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        with contextlib.suppress(ValueError):
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = number
        self._ask()

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
