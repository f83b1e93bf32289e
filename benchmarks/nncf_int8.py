"""Our int8 graphs beside those that NNCF makes of the same network, in OpenVINO.

    pip install '.[torch,openvino]' nncf
    python benchmarks/nncf_int8.py t

The same crops calibrate both. Printed are the distances of their boxes from those in fp32, and the
processor's time of a step on one thread, in turns in one run. NNCF makes files that OpenVINO alone
runs; ours are one pair for ONNX Runtime and OpenVINO.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import nncf
import numpy as np
import openvino as ov
from numpy.typing import NDArray

from mixformerv2.export.calibration import Answers, Crops, distance, read_crops
from mixformerv2.runtime.onnx import OnnxEngine
from mixformerv2.weights.bundle import find_bundle, read_config

Picture = NDArray[np.uint8]
Memory = NDArray[np.generic]
Step = Callable[[Picture, Memory], tuple[NDArray[np.floating], NDArray[np.floating]]]


def compiled(core: ov.Core, model: ov.Model | Path) -> Step:
    """A search graph as a function, in fp32 where it is not int8."""
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    network = core.compile_model(model, "CPU", hints)

    def step(search: Picture, memory: Memory) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        out = network({"search": search, "memory": memory})
        return out["boxes"], out["scores"]

    return step


def in_onnx_runtime(engine: OnnxEngine) -> Step:
    """The same of an engine that is there."""

    def step(search: Picture, memory: Memory) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        out = engine.step(search, memory)
        return out.boxes, out.scores

    return step


def answers(step: Step, crops: Crops, memories: list[Memory]) -> Answers:
    """Boxes and scores of all crops, one by one."""
    found = [step(crops.search[i : i + 1], memory) for i, memory in enumerate(memories)]
    return np.concatenate([one[0] for one in found]), np.concatenate([one[1] for one in found])


def memories_of(engine: OnnxEngine, crops: Crops) -> list[Memory]:
    """The memory of each crop's templates."""
    return [
        np.asarray(engine.encode_templates(crops.templates[i : i + 1]))
        for i in range(len(crops.search))
    ]


def main() -> None:
    """Quantise, compare, time."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", nargs="?", default="t")
    parser.add_argument("--count", type=int, default=96, help="crops, of the demo clip")
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    folder = find_bundle(options.bundle)
    config = read_config(folder)
    crops = read_crops(config.tracker, count=options.count)
    full = memories_of(OnnxEngine(folder / "template.onnx", folder / "search.onnx"), crops)
    ours = OnnxEngine(folder / "template.int8.onnx", folder / "search.int8.onnx", threads=1)
    small = memories_of(ours, crops)
    core = ov.Core()
    inputs = [
        {"search": crops.search[i : i + 1], "memory": memory} for i, memory in enumerate(full)
    ]
    made = nncf.quantize(
        core.read_model(folder / "search.onnx"),
        nncf.Dataset(inputs),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=options.count,
    )
    runs: dict[str, tuple[Step, list[Memory]]] = {
        "fp32": (compiled(core, folder / "search.onnx"), full),
        "int8, ours": (compiled(core, folder / "search.int8.onnx"), small),
        "int8, ours in ONNX Runtime": (in_onnx_runtime(ours), small),
        "int8, NNCF": (compiled(core, made), full),
    }
    expected = answers(*_call(runs["fp32"], crops))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, (step, memories) in runs.items():
            begin = time.process_time()
            for i, memory in enumerate(memories[:16]):
                step(crops.search[i : i + 1], memory)
            times[name].append((time.process_time() - begin) / 16)
    side = config.tracker.search_size
    print("| graph | median px | 95 % px | scores | ms of a step |\n|---|---:|---:|---:|---:|")
    for name, run in runs.items():
        boxes, scores = distance(answers(*_call(run, crops)), expected)
        print(
            f"| {name} | {side * np.median(boxes):.2f} | {side * np.quantile(boxes, 0.95):.2f} | "
            f"{np.median(scores):.4f} | {1000 * median(times[name]):.1f} |"
        )


def _call(run: tuple[Step, list[Memory]], crops: Crops) -> tuple[Step, Crops, list[Memory]]:
    return run[0], crops, run[1]


if __name__ == "__main__":
    main()
