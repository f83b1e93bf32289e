"""What somebody has changed in a label tool: boxes that hold, and where nothing is to be seen."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...box import Box
from ...tracking.result import TrackResult
from .journal import Journal
from .keyed import Keyed

__all__ = ["Change", "find_changes"]

_MOVED = 1.0
"""Pixels: tools round to a hundredth, and nobody mends by less than one."""

Rows = dict[int, TrackResult]
Stretches = tuple[tuple[int, int | None], ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One object, and what is to be done with it.

    Attributes:
        id: Its number.
        label: What it is; None where the file does not say.
        prompts: Boxes by frame that hold, in order. Of an object of the journal those that were
            given there, and the corrected ones; none where its results stay as they are.
        corrected: How many of them somebody has moved, or drawn anew.
        hidden: Stretches of frames in which somebody has hidden it, `[start, stop)`; None is the
            end of the video.
        first: The frame that it begins with.
        stop: The frame before which its results end, as those of the run before; None where they
            go as far as the video.
        known: Whether it is of the journal.
    """

    id: int
    label: str | None
    prompts: dict[int, Box]
    corrected: int
    hidden: Stretches
    first: int
    stop: int | None
    known: bool

    def hides(self, frame: int) -> bool:
        """Whether somebody has hidden the object in a frame."""
        return _within(frame, self.hidden)


def find_changes(objects: Sequence[Keyed], journal: Journal | None) -> list[Change]:
    """Compare the objects of a label tool's file with those of the run that it was made of.

    An object is that of the journal with which most of its boxes agree, for tools number anew.
    Without a journal, or where none of its boxes agrees with any, each of them holds.

    Args:
        objects: As `read_keyed` gives them.
        journal: Of the run before; None where there is none.
    """
    before: dict[int, Rows] = defaultdict(dict)
    given: dict[int, list[int]] = defaultdict(list)
    for target, frame in journal.header.given if journal else ():
        given[target].append(frame)
    for number, result in journal or ():
        before[number][result.frame] = result
    agreeing = _pairs(objects, before)
    # A new object gets a new number, unless nothing of the journal is left.
    taken = set(before) if agreeing else set()
    free = iter(sorted(set(range(1, len(objects) + len(taken) + 1)) - taken))
    return sorted(
        (
            _change(one, known, before[known], given[known])
            if (known := agreeing.get(index)) is not None
            else _change(one, next(free), {}, [])
            for index, one in enumerate(objects)
        ),
        key=lambda change: change.id,
    )


def _pairs(objects: Sequence[Keyed], before: dict[int, Rows]) -> dict[int, int]:
    """Which object of the journal each of the file is, the most alike first."""
    scores = [
        (sum(not _differs(box, rows.get(frame)) for frame, box in one.keys.items() if box), i, n)
        for i, one in enumerate(objects)
        for n, rows in before.items()
    ]
    found: dict[int, int] = {}
    for score, index, number in sorted(scores, key=lambda each: (-each[0], abs(each[1] - each[2]))):
        if score and index not in found and number not in found.values():
            found[index] = number
    return found


def _differs(box: Box, row: TrackResult | None) -> bool:
    if row is None:
        return True
    sides = zip(box.xyxy, Box(*row.box).xyxy, strict=True)
    return max(abs(one - other) for one, other in sides) > _MOVED


def _change(one: Keyed, number: int, rows: Rows, given: Sequence[int]) -> Change:
    frames = sorted(one.keys)
    # What the run had lost from its beginning on need not be in the file.
    early = [frame for frame in rows if frame < frames[0]]
    kept = all(rows[frame].state == "lost" for frame in early)
    first = min([frames[0], *early]) if kept else frames[0]
    hidden = tuple(_hidden(one, frames, rows)) if one.tells else ()
    stop = None
    if hidden and rows and hidden[-1][1] is None and hidden[-1][0] > max(rows):
        *most, (stop, _) = hidden  # the end that the run before had told the tool of
        hidden = tuple(most)
    after = {end for _, end in hidden if end is not None}
    corrected = {
        frame: box
        for frame, box in one.keys.items()
        if box and (not rows or frame in after or _is_new(one, box, rows.get(frame)))
    }
    prompts: dict[int, Box] = {}
    if corrected:
        # What was given stays, where nobody has thrown it out.
        holds = {
            f: b for f, b in _given(rows, given).items() if f >= first and not _within(f, hidden)
        }
        prompts = dict(sorted((holds | corrected).items()))
    return Change(number, one.label, prompts, len(corrected), hidden, first, stop, bool(rows))


def _given(rows: Rows, frames: Sequence[int]) -> dict[int, Box]:
    """Boxes that were given to the run before, on these frames: their score is 1.

    Where nobody has noted the frames, all of that score are taken for given.
    """
    if frames:
        # On frames that cannot be decoded a given box waits for the next.
        seen = sorted(frame for frame, row in rows.items() if row.score > 0.0)
        places = {bisect_left(seen, at) for at in frames} - {len(seen)}
        starts = [seen[place] for place in sorted(places)]
        return {f: Box(*rows[f].box) for f in starts if rows[f].score == 1.0}
    found = {frame: Box(*row.box) for frame, row in rows.items() if row.score == 1.0}
    if len(found) < sum(row.state != "lost" for row in rows.values()):
        return found
    return dict(list(found.items())[:1])  # a network without a score says 1 of every frame


def _within(frame: int, stretches: Stretches) -> bool:
    return any(start <= frame and (stop is None or frame < stop) for start, stop in stretches)


def _is_new(one: Keyed, box: Box, row: TrackResult | None) -> bool:
    """Whether a box is not what the run before has found, or is shown where that had lost it."""
    return _differs(box, row) or (one.tells and row is not None and row.state == "lost")


def _hidden(one: Keyed, frames: list[int], rows: Rows) -> Iterator[tuple[int, int | None]]:
    """Stretches that somebody has hidden; one that the run itself has begun to lose is none."""
    start: int | None = None
    for frame in frames:
        row = rows.get(frame)
        if one.keys[frame] is not None:
            if start is not None:
                yield start, frame
            start = None
        elif start is None and (row is None or row.state != "lost"):
            start = frame
    if start is not None:
        yield start, None
