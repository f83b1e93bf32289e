"""Two targets that look the same meet and part: how often does one take the other's place?

    python scripts/meet_twins.py [t] [--bank ../shared/data/train] [--clips 24] [--picture FILE]

A cut-out of the bank and its mirror image move over another picture, cross, meet and turn back, or
pass one another at rest; one of them is in front. Both are followed by `MultiTracker`, once with
`apart` and once without. Frames in which less than two fifths of a target is seen are not counted.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mixformerv2.box import XYWH, iou
from mixformerv2.data.bank import Bank, Cutout
from mixformerv2.tracking import MultiTracker, Tracker
from mixformerv2.tracking.result import TrackResult

Picture = NDArray[np.uint8]
WIDTH, HEIGHT, FRAMES = 640, 400, 90
WAYS = ("cross", "meet and turn back", "one rests")
SEEN = 0.4


@dataclass(frozen=True)
class Frame:
    """A picture, the two true boxes, and which share of each target is seen."""

    picture: Picture
    boxes: tuple[XYWH, XYWH]
    seen: tuple[float, float]


@dataclass
class Outcome:
    """Of one clip or of several: frames with a target, and what was answered in them."""

    counted: int = 0
    overlap: float = 0.0
    swapped: int = 0
    shared: int = 0
    lost: int = 0

    def __iadd__(self, other: Outcome) -> Outcome:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
        return self

    def line(self) -> str:
        """A row of the table."""
        cells = (self.overlap / self.counted, self.swapped, self.lost, self.shared)
        return f"| {cells[0]:.3f} | {cells[1]} | {cells[2]} | {cells[3]} |"


def twins(bank: Bank, seed: int, way: str) -> list[Frame]:
    """One clip, all of it by its seed."""
    rng = np.random.default_rng(seed)
    found = [n for n, one in enumerate(bank.segments) if one.box[2] * one.box[3] > 3000]
    actor = _sized(bank.cutout(int(rng.choice(found))), math.exp(rng.uniform(4.2, 4.7)))
    behind = bank.picture(int(rng.integers(len(bank.paths))))
    stage = cv2.resize(behind, (WIDTH + 80, HEIGHT + 80))
    phases, front = rng.uniform(0, 2 * math.pi, 4), int(rng.integers(2))
    frames = []
    for number in range(FRAMES):
        t = number / (FRAMES - 1)
        shift = [40 + 20 * math.sin(5 * t + phases[2]), 40 + 20 * math.cos(4 * t + phases[3])]
        x, y = (round(v) for v in shift)
        canvas = stage[y : y + HEIGHT, x : x + WIDTH].copy()
        owner = np.full((HEIGHT, WIDTH), -1)
        boxes, areas = [(0.0, 0.0, 0.0, 0.0)] * 2, [1, 1]
        for who in (1 - front, front):
            drift = 0.06 * math.sin(2 * math.pi * (1.5 - 0.3 * who) * t + phases[who])
            centre = (_across(way, t)[who] * WIDTH, (0.5 + drift) * HEIGHT)
            layer = actor[:, ::-1] if who else actor
            boxes[who], areas[who] = _paste(canvas, owner, layer, centre, who)
        seen = [float((owner == who).sum()) / areas[who] for who in (0, 1)]
        frames.append(Frame(canvas, (boxes[0], boxes[1]), (seen[0], seen[1])))
    return frames


def _across(way: str, t: float) -> tuple[float, float]:
    """Where the two are from left to right, 0 to 1, at a time from 0 to 1."""
    if way == "cross":
        return 0.15 + 0.7 * t, 0.85 - 0.7 * t
    if way == "one rests":
        return 0.5, 0.12 + 0.76 * t
    apart = 0.03 + 0.33 * abs(math.cos(math.pi * t))
    return 0.5 - apart, 0.5 + apart


def _sized(actor: Cutout, size: float) -> Picture:
    height, width = actor.bgra.shape[:2]
    scale = size / math.sqrt(width * height)
    shape = max(8, round(width * scale)), max(8, round(height * scale))
    return np.asarray(cv2.resize(actor.bgra, shape, interpolation=cv2.INTER_AREA), np.uint8)


def _paste(
    canvas: Picture, owner: NDArray[np.int64], layer: Picture, centre: tuple[float, float], who: int
) -> tuple[XYWH, int]:
    """Put a target down; its box in the picture, and how many pixels it has."""
    height, width = layer.shape[:2]
    x, y = round(centre[0] - width / 2), round(centre[1] - height / 2)
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + width, WIDTH), min(y + height, HEIGHT)
    part = layer[top - y : bottom - y, left - x : right - x]
    opaque = part[..., 3:] / 255.0
    place = canvas[top:bottom, left:right]
    place[:] = np.round(opaque * part[..., :3] + (1 - opaque) * place)
    owner[top:bottom, left:right][part[..., 3] > 127] = who
    box = (float(left), float(top), float(right - left), float(bottom - top))
    return box, max(1, int((layer[..., 3] > 127).sum()))


def follow(tracker: Tracker, frames: list[Frame]) -> Iterator[list[TrackResult]]:
    """The two results of each frame but the first."""
    multi = MultiTracker.around(tracker)
    for who, box in enumerate(frames[0].boxes):
        multi.add(frames[0].picture, box, id=who)
    for frame in frames[1:]:
        found = multi.update(frame.picture)
        yield [found[0], found[1]]


def judge(frames: list[Frame], answers: list[list[TrackResult]]) -> Outcome:
    """Count a clip's frames."""
    outcome = Outcome()
    for frame, found in zip(frames[1:], answers, strict=True):
        there = [one.state != "lost" for one in found]
        outcome.shared += all(there) and iou(found[0].box, found[1].box) >= 0.6
        for who in (0, 1):
            if frame.seen[who] < SEEN:
                continue
            own, other = (iou(found[who].box, frame.boxes[n]) for n in (who, 1 - who))
            outcome.counted += 1
            outcome.overlap += own
            outcome.lost += not there[who]
            outcome.swapped += there[who] and other > max(own, 0.5)
    return outcome


def draw(frames: list[Frame], rows: list[list[list[TrackResult]]]) -> Picture:
    """Some frames of a clip, one row for each run."""
    strips = []
    for answers in rows:
        shown = []
        for number in np.linspace(0, len(answers) - 1, 6).round().astype(int):
            picture = frames[number + 1].picture.copy()
            for one, colour in zip(answers[number], ((255, 140, 0), (0, 200, 255)), strict=True):
                x, y, w, h = (round(v) for v in one.box)
                thick = 1 if one.state == "lost" else 4
                cv2.rectangle(picture, (x, y), (x + w, y + h), colour, thick)
            shown.append(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
        strips.append(np.hstack(shown))
    return np.vstack(strips)


def main() -> None:
    """Run both, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", default="t")
    parser.add_argument("--bank", type=Path, default=Path("../shared/data/train"))
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--picture", type=Path, help="frames of all clips, for a look")
    given = parser.parse_args()
    bank = Bank(given.bank)
    names = {"each by itself": False, "apart": True}
    trackers = {name: Tracker(given.model, settings={"apart": on}) for name, on in names.items()}
    totals = {name: Outcome() for name in names}
    pictures = []
    for seed in range(given.clips):
        frames = twins(bank, seed, WAYS[seed % len(WAYS)])
        rows = []
        for name, tracker in trackers.items():
            rows.append(list(follow(tracker, frames)))
            totals[name] += judge(frames, rows[-1])
        pictures.append(draw(frames, rows))
        print(f"clip {seed + 1} of {given.clips}", flush=True)
    print("\n| | mean IoU | on the twin | lost | two on one |\n|---|---:|---:|---:|---:|")
    for name, outcome in totals.items():
        print(f"| {name} {outcome.line()}")
    print(
        f"\n{next(iter(totals.values())).counted} boxes with a target in view, frames for the rest"
    )
    if given.picture:
        cv2.imwrite(str(given.picture), np.vstack(pictures))


if __name__ == "__main__":
    main()
