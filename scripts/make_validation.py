"""Build the validation set: sequences to choose training runs by, apart from the final test.

It takes the videos of DAVIS that training leaves out (`VALIDATION_VIDEOS`), boxed from their
masks, and the clips of `tests/data/clips.csv` that were boxed by hand in several frames; their
frames in between are unlabelled. Nothing of it is in git.

    python scripts/make_validation.py [--shared ../shared] [--out .work/validation]
    mixformerv2 eval BUNDLE --root .work/validation --max-frames 0
"""

from __future__ import annotations

import argparse
import csv
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mixformerv2.data.bank import VALIDATION_VIDEOS, VIDEO_SOURCE, Bank
from mixformerv2.data.warp import bounds
from mixformerv2.evaluation.benchmarks import read_sequences, write_truth
from mixformerv2.video.source import open_source

PROJECT = Path(__file__).resolve().parents[1]
Labels = dict[int, tuple[float, float, float, float]]


def main() -> None:
    """Build the folder anew and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shared", type=Path, default=PROJECT.parent / "shared")
    parser.add_argument("--out", type=Path, default=PROJECT / ".work" / "validation")
    arguments = parser.parse_args()
    data = arguments.shared / "data"
    if not data.is_dir():
        parser.exit(1, f"{data} is not there; the validation set is made of its clips\n")
    if arguments.out.exists():
        shutil.rmtree(arguments.out)
    add_videos(data / "train" / VIDEO_SOURCE, arguments.out)
    for name, labels in boxed_clips(PROJECT / "tests" / "data" / "clips.csv").items():
        if len(labels) > 1:
            add_clip(data / "videos", name, labels, arguments.out)
    for sequence in read_sequences(arguments.out):
        labelled = int(np.isfinite(sequence.truth).all(axis=1).sum())
        print(f"{sequence.name}: {len(sequence)} frames, {labelled} labelled")


def add_videos(source: Path, out: Path, held_out: bool = True) -> None:
    """The held-out videos, or all others, as pictures, boxed from their masks."""
    with tempfile.TemporaryDirectory() as folder:
        # A bank of this source alone: reading the masks of all the others takes longer.
        (Path(folder) / VIDEO_SOURCE).symlink_to(source.resolve())
        bank = Bank(Path(folder), hold_out=())
        for name, frames in sorted(bank.videos.items()):
            if (name in VALIDATION_VIDEOS) != held_out:
                continue
            target = out / f"davis_{name}"
            (target / "img").mkdir(parents=True)
            boxes = np.array([bounds(frame.outline) for frame in frames], np.float64)
            boxes[:, 2:] -= boxes[:, :2]
            for number, frame in enumerate(frames, 1):
                shutil.copyfile(bank.paths[frame.picture], target / "img" / f"{number:06d}.jpg")
            write_truth(target / "groundtruth.txt", boxes)


def boxed_clips(file: Path) -> dict[str, Labels]:
    """For each clip the frames that were boxed by hand."""
    clips: dict[str, Labels] = {}
    with file.open(newline="", encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            x, y, w, h = (float(row[side]) for side in "xywh")
            clips.setdefault(row["name"], {})[int(row["frame"])] = (x, y, w, h)
    return clips


def add_clip(videos: Path, name: str, labels: Labels, out: Path) -> None:
    """The frames of a clip from the first boxed one to the last, NaN truth in between."""
    first, last = min(labels), max(labels)
    target = out / name
    (target / "img").mkdir(parents=True)
    truth: NDArray[np.float64] = np.full((last - first + 1, 4), np.nan)
    for frame, box in labels.items():
        truth[frame - first] = box
    file = next(path for path in videos.iterdir() if path.stem == name)
    with open_source(file, start=first) as source:
        for picture in source:
            if picture.index > last:
                break
            if picture.image is None:
                raise SystemExit(f"{file}: frame {picture.index} is broken")
            number = picture.index - first + 1
            jpeg = (cv2.IMWRITE_JPEG_QUALITY, 95)
            cv2.imwrite(str(target / "img" / f"{number:06d}.jpg"), picture.image, jpeg)
    write_truth(target / "groundtruth.txt", truth)


if __name__ == "__main__":
    main()
