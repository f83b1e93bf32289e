"""`track --prompt FRAME:X,Y,W,H`: several given boxes of one object, tracked and then drawn.

Between two given boxes both runs are known only once the later one is reached, so the source is
read twice: to track, with the journal written on the way, and to draw the video.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..box import Box
from ..errors import BoxError, ConfigError, SourceError
from .boxes import parse_boxes
from .terminal import progress

if TYPE_CHECKING:
    from ..runtime.base import EngineInfo
    from ..tracking.crowd import Results
    from ..video.source import Source
    from .chosen import TrackerChoice
    from .follow import Outputs, Summary

__all__ = ["check_boxes", "follow_prompted", "read_prompts", "write_twice"]

logger = logging.getLogger(__name__)

_OPENED = 100
"""Pictures at most that are opened before the run, which is soon at the next box where more are."""


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
        (given,) = parse_boxes([box], f"--prompt {frame}: box")[:1]
        if int(frame) in out:
            raise BoxError(f"--prompt: frame {int(frame)} has two boxes; give each frame one")
        out[int(frame)] = given
    return out


def follow_prompted(
    source: str,
    prompts: Mapping[int, Box],
    outputs: Outputs,
    choice: TrackerChoice,
    *,
    reverse: bool,
    quiet: bool,
) -> Summary:
    """Track one object from all given boxes.

    Raises:
        BoxError: A box is outside of its frame.
        ConfigError, SourceError, OutputError: as for `write_twice`; there is no frame for a box.
    """
    from ..tracking.prompts import follow_prompts

    tracker = choice.one()
    outputs = replace(outputs, given=tuple((1, frame) for frame in prompts))

    def answers(frames: Source) -> Iterator[Results]:
        check_boxes(source, frames, prompts)
        found = follow_prompts(source, frames, tracker, prompts, both=reverse)
        return ({1: one} for one in found)

    return write_twice(source, answers, tracker.info, outputs, model=choice.model, quiet=quiet)


def write_twice(
    source: str,
    answers: Callable[[Source], Iterator[Results]],
    info: EngineInfo,
    outputs: Outputs,
    *,
    model: str,
    whole: bool = True,
    others: Sequence[Source] = (),
    quiet: bool,
) -> Summary:
    """Track, with the journal written on the way; then draw the video.

    Ctrl-C and SIGTERM end the tracking after the present frame; the journal and what is made of it
    then hold the results so far, and there is no video. Where the source ends too early, all of
    them are made, and `failed` of what comes back says so.

    Args:
        source: To be read more than once.
        answers: Checks what it is to begin with and gives the results of the frames, in order.
        info: Which engine runs.
        outputs: Where to.
        model: Name of the bundle, for the journal.
        whole: Whether the results go as far as the source.
        others: What else is read meanwhile, to be stopped by a signal as well.
        quiet: No progress bar.

    Raises:
        ConfigError: A live source.
        OutputError: A file cannot be written.
        SourceError: It cannot be opened, or ends before it has shown anything.
    """
    import time

    from ..video.source import open_source
    from .follow import prove_outputs, record

    began = time.perf_counter()
    found: dict[int, Results] = {}
    failed: list[SourceError] = []
    with open_source(source) as frames:
        if frames.live:
            raise ConfigError(f"{frames.name} is live and cannot be read twice; use --box")
        results = _as_far_as_they_go(answers(frames), failed)
        prove_outputs(outputs, frames.size)
        with progress(f"{frames.name}, tracking", frames.count, quiet=quiet) as watch:

            def stop() -> None:
                for one in (frames, *others):
                    one.stop()

            def keep(results: Results) -> None:
                watch(results)
                if outputs.video is not None:
                    found.update({one.frame: results for one in results.values()})

            summary = record(
                frames,
                ((None, one) for one in results),
                info,
                replace(outputs, video=None),
                model=model,
                whole=whole,
                stop=stop,
                watch=keep,
            )
    summary.failed = failed[0] if failed else None
    if outputs.video is not None:
        summary.drawn = summary.signal is None
        if summary.drawn:
            drawn = _draw(source, found, outputs.video, outputs.labels, quiet=quiet)
            summary.signal, summary.began = drawn
    summary.seconds = time.perf_counter() - began
    return summary


def _as_far_as_they_go(results: Iterator[Results], failed: list[SourceError]) -> Iterator[Results]:
    """Results up to where the source fails; what was found until then is not to be lost."""
    begun = False
    try:
        for one in results:
            begun = True
            yield one
    except SourceError as error:
        if not begun:
            raise
        failed.append(error)


def check_boxes(source: str, frames: Source, prompts: Mapping[int, Box]) -> None:
    """Refuse what would be refused at its frame, after hours perhaps.

    A video has one size; pictures have each their own, and are opened in no time. How many frames
    a video has, its header may only guess: a box behind that is warned of.
    """
    from ..video.source import UndecodableError, open_source

    pictures = not ("://" in source or os.path.isfile(source))
    for number, box in prompts.items():
        size = frames.size
        if pictures:
            if number >= (frames.count or 0):
                raise SourceError(
                    f"{frames.name} has {frames.count} pictures, and a box is given on frame "
                    f"{number}; frames count from 0"
                )
            if len(prompts) > _OPENED:
                continue
            try:
                with open_source(source, start=number, read_ahead=1) as one:
                    size = one.size
            except UndecodableError:  # nor is it at its frame
                continue
        elif frames.count is not None and number >= frames.count:
            logger.warning(
                "%s has %d frames by its header, and a box is given on frame %d; frames count "
                "from 0",
                frames.name,
                frames.count,
                number,
            )
        if box.intersect(*size) is None:
            raise BoxError(
                f"frame {number}: box {box.xywh} lies outside the picture of {size[0]} x {size[1]} "
                "pixels; x and y are its top left corner, counted from 0"
            )


def _draw(
    source: str, found: Mapping[int, Results], path: Path, labels: tuple[str, ...], *, quiet: bool
) -> tuple[int | None, float]:
    """Make the video; the signal that ended it early, or None, and the time of its first frame."""
    from ..video.source import open_source
    from .follow import Interrupt, Picture, video_writer

    with (
        open_source(source) as frames,
        Interrupt(frames.stop) as interrupt,
        video_writer(path, frames) as writer,
        progress(f"{frames.name}, drawing", frames.count, quiet=quiet) as watch,
    ):
        picture = Picture(writer, labels)
        frames.again = True
        for frame in frames:
            results = found.get(frame.index, {})  # none before the first box of a run forward
            picture.add(frame, results)
            watch(results)
    return interrupt.received, picture.began
