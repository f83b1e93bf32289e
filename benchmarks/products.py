"""T's step against its own list of matrix products, run bare in the same shapes and precision.

All products of one step, each with data of its own, stand in one OpenVINO graph with nothing
between them; that graph and the search graph run in turns. What remains of the step beyond the
products is attention's softmax, norms, sums, preprocessing and the calls themselves. The share of
the peak is that of one product of 1024 in each direction.

    python benchmarks/products.py --model t --rounds 20
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import numpy as np  # noqa: E402

from mixformerv2.models.config import HEAD_WIDTH, ModelConfig, stem_channels  # noqa: E402
from mixformerv2.runtime._reports import import_openvino  # noqa: E402
from mixformerv2.runtime.select import load_engine  # noqa: E402

ov = import_openvino()
ops = ov.opset13

GOAL = 1.5
Shape = tuple[int, int, int, int, bool]
"""Batch, rows, shared, columns, and whether the right side is constant."""


def products(arch: ModelConfig, templates: int = 2) -> list[Shape]:
    """Every product of one step of one target, in the order in which they run."""
    c, hidden, p, d = arch.width, arch.hidden, arch.prediction_tokens, HEAD_WIDTH
    h, grid = c // d, arch.search_grid
    n, t = grid * grid + p, templates * arch.template_grid**2
    out: list[Shape] = []
    if arch.stem == "patch":
        out.append((1, grid * grid, 3 * arch.patch_size**2, c, True))
    else:
        before, side = 3, arch.search_size
        for after in stem_channels(c, arch.patch_size):
            side //= 2
            out.append((1, side * side, 9 * before, after, True))
            before = after
        out.append((1, grid * grid, before, c, True))
    for _ in range(arch.depth - 1):
        out += [(1, n, c, 3 * c, True), (h, n, d, n + t, False), (h, n, n + t, d, False)]
        out += [(1, n, c, c, True), (1, n, c, hidden, True), (1, n, hidden, c, True)]
    out += [(1, p, c, c, True), (h, p, d, c, True), (1, h * p, c, n, False), (h, p, d, t, False)]
    out += [(1, h * p, n, c, False), (h, p, t, d, False), (h, p, c, d, True)]
    out += [(1, p, c, c, True), (1, p, c, hidden, True), (1, p, hidden, c, True)]
    out += [(1, p, c, c, True), (1, p, c, arch.bins, True)]
    return [*out, (1, p, c, c, True), (1, p, c, 1, True)] if arch.score_head else out


def bare(shapes: list[Shape], int8: bool, threads: int) -> Any:
    """A function that runs all of them once."""
    rng = np.random.default_rng(0)
    given, answers, data = [], [], []

    def side(shape: tuple[int, ...], constant: bool, signed: bool) -> Any:
        dtype = (np.int8 if signed else np.uint8) if int8 else np.float32
        values = rng.integers(0, 100, shape).astype(dtype)
        node = ops.constant(values) if constant else ops.parameter(shape, dtype)
        if not constant:
            given.append(node)
            data.append(values)
        if not int8:
            return node
        return ops.multiply(ops.convert(node, np.float32), np.float32(0.01))

    for b, m, k, n, constant in shapes:
        lead = (b,) if b > 1 or not constant else (1,)
        left = side((*lead, m, k), False, False)
        right = side((b, k, n) if b > 1 or not constant else (k, n), constant, True)
        answers.append(ops.matmul(left, right, False, False))
    if int8:
        # OpenVINO looks for integer products only where something in the graph is rounded.
        spark = ops.parameter((1, 16), np.float32)
        low, high = np.float32(0), np.float32(2.55)
        answers.append(ops.fake_quantize(spark, low, high, low, high, 256))
        given.append(spark)
        data.append(np.ones((1, 16), np.float32))
    model = ov.Model(answers, given)
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    options["ENABLE_CPU_PINNING"] = False
    request = ov.Core().compile_model(model, "CPU", options).create_infer_request()
    return lambda: request.infer(data, share_inputs=True)


def race(runs: dict[str, Any], rounds: int, clock: Any) -> dict[str, list[float]]:
    """Milliseconds of each, the median of a turn of five after one that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()
            turn = []
            for _ in range(5):
                start = clock()
                run()
                turn.append(1000 * (clock() - start))
            times[name].append(median(turn))
    return times


def main() -> None:
    """Race, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="t", help="a shipped model or a bundle folder")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu-time", action="store_true", help="the processor's clock")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    args = parser.parse_args()
    clock = time.process_time if args.cpu_time else time.perf_counter
    rng = np.random.default_rng(0)
    runs: dict[str, Any] = {}
    engines = ["openvino-fp32", "openvino-int8"]
    for engine in engines:
        loaded, config = load_engine(args.model, engine, args.threads)
        arch = ModelConfig.from_dict(config.arch)
        shapes = products(arch)
        t, s = arch.template_size, arch.search_size
        memory = loaded.encode_templates(rng.integers(0, 256, (1, 2, t, t, 3), np.uint8))
        search = rng.integers(0, 256, (1, s, s, 3), np.uint8)
        runs[engine] = lambda loaded=loaded, memory=memory, search=search: loaded.step(
            search, memory
        )
        int8 = engine.endswith("int8")
        runs[f"{engine} bare"] = bare(shapes, int8, args.threads)
        runs[f"{engine} peak"] = bare([(1, 1024, 1024, 1024, True)], int8, args.threads)
    times = race(runs, args.rounds, clock)
    gigas = sum(2 * b * m * k * n for b, m, k, n, _ in shapes) / 1e9
    figures = {}
    for engine in engines:
        step, alone, peak = (median(times[engine + kind]) for kind in ("", " bare", " peak"))
        ratio = median(a / b for a, b in zip(times[engine], times[f"{engine} bare"], strict=True))
        top = 2 * 1.024**3 / peak * 1000
        figures[engine] = {
            "step_ms": step,
            "products_ms": alone,
            "step_over_products": ratio,
            "peak_giga_operations": top,
            "share_of_peak": gigas / step * 1000 / top,
            "products_share_of_peak": gigas / alone * 1000 / top,
        }
        print(
            f"{engine}: a step {step:.2f} ms, its {len(shapes)} products bare {alone:.2f} ms, "
            f"{ratio:.2f} times (asked: {GOAL}); {gigas:.3f} G operations; peak {top:.0f} G a "
            f"second, of which the step uses {gigas / step * 1000 / top:.0%}, the bare products "
            f"{gigas / alone * 1000 / top:.0%}"
        )
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
