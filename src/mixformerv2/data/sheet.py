"""A contact sheet of training samples, to be looked at: template, online template, search.

`python -m mixformerv2.data.sheet OUT.png --bank FOLDER` also logs how sizes and places of the
targets are spread.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from ..modules import run_module
from ..weights.files import write_whole
from .bank import Bank
from .check import plain_letters
from .synthetic import Sample, SampleGenerator, SyntheticConfig

__all__ = ["contact_sheet", "describe"]

log = logging.getLogger(__name__)
MIXTURE = ("composites", "stills", "pairs", "clips")


def _tile(sample: Sample) -> NDArray[np.uint8]:
    side = sample.search.shape[0]
    search = sample.search.copy()
    if sample.present:
        x1, y1, x2, y2 = (round(float(v) * side) for v in sample.box)
        cv2.rectangle(search, (x1, y1), (x2 - 1, y2 - 1), (0, 255, 0), 1)
    else:
        cv2.line(search, (0, 0), (side, side), (0, 0, 255), 1)
    half = side // 2
    small = [cv2.resize(v, (half, half)) for v in (sample.template, sample.online)]
    tile = np.full((side + 14, half + side + 6, 3), 40, np.uint8)
    tile[:half, :half], tile[half : 2 * half, :half] = small
    tile[:side, half : half + side] = search
    cv2.putText(
        tile,
        plain_letters(sample.source[:30]),
        (2, side + 10),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.3,
        (230, 230, 230),
        1,
    )
    return tile


def contact_sheet(samples: Sequence[Sample], columns: int = 8) -> NDArray[np.uint8]:
    """All samples in a grid, BGR; template over online template on the left of each search."""
    tiles = [_tile(sample) for sample in samples]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.asarray(np.vstack(rows), np.uint8)


def describe(samples: Sequence[Sample]) -> str:
    """How sources, sizes and places of the targets are spread."""
    boxes = np.stack([s.box for s in samples if s.present])
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    rows = {
        "relative size": np.sqrt(w * h),
        "aspect": w / np.maximum(h, 1e-6),
        "centre x": 0.5 * (boxes[:, 0] + boxes[:, 2]),
        "centre y": 0.5 * (boxes[:, 1] + boxes[:, 3]),
    }
    lines = [f"{len(samples)} samples, present {len(boxes) / len(samples):.3f}"]
    lines.append(str(dict(Counter(s.source.split(":")[0] for s in samples))))
    for name, values in rows.items():
        parts = " ".join(f"{v:.3f}" for v in np.percentile(values, [1, 10, 25, 50, 75, 90, 99]))
        lines.append(f"{name:14s} at 1 10 25 50 75 90 99 %: {parts}")
    guess = np.median(boxes, axis=0)
    low, high = np.maximum(boxes[:, :2], guess[:2]), np.minimum(boxes[:, 2:], guess[2:])
    inside = np.prod(np.clip(high - low, 0, None), axis=1)
    union = w * h + (guess[2] - guess[0]) * (guess[3] - guess[1]) - inside
    lines.append(
        f"mean IoU of the median box, a constant guess: {float((inside / union).mean()):.3f}"
    )
    return "\n".join(lines)


def _by_opencv(bank: Bank, config: SyntheticConfig, seed: int, count: int) -> list[Sample]:
    generator = SampleGenerator(bank, config, seed)
    bank.load()
    start = time.process_time()
    samples = [generator.sample(i) for i in range(count)]
    log.info("%.2f ms a sample", 1e3 * (time.process_time() - start) / count)
    return samples


def _by_tensors(bank: Bank, config: SyntheticConfig, seed: int, count: int) -> list[Sample]:
    from .tensors import TensorGenerator

    generator = TensorGenerator(bank, config, seed)
    start = time.process_time()
    batches = [generator.batch(number, 32) for number in range(-(-count // 32))]
    log.info("%.2f ms a sample", 1e3 * (time.process_time() - start) / (32 * len(batches)))
    samples = []
    for batch in batches:
        arrays = {name: values.cpu().numpy() for name, values in batch.items()}
        for i in range(32):
            row = {name: values[i] for name, values in arrays.items()}
            samples.append(
                Sample(
                    row["template"], row["online"], row["search"], row["box"],
                    bool(row["present"]), 1.0, "tensors",
                )
            )  # fmt: skip
    return samples[:count]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a sheet and log the figures."""
    parser = argparse.ArgumentParser(description="contact sheet of training samples")
    parser.add_argument("out", type=Path)
    parser.add_argument("--bank", type=Path, default=Path("../shared/data/train"))
    parser.add_argument("--clips", type=Path, help="folder of tracklets")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--statistics", type=int, default=1000, help="samples to describe")
    parser.add_argument("--only", choices=MIXTURE)
    parser.add_argument("--backend", choices=("opencv", "tensors"), default="opencv")
    options = parser.parse_args(arguments)
    if not cv2.haveImageWriter(plain_letters(str(options.out))):
        raise OutputError(f"{options.out} must end in .png or .jpg, or the like of a picture")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cv2.setNumThreads(0)
    config = SyntheticConfig()
    if options.only:
        composites, stills, pairs, clips = (float(options.only == name) for name in MIXTURE)
        config = SyntheticConfig(composites=composites, stills=stills, pairs=pairs, clips=clips)
    count = max(options.count, options.statistics)
    bank = Bank(options.bank)
    if options.clips is not None:
        bank.add_clips(options.clips)
    make = _by_tensors if options.backend == "tensors" else _by_opencv
    samples = make(bank, config, options.seed, count)
    _, data = cv2.imencode(options.out.suffix, contact_sheet(samples[: options.count]))
    write_whole(options.out, data.tobytes())
    log.info("%s", describe(samples))


if __name__ == "__main__":
    raise SystemExit(run_module(main))
