"""A tiny benchmark on disk: a bright square that moves over grey."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mixformerv2.evaluation.benchmarks import write_truth


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three sequences of two families, five frames each, the square two pixels on each frame."""
    for number, name in enumerate(("fam_a", "fam_b", "other_c")):
        write_sequence(tmp_path / "root" / name, start=10 + number)
    return tmp_path / "root"


def write_sequence(folder: Path, start: int, frames: int = 5) -> None:
    """A white square of 8 pixels at (start + 2 * frame, 12)."""
    (folder / "img").mkdir(parents=True)
    truth = np.array([(start + 2.0 * i, 12.0, 8.0, 8.0) for i in range(frames)])
    for i, (x, y, w, h) in enumerate(truth.astype(int)):
        picture = np.full((40, 60, 3), 90, np.uint8)
        picture[y : y + h, x : x + w] = 255
        cv2.imwrite(str(folder / "img" / f"{i + 1:06d}.png"), picture)
    write_truth(folder / "groundtruth.txt", truth)
