"""A small bank of drawn pictures, so that these tests need nothing from outside."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mixformerv2.data.bank import Bank


def _picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    coarse = rng.integers(0, 255, (8, 10, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _write(folder: Path, name: str, image: np.ndarray, mask: np.ndarray | None) -> None:
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / f"{name}.jpg"), image)
    if mask is not None:
        cv2.imwrite(str(folder / f"{name}_mask.png"), mask)


@pytest.fixture(scope="session")
def bank_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures with masks, one with a box, one plain, and two videos of five frames."""
    root = tmp_path_factory.mktemp("bank")
    rng = np.random.default_rng(3)
    for name in ("one", "two"):
        mask = np.zeros((120, 160), np.uint8)
        cv2.ellipse(mask, (60, 50), (30, 18), 20, 0, 360, 1, -1)
        cv2.rectangle(mask, (100, 60), (140, 100), 2, -1)
        _write(root / "masks", name, _picture(rng, 120, 160), mask)
    _write(root / "boxes", "three", _picture(rng, 100, 140), None)
    (root / "boxes" / "boxes.csv").write_text("id,x,y,w,h,label\nthree,20.5,30,50,40,thing\n")
    _write(root / "plain", "four", _picture(rng, 110, 130), None)
    for video in ("kept", "train"):
        for frame in range(5):
            mask = np.zeros((120, 200), np.uint8)
            cv2.circle(mask, (50 + 20 * frame, 60), 20, 1, -1)
            _write(root / "davis16_train", f"{video}_{frame:05d}", _picture(rng, 120, 200), mask)
    return root


@pytest.fixture(scope="session")
def bank(bank_folder: Path) -> Bank:
    """The small bank, read."""
    return Bank(bank_folder)
