"""Results of a job on disk, and what is still to be tracked.

Each object has boxes that were given by hand, by frame: its prompts. From each prompt the tracker
runs forward to the next one, and backward to the one before; between two prompts the two answers
are blended. Both passes are kept raw, one row of `COLUMNS` numbers a frame, so that a new prompt
only undoes the stretch between its neighbours. What is missing can be read off the rows: a stopped
or killed run goes on where it ended.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..box import XYWH
from ..tracking.blend import COLUMNS, blend_between, result_of
from ..tracking.result import TrackResult

__all__ = ["Direction", "Prompts", "Run", "Tracks", "plan"]

Direction = Literal["forward", "backward"]
Prompts = Mapping[int, Mapping[int, XYWH]]
"""Boxes given by hand: object, then frame."""

Rows = NDArray[np.float64]


class Run(NamedTuple):
    """A stretch of frames to track, from a prompt on.

    Attributes:
        objects: Numbers of the objects, all with a prompt on the same frame.
        direction: Towards later or earlier frames.
        prompt: Frame of the prompt.
        frontier: First frame without a result.
        stop: First frame that is not wanted any more; below the others when backward.
    """

    objects: tuple[int, ...]
    direction: Direction
    prompt: int
    frontier: int
    stop: int

    @property
    def frames(self) -> int:
        """Frames still to be tracked."""
        return abs(self.stop - self.frontier)


@dataclass(slots=True)
class Tracks:
    """The rows of all objects of one job.

    Args:
        folder: The job's folder.
        count: Frames of the video.
        writable: Whether missing files are made and rows can be set. Who only reads and undoes
            needs no room on the disk.
    """

    folder: Path
    count: int
    writable: bool = False

    def rows(self, number: int, direction: Direction) -> Rows:
        """Raw rows of one pass, `[count, COLUMNS]`, as they are on disk."""
        path = self._path(number, direction)
        if not self._is_whole(path):
            nothing = np.broadcast_to(np.nan, (self.count, COLUMNS))
            if not self.writable:
                return nothing
            path.write_bytes(nothing.tobytes())
        return self._mapped(path, self.writable)

    def forget(self, number: int, direction: Direction, start: int, stop: int) -> None:
        """Undo frames `start` to `stop`, the latter not included."""
        path = self._path(number, direction)
        if start < stop and self._is_whole(path):
            self._mapped(path, writable=True)[start:stop] = np.nan

    def remove(self, number: int) -> None:
        """Drop an object."""
        for kind in ("rows", "state", "look"):
            for path in self.folder.glob(f"{kind}-{number}-*.bin"):
                path.unlink(missing_ok=True)

    def _path(self, number: int, direction: Direction) -> Path:
        return self.folder / f"rows-{number}-{direction}.bin"

    def _is_whole(self, path: Path) -> bool:
        return path.is_file() and path.stat().st_size == self.count * COLUMNS * 8

    def _mapped(self, path: Path, writable: bool) -> Rows:
        return np.memmap(path, np.float64, "r+" if writable else "r", shape=(self.count, COLUMNS))

    def merged(
        self, number: int, prompts: Mapping[int, XYWH], start: int = 0, stop: int | None = None
    ) -> Rows:
        """What counts for one object in frames `start` to `stop`: `[frames, COLUMNS]`."""
        stop = self.count if stop is None else min(stop, self.count)
        forward = self.rows(number, "forward")[start:stop]
        backward = self.rows(number, "backward")[start:stop]
        out = np.where(np.isnan(forward), backward, forward)
        for before, after in itertools.pairwise(sorted(prompts)):
            low, high = max(before + 1, start), min(after, stop)
            if low < high:
                part = slice(low - start, high - start)
                both = ~np.isnan(forward[part, 0]) & ~np.isnan(backward[part, 0])
                frames = np.arange(low, high)
                mixed = blend_between((before, after), frames, forward[part], backward[part])
                out[part] = np.where(both[:, None], mixed, out[part])
        for frame, box in prompts.items():
            if start <= frame < stop:
                out[frame - start] = (*box, 1.0, 0.0)
        return out

    def results(
        self, number: int, prompts: Mapping[int, XYWH], times: NDArray[np.float64]
    ) -> Iterator[TrackResult]:
        """The merged rows as results, without the frames that were not tracked."""
        for frame, row in enumerate(self.merged(number, prompts)):
            if not np.isnan(row[0]):
                yield result_of(row, frame, float(times[frame]))


def neighbours(frames: list[int], frame: int, count: int) -> tuple[int, int]:
    """The prompts before and after a frame; -1 and `count` where there is none."""
    before = max((one for one in frames if one < frame), default=-1)
    return before, min((one for one in frames if one > frame), default=count)


def plan(prompts: Prompts, tracks: Tracks, *, backward: bool = True) -> list[Run]:
    """The runs that are missing, in the order in which they are to be made.

    Args:
        prompts: All boxes given by hand.
        tracks: What is there.
        backward: Whether frames before an object's first prompt are wanted too.
    """
    found: list[Run] = []
    for number, given in sorted(prompts.items()):
        frames = sorted(given)
        ahead, back = tracks.rows(number, "forward"), tracks.rows(number, "backward")
        for frame in frames:
            before, after = neighbours(frames, frame, tracks.count)
            gap = np.flatnonzero(np.isnan(ahead[frame:after, 0]))
            if gap.size:
                found.append(Run((number,), "forward", frame, frame + int(gap[0]), after))
            if before < 0 and not backward:
                continue
            gap = np.flatnonzero(np.isnan(back[before + 1 : frame, 0]))
            if gap.size:
                frontier = before + 1 + int(gap[-1])
                found.append(Run((number,), "backward", frame, frontier, before))
    return _together(found)


def _together(runs: list[Run]) -> list[Run]:
    """Runs over the same frames as one: the network takes their objects in one batch."""
    groups: dict[Any, Run] = {}
    for run in runs:
        known = groups.get(run[1:])
        objects = (*known.objects, *run.objects) if known else run.objects
        groups[run[1:]] = run._replace(objects=objects)
    # Forward first: it is what somebody watches.
    return sorted(groups.values(), key=lambda run: (run.direction != "forward", run.prompt))


def at_frame(result: TrackResult, frame: int, time: float) -> TrackResult:
    """The same result under the number and time that the video has for it."""
    return replace(result, frame=frame, time=time)
