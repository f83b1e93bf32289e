"""Samples a second of training, setting by setting, in turns in one process.

    python benchmarks/train_speed.py --rounds 5
    python benchmarks/train_speed.py --model mixformerv2_s --batches 8 16 --device cuda

A turn is a few whole steps (forward, backward, clipping, AdamW, moving average) on samples that
were made before; making them is timed apart, for other processes do it beside the steps. A ratio is
taken within each round against the first line, and the median over rounds is printed: on a machine
that does other things too, trust ratios, not samples a second.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import torch

from mixformerv2.training.config import TrainConfig, load_config
from mixformerv2.training.loop import Run

STEPS = 4


@dataclass
class Variant:
    """One line of the table."""

    label: str
    config: TrainConfig
    folder: Path
    threads: int
    times: list[float] = field(default_factory=list)
    first: float = 0.0
    why: str = ""
    run: Run | None = None
    clock: ClassVar[Callable[[], float]] = staticmethod(time.perf_counter)

    def start(self, batches: list[dict[str, torch.Tensor]]) -> None:
        """Set the run up and take the first step, which compiles."""
        torch.set_num_threads(self.threads)
        began = self.clock()
        try:
            self.run = Run(self.config, self.folder)
            self._step(batches[0])
        except Exception as error:  # a line of the table says why, the others go on
            self.why = f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"
            self.run = None
        self.first = self.clock() - began

    def _step(self, batch: dict[str, torch.Tensor]) -> None:
        assert self.run is not None
        size = self.config.optim.batch
        self.run._one(iter([{name: values[:size] for name, values in batch.items()}]))
        if self.run.fabric.device.type == "cuda":
            torch.cuda.synchronize()

    def turn(self, batches: list[dict[str, torch.Tensor]]) -> None:
        """Time a few steps; the first, which warms caches, is not counted."""
        if self.run is None:
            return
        torch.set_num_threads(self.threads)
        self._step(batches[0])
        began = self.clock()
        for number in range(STEPS):
            self._step(batches[number % len(batches)])
        spent = (self.clock() - began) / (STEPS * self.config.optim.batch)
        self.times.append(spent)


def main() -> int:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--model", default="mixformerv2_t")
    parser.add_argument("--bank", type=Path, default=Path("../shared/data/train"))
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 8, 32, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-compile", action="store_true", help="compiling takes a minute")
    parser.add_argument(
        "--cpu-time", action="store_true", help="processor time, for a busy machine; 1 thread"
    )
    parser.add_argument("--json", type=Path, help="write the figures there too")
    args = parser.parse_args()
    if args.cpu_time:
        Variant.clock, args.threads = staticmethod(time.process_time), 1
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        variants = _variants(args, Path(folder))
        batches, making = _batches(variants, args.bank)
        for variant in variants:
            print(f"setting up {variant.label} ...", file=sys.stderr, flush=True)
            variant.start(batches)
        for number in range(args.rounds):
            print(f"round {number + 1} of {args.rounds}", file=sys.stderr, flush=True)
            for variant in variants:
                variant.turn(batches)
        for variant in variants:
            if variant.run is not None:
                variant.run.monitor.close()
    _print(variants, making, args)
    return 0


def _variants(args: argparse.Namespace, folder: Path) -> list[Variant]:
    cores = args.threads
    base = [
        f"model.name={args.model}", f"bank={args.bank}", "workers=0", f"device={args.device}",
        "optim.steps=100000", "log_every=100000", "precision=32-true", f"threads={cores}",
    ]  # fmt: skip
    network = load_config(None, [*base, *_crops(args.model)]).network
    base += _crops(args.model)
    # A dense head needs bins in multiples of the tokens of a side; S and B go without.
    if network.prediction_tokens and network.bins % network.search_grid:
        base += [f"loss.{name}=0" for name in ("dense", "dense_ciou", "dense_to_sparse", "inside")]
    first = args.batches[0]
    wanted: list[tuple[str, list[str], int]] = [
        (f"fp32, batch {first}, {cores} thread{'s' * (cores > 1)}, fused", [], cores)
    ]
    wanted += [(f"batch {n}", [f"optim.batch={n}"], cores) for n in args.batches[1:]]
    wanted.append(("AdamW not fused", ["optim.fused=false"], cores))
    wanted.append(("channels-last weights", ["optim.channels_last=true"], cores))
    wanted.append(("bf16 autocast", ["precision=bf16-mixed"], cores))
    both = ["precision=bf16-mixed", "optim.channels_last=true"]
    wanted.append(("bf16 autocast, channels-last", both, cores))
    if args.device == "cpu" and cores > 1:
        wanted.append(("1 thread", ["threads=1"], 1))
        wanted.append(("1 thread, bf16 autocast, channels-last", ["threads=1", *both], 1))
    if not args.no_compile:
        wanted.append(("torch.compile", ["optim.compile=true"], cores))
        wanted.append(("torch.compile, bf16, channels-last", ["optim.compile=true", *both], cores))
    out = []
    for number, (label, changes, threads) in enumerate(wanted):
        config = load_config(None, [*base, f"optim.batch={first}", *changes])
        out.append(Variant(label, config, folder / str(number), threads))
    return out


def _crops(model: str) -> list[str]:
    from mixformerv2.models import model_config

    network = model_config(model)
    return [
        f"data.template_size={network.template_size}",
        f"data.search_size={network.search_size}",
    ]


def _batches(variants: list[Variant], bank: Path) -> tuple[list[dict[str, torch.Tensor]], float]:
    """Three batches of the largest size, and the seconds a sample takes to make."""
    from mixformerv2.data.synthetic import SampleGenerator

    config = variants[0].config
    size = max(variant.config.optim.batch for variant in variants)
    generator = SampleGenerator(bank, replace(config.data, clips=0.0), config.seed)
    generator.batch(10_000, size)  # decodes pictures that later samples find ready
    began = Variant.clock()
    made = [generator.batch(number * size, size) for number in range(3)]
    spent = (Variant.clock() - began) / (3 * size)
    return [{k: torch.from_numpy(v) for k, v in one.items()} for one in made], spent


def _print(variants: list[Variant], making: float, args: argparse.Namespace) -> None:
    base = variants[0].times
    rows = []
    print(f"\n{args.model}, PyTorch {torch.__version__}, {platform.processor() or 'CPU'}")
    print("by processor time" if args.cpu_time else "by the clock")
    print(f"{'setting':44} {'samples/s':>9} {'ratio':>6} {'first step':>10}")
    for variant in variants:
        if not variant.times:
            print(f"{variant.label:44} {variant.why}")
            continue
        ratios = [b / t for b, t in zip(base, variant.times, strict=True)]
        rate, ratio = 1 / statistics.median(variant.times), statistics.median(ratios)
        print(f"{variant.label:44} {rate:9.1f} {ratio:6.2f} {variant.first:8.1f} s")
        rows.append({"setting": variant.label, "samples_per_s": rate, "ratio": ratio})
    print(f"making a sample: {1000 * making:.2f} ms in one process ({1 / making:.0f} a second)")
    if args.json:
        args.json.write_text(json.dumps({"model": args.model, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
