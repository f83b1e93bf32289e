"""Draw one sheet for each augmentation, for docs/augmentations.md.

    python scripts/draw_augmentations.py [--out docs/images/augment]

The pictures are public-domain ones that come with scikit-image. Above, the search crops of some
samples with everything off; below, the same samples with one augmentation alone.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
from skimage import data as pictures

from mixformerv2.data.augment import AugmentConfig
from mixformerv2.data.bank import Bank
from mixformerv2.data.synthetic import SampleGenerator, SyntheticConfig

PROJECT = Path(__file__).resolve().parents[1]
COLUMNS = 5
GREEN = (80, 220, 80)
# What is cut out of each: a box around it, for GrabCut to start from.
OBJECTS = {
    "astronaut": (60, 5, 170, 245),
    "chelsea": (55, 10, 275, 240),
    "coffee": (70, 20, 230, 210),
    "rocket": (165, 10, 90, 220),
}
# Strengths at which an effect that some samples have is seen in nearly all.
STRENGTHS = {
    "shade": 8.0, "blur": 5.0, "detail": 4.0, "noise": 7.0, "jpeg": 5.0, "occluders": 4.0,
    "look_alikes": 1.4, "camouflage": 5.0, "cut_out": 3.0, "flip": 2.0, "change": 2.0,
    "shape": 1.5, "rotation": 1.5, "bend": 2.0, "light": 1.6, "colour": 1.4,
}  # fmt: skip


def write_bank(folder: Path) -> None:
    """A bank of four photographs with masks."""
    source = folder / "scikit-image"
    source.mkdir(parents=True)
    for name, box in OBJECTS.items():
        rgb = getattr(pictures, name)()
        height, width = rgb.shape[:2]
        scale = 256 / min(height, width)
        size = (round(width * scale), round(height * scale))
        image = cv2.resize(rgb[..., ::-1], size, interpolation=cv2.INTER_AREA)
        mask = np.zeros(image.shape[:2], np.uint8)
        cv2.setRNGSeed(0)
        cv2.grabCut(
            image, mask, box, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_RECT
        )
        solid = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
        solid = cv2.morphologyEx(solid, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
        cv2.imwrite(str(source / f"{name}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        cv2.imwrite(str(source / f"{name}_mask.png"), solid)


def row(generator: SampleGenerator, seeds: list[int]) -> np.ndarray:
    tiles = []
    for seed in seeds:
        sample = generator.sample(seed)
        side = sample.search.shape[0]
        tile = sample.search.copy()
        x1, y1, x2, y2 = (round(float(v) * side) for v in sample.box)
        cv2.rectangle(tile, (x1, y1), (x2 - 1, y2 - 1), GREEN, 1)
        tiles.append(cv2.copyMakeBorder(tile, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(255,) * 3))
    return np.hstack(tiles)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=PROJECT / "docs" / "images" / "augment")
    parser.add_argument("--bank", type=Path, help="another bank, to look at your own pictures")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names = [one.name for one in fields(AugmentConfig)]
    off = AugmentConfig(**dict.fromkeys(names, 0.0))
    # Large targets, so that small pictures in a page show something.
    plain = SyntheticConfig(
        stills=0, pairs=0, clips=0, absent=0, grey=0, search_size=144, search_factor=2.6,
        augment=off,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        if options.bank is None:
            write_bank(Path(folder) / "bank")
        bank = Bank(options.bank or Path(folder) / "bank")
        for name in (*names, "grey"):
            before = SampleGenerator(bank, plain, seed=5)
            if name == "grey":  # a share of samples, not a strength
                wanted = replace(plain, grey=1.0)
            else:
                changes = {name: STRENGTHS.get(name, 1.0)}
                wanted = replace(plain, augment=replace(off, **changes))
            after = SampleGenerator(bank, wanted, seed=5)
            changed = [
                seed
                for seed in range(40)
                if before.sample(seed).source == after.sample(seed).source != "composite:free_form"
                and not np.array_equal(before.sample(seed).search, after.sample(seed).search)
            ]
            seeds = changed[:COLUMNS]
            sheet = np.vstack([row(before, seeds), row(after, seeds)])
            path = options.out / f"{name}.jpg"
            cv2.imwrite(str(path), sheet, [cv2.IMWRITE_JPEG_QUALITY, 70])
            print(f"{path}: {path.stat().st_size / 1e3:.0f} KB, {len(seeds)} samples")


if __name__ == "__main__":
    main()
