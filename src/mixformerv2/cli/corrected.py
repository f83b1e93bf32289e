"""`track --corrected FILE --before JOURNAL`: what was mended in a label tool, carried on.

Objects that somebody has corrected are tracked anew, from the corrected boxes both ways; the others
keep the results that they had.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .prompted import check_boxes, write_twice

if TYPE_CHECKING:
    from ..tracking.crowd import Results
    from ..tracking.result import TrackResult
    from ..tracking.tracker import Tracker
    from ..video.formats.changes import Change
    from ..video.formats.journal import Journal
    from ..video.source import Source
    from .chosen import TrackerChoice
    from .follow import Outputs, Summary

__all__ = ["follow_corrected", "labels_of", "read_changes", "told"]


def read_changes(
    corrected: Path, before: Path | None, size: tuple[int, int]
) -> tuple[list[Change], Journal | None]:
    """What somebody has changed, and the journal of the run before.

    Raises:
        ConfigError: A file of no format, or the journal of another video.
        DataError: A file that cannot be read as what it should be.
    """
    from ..video.formats.changes import find_changes
    from ..video.formats.journal import Journal
    from ..video.formats.keyed import read_keyed

    journal = None if before is None else Journal(before)
    if journal is not None and (journal.header.width, journal.header.height) != size:
        raise ConfigError(
            f"--before {before} is of a video of {journal.header.width} x {journal.header.height} "
            f"pixels, and this one has {size[0]} x {size[1]}; give the journal of this video"
        )
    return find_changes(read_keyed(corrected, size), journal), journal


def labels_of(changes: Sequence[Change], journal: Journal | None) -> tuple[str, ...]:
    """Names of objects 1, 2, ... by the corrected file, else by the run before."""
    from ..video.formats.journal import label_of

    unnamed = label_of((), 1)
    names = {one.id: one.label or unnamed for one in changes}
    names = {n: name for n, name in names.items() if name != unnamed and name.isprintable()}
    old = journal.header.labels if journal else ()
    last = max(one.id for one in changes)
    if not names and not old:
        return ()
    return tuple(names.get(number) or label_of(old, number) for number in range(1, last + 1))


def told(changes: Sequence[Change], journal: Journal | None) -> list[str]:
    """What will be done with each object, in sentences."""
    lines = [f"target {one.id}: {_what(one)}" for one in changes]
    gone = sorted(set(journal.ids() if journal else ()) - {one.id for one in changes})
    return lines + [f"target {number}: not in the corrected file, and left out" for number in gone]


def _what(change: Change) -> str:
    boxes = f"{change.corrected} box{'es' if change.corrected > 1 else ''}"
    if not change.known:
        return f"tracked from {boxes}"
    parts = [f"{boxes} corrected, tracked anew"] if change.corrected else []
    stretches = f"{len(change.hidden)} stretch{'es' if len(change.hidden) > 1 else ''}"
    parts += [f"hidden in {stretches}"] if change.hidden else []
    return ", ".join(parts) or "as it was"


def follow_corrected(
    source: str,
    changes: Sequence[Change],
    journal: Journal | None,
    outputs: Outputs,
    choice: TrackerChoice,
    *,
    reverse: bool,
    quiet: bool,
) -> Summary:
    """Track what was corrected, and take the rest from the journal.

    Raises:
        BoxError: A box is outside of its frame.
        ConfigError, SourceError, OutputError: as for `write_twice`; there is no frame for a box.
    """
    tracker = choice.one()
    # Results that are only copied end where those of the run before did, which may be too early.
    tracked_on = any(one.prompts and one.stop is None for one in changes)
    whole = tracked_on or journal is None or journal.length() is not None
    others: list[Source] = []
    copied = {one.id for one in changes if not one.prompts}
    given = [(one.id, frame) for one in changes for frame in one.prompts]
    given += [each for each in (journal.header.given if journal else ()) if each[0] in copied]
    outputs = replace(outputs, given=tuple(given))

    def answers(frames: Source) -> Iterator[Results]:
        for one in changes:
            check_boxes(source, frames, one.prompts)
        read = _Reads(source, frames, others)
        return _merged(read, tracker, changes, journal, both=reverse)

    return write_twice(
        source,
        answers,
        tracker.info,
        outputs,
        model=choice.model,
        whole=whole,
        others=others,
        quiet=quiet,
    )


class _Reads:
    """Each object is tracked through a read of its own, the first through the one at hand.

    Args:
        source: To be opened again.
        frames: The read at hand.
        others: Gets all others while they last.
    """

    def __init__(self, source: str, frames: Source, others: list[Source]) -> None:
        self._source = source
        self._frames = frames
        self._others = others

    def track(
        self, tracker: Tracker, change: Change, *, first: bool, both: bool
    ) -> Iterator[TrackResult]:
        """Results of one object, the first or another one."""
        from ..tracking.prompts import follow_prompts
        from ..video.source import open_source

        with contextlib.ExitStack() as stack:
            video = self._frames
            if not first:
                video = stack.enter_context(open_source(self._source))
                video.again = True
                self._others.append(video)
                stack.callback(self._others.remove, video)
                if self._frames.stopped:  # by a signal while it was opened
                    video.stop()
            yield from follow_prompts(
                self._source, video, tracker, change.prompts, both=both, first=change.first
            )


def _merged(
    read: _Reads,
    tracker: Tracker,
    changes: Sequence[Change],
    journal: Journal | None,
    *,
    both: bool,
) -> Iterator[Results]:
    """Results of all objects, frame by frame."""
    streams: dict[int, Iterator[TrackResult]] = {}
    first = True
    for one in changes:
        if one.prompts:
            found = read.track(tracker, one, first=first, both=both)
            first = False
        else:
            found = _as_before(journal, one)
        streams[one.id] = _hiding(one, found)
    waiting = {number: next(stream, None) for number, stream in streams.items()}
    heads = {number: result for number, result in waiting.items() if result is not None}
    while heads:
        frame = min(result.frame for result in heads.values())
        now = {number: result for number, result in heads.items() if result.frame == frame}
        yield now
        for number in now:
            following = next(streams[number], None)
            if following is None:
                del heads[number]
            else:
                heads[number] = following


def _as_before(journal: Journal | None, change: Change) -> Iterator[TrackResult]:
    for number, result in journal or ():
        if number == change.id and result.frame >= change.first:
            yield result


def _hiding(change: Change, results: Iterator[TrackResult]) -> Iterator[TrackResult]:
    """The object is lost where somebody has hidden it, whatever the tracker has seen there."""
    for result in results:
        if change.stop is not None and result.frame >= change.stop:
            return
        hidden = change.hides(result.frame)
        yield replace(result, state="lost", score=0.0) if hidden else result
