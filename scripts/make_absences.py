"""Build clips in which the target is away for a while: real exits, and covered and cut sequences.

    python scripts/make_absences.py [--shared ../shared] [--out .work/absences]
    python scripts/calibrate.py t
    mixformerv2 eval t --root .work/absences/validation --long-term

Three folders in the layout of your own sequences, a row of zeros where the target is away:

- `exits`: targets that really leave in the clips of `tests/data/exits.csv`, marked by hand. They
  are unlabelled where they are in view, but for the first frame and those of `clips.csv`. Where
  a thing that looks the same stays in view, the name begins with `twin`: which of the two it is,
  a score cannot say.
- `validation` and `sequences`: sequences with truth, seen through a window of four fifths of the
  picture. A quarter of the frames has the target covered by a piece of its surroundings; half of
  those are cut out, and the window then stands elsewhere, so that the target comes back away from
  where it was. Short ones go on backward. Nothing of this is in git.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from make_validation import boxed_clips
from numpy.typing import NDArray

from mixformerv2.evaluation.benchmarks import Sequence, read_sequences, write_truth
from mixformerv2.video.source import open_source

PROJECT = Path(__file__).resolve().parents[1]
TABLES = PROJECT / "tests" / "data"
SHARE = 0.8
FRAMES = 150
SHORT = 60
Picture = NDArray[np.uint8]
Truth = NDArray[np.float64]


class Exit(NamedTuple):
    """A row of `exits.csv`: the target is in view from `start`, away from `gone` to `until`.

    `twin`: something that looks the same stays in view.
    """

    clip: str
    what: str
    twin: bool
    start: int
    box: tuple[float, float, float, float]
    gone: int
    until: int
    end: int


def main() -> None:
    """Build the folders anew."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shared", type=Path, default=PROJECT.parent / "shared")
    parser.add_argument("--validation", type=Path, default=PROJECT / ".work" / "validation")
    parser.add_argument("--out", type=Path, default=PROJECT / ".work" / "absences")
    arguments = parser.parse_args()
    data = arguments.shared / "data"
    for needed in (data / "videos", data / "sequences", arguments.validation):
        if not needed.is_dir():
            parser.exit(1, f"{needed} is not there; clips with absences are made of it\n")
    if arguments.out.exists():
        shutil.rmtree(arguments.out)
    for one in read_exits(TABLES / "exits.csv"):
        add_exit(data / "videos", one, arguments.out / "exits")
    sources = (("validation", arguments.validation), ("sequences", data / "sequences"))
    for name, root in sources:
        for sequence in read_sequences(root):
            if np.isfinite(sequence.truth).all():
                add_covered(sequence.first(FRAMES), arguments.out / name)


def read_exits(file: Path) -> list[Exit]:
    """The rows of a table of exits."""
    with file.open(newline="", encoding="utf-8") as rows:
        return [
            Exit(
                row["clip"],
                row["what"],
                row["twin"] == "yes",
                int(row["start"]),
                (float(row["x"]), float(row["y"]), float(row["w"]), float(row["h"])),
                *(int(row[name]) for name in ("gone", "until", "end")),
            )
            for row in csv.DictReader(rows)
        ]


def add_exit(videos: Path, one: Exit, out: Path) -> None:
    """The frames of one exit, with zeros while the target is away."""
    truth: Truth = np.full((one.end - one.start + 1, 4), np.nan)
    for frame, box in boxed_clips(TABLES / "clips.csv").get(one.clip, {}).items():
        # Of several targets in a clip the hand-made boxes belong to the one that starts there.
        if one.start <= frame < one.gone and one.box == box_at(one.clip, one.start):
            truth[frame - one.start] = box
    truth[0] = one.box
    truth[one.gone - one.start : one.until - one.start + 1] = 0.0
    kind = "twin" if one.twin else "exit"
    target = out / f"{kind}_{one.clip.split('_')[1].split('-')[0]}-{one.what.replace(' ', '-')}"
    (target / "img").mkdir(parents=True)
    file = next(path for path in videos.iterdir() if path.stem == one.clip)
    with open_source(file, start=one.start) as source:
        for frame in source:
            if frame.index > one.end:
                break
            if frame.image is None:
                raise SystemExit(f"{file}: frame {frame.index} is broken")
            save(target, frame.index - one.start, frame.image)
    write_truth(target / "groundtruth.txt", truth)


def box_at(clip: str, frame: int) -> tuple[float, float, float, float] | None:
    """The box that `clips.csv` has for a frame."""
    return boxed_clips(TABLES / "clips.csv").get(clip, {}).get(frame)


def add_covered(sequence: Sequence, out: Path) -> None:
    """A sequence whose target is covered for a while and comes back elsewhere."""
    order = list(range(len(sequence)))
    if len(order) < SHORT:
        order += order[-2:0:-1]
    away = range(2 * len(order) // 5, 13 * len(order) // 20)
    kept = [i for i in range(len(order)) if i not in away or (i - away.start) % 2 == 0]
    width, height = sequence.size
    size = (round(width * SHARE), round(height * SHARE))
    corners = [(x, y) for x in (0, width - size[0]) for y in (0, height - size[1])]
    before = fitting(corners, sequence.truth[[order[i] for i in kept if i < away.start]], size)
    after = fitting(corners, sequence.truth[[order[i] for i in kept if i >= away.stop]], size)
    pairs = [(a, b) for a in before for b in after]
    if not pairs:
        print(f"{sequence.name}: the target fills too much of the picture, left out")
        return
    first, second = max(pairs, key=lambda pair: np.hypot(*np.subtract(*pair)))
    target = out / f"{sequence.name}"
    (target / "img").mkdir(parents=True)
    rows = []
    for number, index in enumerate(kept):
        picture, box = sequence.frame(order[index]), sequence.truth[order[index]]
        left, top = first if index < away.stop else second
        covered = index in away
        if covered:
            picture = cover(picture, box)
        save(target, number, picture[top : top + size[1], left : left + size[0]])
        rows.append(np.zeros(4) if covered else box - (left, top, 0, 0))
    write_truth(target / "groundtruth.txt", np.array(rows))
    shift = np.hypot(*np.subtract(first, second))
    print(f"{sequence.name}: {len(kept)} frames, back after {shift:.0f} px")


def fitting(
    corners: list[tuple[int, int]], boxes: Truth, size: tuple[int, int]
) -> list[tuple[int, int]]:
    """The windows in which all boxes lie, but for a tenth of their sides."""
    low, high = boxes[:, :2] + 0.1 * boxes[:, 2:], boxes[:, :2] + 0.9 * boxes[:, 2:]
    return [
        corner
        for corner in corners
        if (low >= corner).all() and (high <= np.add(corner, size)).all()
    ]


def cover(picture: Picture, box: Truth) -> Picture:
    """The picture with the target's place, and a tenth around it, taken from beside it."""
    height, width = picture.shape[:2]
    x, y, w, h = box
    left, top = max(int(x - 0.1 * w), 0), max(int(y - 0.1 * h), 0)
    right, bottom = min(int(x + 1.1 * w) + 1, width), min(int(y + 1.1 * h) + 1, height)
    out = picture.copy()
    for dx, dy in shifts(right - left, bottom - top):
        if left + dx >= 0 and right + dx <= width and top + dy >= 0 and bottom + dy <= height:
            out[top:bottom, left:right] = picture[top + dy : bottom + dy, left + dx : right + dx]
            return out
    # Nowhere beside it: the mean colour, which is an absence all the same.
    out[top:bottom, left:right] = picture.reshape(-1, 3).mean(0)
    return out


def shifts(w: int, h: int) -> Iterator[tuple[int, int]]:
    """Places beside a box of this size, the nearest first."""
    yield from ((w, 0), (-w, 0), (0, h), (0, -h))
    yield from ((w, h), (-w, h), (w, -h), (-w, -h))


def save(target: Path, number: int, picture: Picture) -> None:
    """One frame as JPEG."""
    file = str(target / "img" / f"{number + 1:06d}.jpg")
    cv2.imwrite(file, picture, (cv2.IMWRITE_JPEG_QUALITY, 95))


if __name__ == "__main__":
    main()
