"""How far boxes carried by the peer, by point tracks and by optical flow can be trusted.

Boxes are started on the truth of `--root` every `--every` frames, carried 30 frames on and back,
and compared with the truth after 10 and 30 frames: all of them, and those that `data.pseudo` would
keep because both ways agree on every frame.

    python scripts/measure_carriers.py --root ../shared/data/sequences --peer PEER --out table.md
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from mixformerv2.box import iou
from mixformerv2.data.datasets import AnnotatedSequence, read_dataset
from mixformerv2.data.pseudo import SHORT_SIDE, agreement, follow, make_teacher

SPAN = 30
Row = tuple[float, float, float, bool]  # IoU after 10 and 30 frames, share of the way, kept


def small(sequence: AnnotatedSequence, longest: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Frames with a short side of 256, as clips are labelled, and their boxes."""
    count = min(len(sequence), longest)
    first = sequence.frames[0]
    scale = SHORT_SIDE / min(first.shape[:2])
    size = (round(first.shape[1] * scale), round(first.shape[0] * scale))
    frames = [
        cv2.resize(sequence.frames[i], size, interpolation=cv2.INTER_AREA) for i in range(count)
    ]
    return frames, sequence.boxes[:count] * scale


def measure(teacher, frames: list[np.ndarray], boxes: np.ndarray, every: int) -> list[Row]:
    rows = []
    for start in range(0, len(frames) - SPAN, every):
        truth = boxes[start : start + SPAN + 1]
        if not np.isfinite(truth).all():
            continue
        part = frames[start : start + SPAN + 1]
        found = follow(teacher, part, tuple(float(v) for v in truth[0]))
        after = [
            iou(found[at], tuple(float(v) for v in truth[at])) if at < len(found) else 0.0
            for at in (10, SPAN)
        ]
        kept = len(found) == SPAN + 1 and all(agreement(teacher, part, found)[0])
        rows.append((after[0], after[1], len(found) / (SPAN + 1), kept))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("../shared/data/sequences"))
    parser.add_argument("--peer", type=Path, default=Path("../shared/data/peers/nanotrack_v2"))
    parser.add_argument("--every", type=int, default=30)
    parser.add_argument("--frames", type=int, default=300, help="at most so many of a sequence")
    parser.add_argument("--out", type=Path, help="write the table here too")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    found: dict[str, list[Row]] = {"peer": [], "points": [], "flow": []}
    still: list[Row] = []
    cost = dict.fromkeys(found, 0.0)
    for sequence in read_dataset(options.root):
        frames, boxes = small(sequence, options.frames)
        for by, rows in found.items():
            teacher = make_teacher(by, options.peer)
            begun = time.process_time()
            rows += measure(teacher, frames, boxes, options.every)
            cost[by] += time.process_time() - begun
        for start in range(0, len(frames) - SPAN, options.every):
            first, *rest = (tuple(map(float, boxes[start + at])) for at in (0, 10, SPAN))
            still.append((iou(first, rest[0]), iou(first, rest[1]), 1.0, True))
        print(f"{sequence.name}: {len(found['flow'])} starts so far", file=sys.stderr)
    lines = [
        "| boxes carried by | IoU after 10 | after 30 | kept | IoU of kept after 10 | after 30 "
        "| seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for by, rows in {**found, "nobody (they stay)": still}.items():
        every = np.array([row[:2] for row in rows])
        kept = np.array([row[3] for row in rows])
        best = every[kept].mean(0) if kept.any() else (float("nan"),) * 2
        share = "" if by not in cost else f"{kept.mean():.0%}"
        good = ("", "") if by not in cost else tuple(f"{v:.2f}" for v in best)
        lines.append(
            f"| {by} | {every[:, 0].mean():.2f} | {every[:, 1].mean():.2f} | {share} | {good[0]} "
            f"| {good[1]} | {f'{cost[by]:.0f}' if by in cost else ''} |"
        )
    text = f"{len(found['flow'])} starts\n" + "\n".join(lines) + "\n"
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
