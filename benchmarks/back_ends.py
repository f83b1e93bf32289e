"""Samples a second of both back ends, in turns in one run, and how alike their samples are.

    python benchmarks/back_ends.py --bank bank.zip [--device cuda] [--batch 256] [--rounds 4]

On a CPU the time is the processor's own, of one thread, so that other programs do not count; on a
GPU it is that of the clock.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from mixformerv2.data.bank import Bank
from mixformerv2.data.synthetic import SampleGenerator, SyntheticConfig
from mixformerv2.data.tensors import TensorGenerator

Batch = dict[str, np.ndarray]


def statistics(batches: list[Batch]) -> dict[str, float]:
    """What the text of both back ends promises to be the same."""
    every = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
    shown = every["present"].astype(bool)
    box = every["box"][shown].astype(np.float64)
    span, centre = box[:, 2:] - box[:, :2], 0.5 * (box[:, 2:] + box[:, :2])
    view = every["search"].astype(np.float32)
    return {
        "share present": shown.mean(),
        "size of the box": np.sqrt(span.prod(1)).mean(),
        "spread of it": np.sqrt(span.prod(1)).std(),
        "log of its aspect, spread": np.log(span[:, 0] / span[:, 1]).std(),
        "centre x": centre[:, 0].mean(),
        "centre y": centre[:, 1].mean(),
        "brightness": view.mean() / 255,
        "contrast": view.std((1, 2, 3)).mean() / 255,
        "steps between neighbours": np.abs(np.diff(view, axis=2)).mean() / 255,
        "share black": (view.max(3) < 8).mean(),
        "share of grey samples": (np.ptp(view, axis=3).mean((1, 2)) < 2).mean(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bank", type=Path, default=Path("../shared/data/train"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    bank = Bank(options.bank)
    bank.load()
    mixes = {
        "composites": SyntheticConfig(stills=0, pairs=0, clips=0),
        "stills": SyntheticConfig(composites=0, pairs=0, clips=0),
        "pairs": SyntheticConfig(composites=0, stills=0, clips=0),
    }
    gpu = options.device.startswith("cuda")
    clock = time.perf_counter if gpu else time.process_time
    print(f"| samples | opencv a second | tensors a second ({options.device}) | ratio |")
    print("|---|---|---|---|")
    alike = []
    for name, config in mixes.items():
        opencv = SampleGenerator(bank, config, seed=1)
        tensors = TensorGenerator(bank, config, seed=1, device=options.device)

        def on_device(number: int, made: TensorGenerator = tensors) -> Batch:
            batch = made.batch(number, options.batch)
            if gpu:
                torch.cuda.synchronize()
            return {key: values.cpu().numpy() for key, values in batch.items()}

        def beside(number: int, made: SampleGenerator = opencv) -> Batch:
            return made.batch(number * options.batch, options.batch)

        makers: dict[str, Callable[[int], Batch]] = {"opencv": beside, "tensors": on_device}
        seconds = dict.fromkeys(makers, 0.0)
        found: dict[str, list[Batch]] = {key: [] for key in makers}
        for number in range(-1, options.rounds):  # the first round warms up
            for key, make in makers.items():
                begun = clock()
                batch = make(number + 1)
                seconds[key] += (clock() - begun) * (number >= 0)
                found[key].append(batch)
        rate = {key: options.rounds * options.batch / spent for key, spent in seconds.items()}
        ratio = rate["tensors"] / rate["opencv"]
        print(f"| {name} | {rate['opencv']:.0f} | {rate['tensors']:.0f} | {ratio:.2f} |")
        alike.append((name, *(statistics(found[key]) for key in makers)))
    for name, theirs, ours in alike:
        print(f"\n{name}: opencv, tensors")
        for key, value in theirs.items():
            print(f"  {key:26s} {value:6.3f} {ours[key]:6.3f}")


if __name__ == "__main__":
    main()
