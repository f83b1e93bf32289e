"""Two targets in one place: only one of them can be right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..box import XYWH, Box, iou
from .frame import as_bgr
from .redetect import Trust
from .result import FPS, TrackResult
from .settings import TrackerSettings
from .state import TrackState

if TYPE_CHECKING:
    from .tracker import Tracker

__all__ = ["Doubles"]

Boxes = Mapping[int, XYWH]
Answers = dict[int, tuple[TrackResult, TrackState]]

_SAME = 0.6
"""IoU from which two boxes are as good as one. Targets that pass each other seldom reach it."""
_NEAR = 0.5
"""What a whole box of overlap with where a target just was counts beside a whole score. Of 0.25,
0.5 and 1 the one with the fewest boxes on the twin in `scripts/meet_twins.py`."""
_ATTACHED = 0.3
"""Targets that overlap so much where they begin, such as rider and horse, may do so later."""


class Doubles:
    """Settles whose the object is where two targets have nearly the same box.

    Each target is followed by itself, so two that look alike may end on one object. Then each of
    them looks a second time, with that place painted over. The object stays with the one that was
    nearer to it and loses more of its score without it. The other takes what it has found beside
    it, or is "lost" where it was before. Pairs that overlap where the later of them begins are
    left alone.

    Args:
        apart: Whether anything is settled; else such frames are only counted.

    Example:
        >>> doubles = Doubles()
        >>> doubles.begin(1, {1: (0, 0, 10, 10)})
        >>> doubles.begin(2, {1: (0, 0, 10, 10), 2: (50, 0, 10, 10)})
        >>> here = TrackResult((0, 0, 10, 10), 0.9, "tracked", 1, 0.1)
        >>> doubles.meeting({1: here, 2: here})
        [(1, 2)]
        >>> doubles.frames
        Counter({(1, 2): 1})
    """

    def __init__(self, apart: bool = True) -> None:
        self.frames: Counter[tuple[int, int]] = Counter()
        """Frames in which two targets had nearly the same box, by pair."""
        self._apart = apart
        self._attached: set[tuple[int, int]] = set()

    def begin(self, number: int, boxes: Boxes) -> None:
        """A target begins; `boxes` has it and those that are there already, in one frame."""
        for pair in [pair for pair in self.frames if number in pair]:
            del self.frames[pair]  # of an earlier target with this number
        self._attached |= {pair for pair in _overlapping(boxes, _ATTACHED) if number in pair}

    def end(self, number: int) -> None:
        """A target is followed no more; its number may come again for another one."""
        self._attached = {pair for pair in self._attached if number not in pair}

    def meeting(self, results: Mapping[int, TrackResult]) -> list[tuple[int, int]]:
        """Pairs that are in one place in a frame, and count as that; the lost are nowhere."""
        found = {n: one.box for n, one in results.items() if one.state != "lost"}
        pairs = [pair for pair in _overlapping(found, _SAME) if pair not in self._attached]
        self.frames.update(pairs)
        return pairs

    def settle(
        self, tracker: Tracker, frame: Any, before: Mapping[int, TrackState], answers: Answers
    ) -> Answers:
        """The answers of a frame where no two targets are in one place.

        Args:
            tracker: Who gave the answers.
            frame: What they are of.
            before: The states that it gave them from.
            answers: Result and state of each target.
        """
        found = _unsmoothed(answers)
        pairs = self.meeting(found)
        if not (pairs and self._apart):
            return answers
        rivals: dict[int, list[int]] = {}
        for one, other in pairs:
            rivals.setdefault(one, []).append(other)
            rivals.setdefault(other, []).append(one)
        again: Answers = {}
        states = {n: before[n].resized(*answers[n][1].frame_size) for n in rivals}
        for number, others in rivals.items():
            first, state = found[number], states[number]
            hidden = _without(frame, [found[n].box for n in (number, *others)])
            again[number] = tracker.step(hidden, _wide_awake(state), first.time)
        sure, second = tracker.settings.uncertain_below, _unsmoothed(again)
        claims = {n: _claim(states[n], found[n], second[n], sure) for n in rivals}
        settled = dict(answers)
        gone = _outbid(rivals, claims)
        for number in gone:
            del settled[number]
        for number in sorted(gone, key=lambda n: -again[n][0].score):
            result, after = again[number]
            missed = tracker.miss(states[number], result.time)
            # A long-term tracker that is lost stays where it should, or has a first sign of more.
            nowhere = result.state == "lost" and after.trust is None
            if nowhere or self._is_taken(number, after.box, settled):
                settled[number] = _lost(missed, states[number], tracker.settings)
            else:
                # Painted pictures give no template, and are not what the next frame looks like.
                settled[number] = result, replace(after, templates=missed[1].templates, seen=None)
        return {n: settled[n] for n in answers}

    def _is_taken(self, number: int, box: Box, others: Answers) -> bool:
        """Whether another target is where this one looked a second time."""
        boxes: dict[int, XYWH] = {
            n: one.box for n, one in _unsmoothed(others).items() if one.state != "lost"
        }
        pairs = _overlapping({**boxes, number: box}, _SAME)
        return any(number in pair and pair not in self._attached for pair in pairs)


def _unsmoothed(answers: Answers) -> dict[int, TrackResult]:
    """Results with the boxes that the network found: smooth ones come to a place later."""
    return {n: replace(result, box=after.box.xywh) for n, (result, after) in answers.items()}


def _wide_awake(state: TrackState) -> TrackState:
    """The state for a second look: at all of the search region, whether it seems at rest or not."""
    return replace(state, seen=None, motion=replace(state.motion, calm=0))


def _lost(
    missed: tuple[TrackResult, TrackState], before: TrackState, settings: TrackerSettings
) -> tuple[TrackResult, TrackState]:
    """A frame in which a target is lost where it was."""
    result, after = missed
    home = before.box if before.trust is None else before.trust.home
    trust = None if before.trust is None else Trust(home)
    motion = before.motion.after(home, home, "lost", 1 / FPS, settings)
    after = replace(after, target="lost", box=home, trust=trust, seen=None, motion=motion)
    return replace(result, box=after.answer(settings.min_size).xywh), after


def _claim(before: TrackState, first: TrackResult, second: TrackResult, sure: float) -> float:
    """What a target loses with a place: of its score, and in motion from where it was.

    A second look that is not sure counts as one that just is: who finds nothing beside the place
    has perhaps left the picture, and has no better claim for that.
    """
    was = before.box
    if before.target == "lost" and before.trust is not None:
        was = before.trust.home  # and not where a long-term tracker has just found something
    stays = iou(was, first.box) - iou(was, second.box)
    return first.score - max(second.score, sure) + _NEAR * stays


def _outbid(rivals: Mapping[int, list[int]], claims: Mapping[int, float]) -> set[int]:
    """Who gives way to a rival with more of a claim; who gives way takes nobody's place.

    Of equal claims that of the smaller number counts.
    """
    gone: set[int] = set()
    for number in sorted(rivals, key=lambda n: (-claims[n], n)):
        if number not in gone:
            gone.update(rivals[number])
    return gone


def _without(frame: Any, boxes: Iterable[XYWH]) -> NDArray[np.uint8]:
    """The picture with these places painted over in its mean colour."""
    picture = as_bgr(frame).copy()
    height, width = picture.shape[:2]
    colour = cv2.mean(picture)[:3]
    for x, y, w, h in boxes:
        left, right = (min(max(round(v), 0), width) for v in (x, x + w))
        top, bottom = (min(max(round(v), 0), height) for v in (y, y + h))
        picture[top:bottom, left:right] = colour
    return picture


def _overlapping(boxes: Boxes, least: float) -> Iterator[tuple[int, int]]:
    """Pairs of an IoU of at least `least`, the smaller number first."""
    numbers = sorted(boxes)
    if len(numbers) < 2:
        return
    x, y, w, h = np.array([boxes[n] for n in numbers], np.float64).T
    shared = _shared(x, w) * _shared(y, h)
    same = np.triu(shared >= least * (np.add.outer(w * h, w * h) - shared), 1)
    for i, j in np.argwhere(same):
        yield numbers[i], numbers[j]


def _shared(start: NDArray[np.float64], length: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of their length any two stretches have in common, `[N, N]`."""
    end = start + length
    common = np.minimum.outer(end, end) - np.maximum.outer(start, start)
    return np.asarray(np.maximum(common, 0.0))
