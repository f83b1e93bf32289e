"""Our int8 graphs beside those that NNCF makes of the same network.

    pip install '.[nncf,openvino]'
    python benchmarks/nncf_int8.py t

Both are calibrated on the crops of the demo clip that they are then held to: the distance of their
boxes from those in fp32, and the processor's time of a step on one thread, in turns in one run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from mixformerv2.export import export_int8
from mixformerv2.export.calibration import Crops, answers, distance, of_engine, read_crops
from mixformerv2.export.quantize import QUANTIZERS
from mixformerv2.runtime.base import Engine
from mixformerv2.runtime.select import load_engine
from mixformerv2.weights.bundle import find_bundle, read_config

ENGINES = ("onnx", "openvino")
STEPS = 16
"""Crops of a turn."""


def contestants(bundle: str, count: int, folder: Path) -> dict[str, Engine]:
    """All forms of a bundle in both engines, on one thread, fp32 in ONNX Runtime first."""
    runs = {}
    for engine in ENGINES:
        name = engine if engine == "onnx" else f"{engine}-fp32"
        runs[f"{engine}, fp32"] = load_engine(bundle, name, 1)[0]
    for quantizer in QUANTIZERS:
        made = folder / quantizer
        # A distance is what is asked for here, so none is refused.
        export_int8(bundle, made, count=count, limit=1.0, quantizer=quantizer)
        for engine in ENGINES:
            runs[f"{engine}, int8 ({quantizer})"] = load_engine(made, f"{engine}-int8", 1)[0]
    return runs


def race(runs: dict[str, Engine], crops: Crops, rounds: int) -> dict[str, float]:
    """Median processor's seconds of a step, turn by turn."""
    memories = {name: run.encode_templates(crops.templates[:1]) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    count = min(STEPS, len(crops.search))
    for _ in range(rounds):
        for name, run in runs.items():
            begin = time.process_time()
            for i in range(count):
                run.step(crops.search[i : i + 1], memories[name])
            times[name].append((time.process_time() - begin) / count)
    return {name: median(found) for name, found in times.items()}


def main() -> None:
    """Quantise, compare, time."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", nargs="?", default="t")
    parser.add_argument("--count", type=int, default=96, help="crops, of the demo clip")
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    tracker = read_config(find_bundle(options.bundle)).tracker
    crops = read_crops(tracker, count=options.count)
    with tempfile.TemporaryDirectory() as folder:  # OpenVINO reads files again for other shapes
        runs = contestants(options.bundle, options.count, Path(folder))
        times = race(runs, crops, options.rounds)
        expected = answers(of_engine(next(iter(runs.values()))), crops)
        print("| | median px | 95 % px | scores | ms of a step |\n|---|---:|---:|---:|---:|")
        for name, run in runs.items():
            boxes, scores = distance(answers(of_engine(run), crops), expected)
            print(
                f"| {name} | {tracker.search_size * np.median(boxes):.2f} | "
                f"{tracker.search_size * np.quantile(boxes, 0.95):.2f} | "
                f"{np.median(scores):.4f} | {1000 * times[name]:.1f} |"
            )


if __name__ == "__main__":
    main()
