"""S, B and T on a GPU, from a frame in the host's memory to boxes: frames a second by batch size.

    python benchmarks/gpu.py --out gpu.json                  # on a machine with CUDA
    python benchmarks/gpu.py --device cpu --quick            # the same at small size, anywhere

One figure is a whole `Tracker.step_all`: the frame goes to the device or is cropped before, then
network, boxes and states. Batch 1 is one target in one frame; larger batches are so many targets of
one frame, and a frame a second counts each of them. The share of the peak is that of one product
of two 4096 x 4096 matrices, measured here in the same precision. S and B have random weights: speed
does not depend on values. What cannot start here is named and left out. TensorRT builds an engine
for each batch size before its first frame, and `torch.compile` code for each, which takes minutes:
`--minutes` ends in time, `--engines` leaves some out. Batch 1 of all models and engines comes
first, and the file is written anew after each row: a run that is ended keeps what it has.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ENGINES = (
    "torch",
    "torch-bf16",
    "torch-bf16-compiled",
    "torch-bf16-compiled-crops",
    "onnx-cuda",
    "onnx-tensorrt",
)
GOALS = {"b": 1000.0, "s": 2000.0}
"""Frames a second at batch 1 that the project wants of one GPU."""


def bundle(name: str, folder: Path, graphs: bool) -> str | Path:
    """T as shipped; S and B with random weights, with ONNX graphs where an engine reads them."""
    from mixformerv2 import list_bundles
    from mixformerv2.export import export_bundle
    from mixformerv2.models import create
    from mixformerv2.weights import save_bundle

    if name in list_bundles():
        return name
    save_bundle(create(f"mixformerv2_{name}").eval(), folder / name, name=name)
    if graphs:
        export_bundle(folder / name)
    return folder / name


def peak(size: int, half: bool, rounds: int) -> float:
    """Operations a second of one product of square matrices on the device that engines take."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if half else torch.float32
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    times = []
    for _ in range(rounds + 2):
        start = time.perf_counter()
        a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * size**3 / median(times[2:])


def measure(model: str | Path, engine: str, batch: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of a whole update of so many targets, and what it costs."""
    import numpy as np

    from mixformerv2.evaluation.speed import Clip
    from mixformerv2.models.config import ModelConfig
    from mixformerv2.models.count import multiply_adds
    from mixformerv2.runtime.select import load_engine
    from mixformerv2.tracking import Tracker

    loaded, config = load_engine(model, engine)
    tracker, clip = Tracker.with_engine(loaded, config), Clip.moving()
    places = np.random.default_rng(0).uniform((0, 0), (1100, 600), (batch - 1, 2))
    boxes = [clip.boxes[0], *((float(x), float(y), 100.0, 80.0) for x, y in places)]
    states = [tracker.start(clip.frames[0], box)[1] for box in boxes]
    times = []
    for number in range(rounds + 3):  # the first ones compile, capture and fill caches
        frame = clip.frames[1 + number % 3]
        start = time.perf_counter()
        tracker.step_all(frame, states)
        times.append(1000 * (time.perf_counter() - start))
    p50, p95 = np.percentile(times[3:], [50, 95])
    info = loaded.info
    return {
        "engine": engine,
        "device": info.device,
        "precision": info.precision,
        "batch": batch,
        "p50_ms": round(float(p50), 3),
        "p95_ms": round(float(p95), 3),
        "frames_a_second": round(1000 * batch / float(p50), 1),
        "giga_operations": 2 * batch * multiply_adds(ModelConfig.from_dict(config.arch)) / 1e9,
    }


def forget_compiled() -> None:
    """Free what a row compiled: it keeps its network and CUDA graphs on the device."""
    import torch

    torch.compiler.reset()


def one_line(error: Exception) -> str:
    """What went wrong, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def device_name() -> str:
    """What runs the products."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"


def main(words: list[str] | None = None) -> None:
    """Measure all that can be loaded here, print and keep the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["s", "b", "t"])
    parser.add_argument("--engines", nargs="+", default=list(ENGINES))
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="T alone, batches 1 and 2")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="start no further row after so long"
    )
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    args = parser.parse_args(words)
    if args.quick:
        args.models, args.batches, args.rounds = ["t"], [1, 2], 3
        args.engines = ["torch", "torch-bf16", "torch-crops"]
    if args.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before PyTorch looks
    run(args)


def run(args: argparse.Namespace) -> None:
    """Measure in the order of the batches, for as long as there is time."""
    from mixformerv2.evaluation.speed import machine

    end = time.monotonic() + 60 * args.minutes
    size = 256 if args.quick else 4096
    peaks = {name: peak(size, name == "bf16", args.rounds) for name in ("fp32", "bf16")}
    content: dict[str, Any] = {
        "device": device_name(),
        "machine": machine(),
        "product": size,
        "peak_tera_operations": {name: value / 1e12 for name, value in peaks.items()},
        "rows": [],
        "left_out": [],
    }
    rows, left_out = content["rows"], content["left_out"]
    cases = [(b, m, e) for b in args.batches for m in args.models for e in args.engines]
    refused: set[tuple[str, str]] = set()
    print("| model | engine | batch | p50 ms | p95 ms | frames a second | share of the peak |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        graphs = any(engine.startswith("onnx") for engine in args.engines)
        bundles = {name: bundle(name, Path(folder), graphs) for name in args.models}
        for done, (batch, name, engine) in enumerate(cases):
            if time.monotonic() > end:
                said = (
                    f"--minutes {args.minutes:g} are over: {len(cases) - done} rows were not tried"
                )
                left_out.append({"why": said})
                print(said, file=sys.stderr)
                break
            if (name, engine) in refused:
                continue
            try:
                row = {"model": name} | measure(bundles[name], engine, batch, args.rounds)
                if "compiled" in engine:
                    forget_compiled()
            except Exception as error:  # of one row: out of memory, no compiler, a driver's own
                refused.add((name, engine))  # larger batches would fail too
                case = {"model": name, "engine": engine, "batch": batch, "why": one_line(error)}
                left_out.append(case)
                print(f"{name} {engine} {batch}: {case['why']}", file=sys.stderr)
                keep(args.out, content)
                continue
            used = row["giga_operations"] * 1e12 / row["p50_ms"]
            row["share_of_peak"] = round(used / peaks[row["precision"]], 4)
            rows.append(row)
            print(
                f"| {name} | {engine} | {batch} | {row['p50_ms']} | {row['p95_ms']} | "
                f"{row['frames_a_second']} | {row['share_of_peak']:.1%} |",
                flush=True,
            )
            keep(args.out, content)
    for name, goal in GOALS.items():
        alone = [r["frames_a_second"] for r in rows if r["model"] == name and r["batch"] == 1]
        if alone:
            print(f"{name} at batch 1: {max(alone):.0f} frames a second at best (goal: {goal:.0f})")
    keep(args.out, content)


def keep(path: Path | None, content: dict[str, Any]) -> None:
    """The figures up to now; whoever ends the run in the middle finds the last whole file."""
    if path is None:
        return
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, indent=2) + "\n")
    os.replace(part, path)


if __name__ == "__main__":
    main()
