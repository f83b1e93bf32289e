"""Speed against the published way: what `make bench` runs, and the README's figures come from.

S and B with the weights of the golden recipe, whole `update` on 720p frames: the published way,
which never changes, and this package's engines, in turns in one run. T, ours, runs beside them.

    python benchmarks/run.py --models s --rounds 4
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import cv2  # noqa: E402
import torch  # noqa: E402
from benchmarks.published_way import PublishedNet, PublishedTracker  # noqa: E402
from tests.golden import weights as golden  # noqa: E402

from mixformerv2.evaluation.speed import (  # noqa: E402
    BundleRunner,
    Clip,
    Pace,
    Runner,
    Update,
    race,
)
from mixformerv2.export import export_bundle, export_int8  # noqa: E402
from mixformerv2.weights import from_official, save_bundle  # noqa: E402
from mixformerv2.weights.bundle import list_bundles  # noqa: E402

ENGINES = ("onnx", "openvino-fp32", "openvino", "onnx-int8", "openvino-int8")
PUBLISHED = "published way"
INT8_CROPS = 8
"""To calibrate random weights with: speed does not depend on values."""
GOALS = (
    ("s", "the best fp32 engine", ("onnx", "openvino-fp32"), 2.5),
    ("s", "OpenVINO at its fastest precision", ("openvino", "openvino-int8"), 3.5),
    ("s", "the fastest of all", ENGINES, 6.0),
    ("b", "the fastest of all", ENGINES, 4.0),
)


class PublishedRunner:
    """The yardstick, which takes RGB frames as the published tracker does."""

    def __init__(self, net: PublishedNet, clip: Clip, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.boxes = clip.boxes
        self.frames = [cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) for frame in clip.frames]
        self.tracker = PublishedTracker(net)
        self.tracker.init(self.frames[0], self.boxes[0])

    def update(self, frame: int) -> Update:
        """Seconds of the whole update; of its network alone is not asked."""
        self.tracker.box = self.boxes[frame - 1]
        start = self.clock()
        self.tracker.update(self.frames[frame])
        return Update(self.clock() - start)


def bundle(name: str, folder: Path) -> str | Path:
    """A bundle with graphs: published architectures with golden weights, ours as shipped."""
    if name in list_bundles():
        return name
    model = from_official(golden.state_dict(f"mixformerv2_{name}"))
    save_bundle(model, folder / name, name=name)
    export_bundle(folder / name)
    export_int8(folder / name, count=INT8_CROPS, limit=1.0)
    return folder / name


def runners(
    models: list[str], clip: Clip, threads: int, clock: Callable[[], float], folder: Path
) -> dict[str, Runner]:
    """Name to contestant; the published way of a model stands before its engines."""
    out: dict[str, Runner] = {}
    for name in models:
        print(f"preparing {name} ...", file=sys.stderr, flush=True)
        made = bundle(name, folder)
        if name not in list_bundles():
            net = PublishedNet(golden.state_dict(f"mixformerv2_{name}"))
            out[f"{name} {PUBLISHED}"] = PublishedRunner(net, clip, clock)
        for engine in ENGINES:
            out[f"{name} {engine}"] = BundleRunner(made, clip, engine, threads, clock)
    return out


def rows(contestants: dict[str, Runner], paces: dict[str, Pace]) -> list[dict[str, Any]]:
    """Figures of each contestant, with its ratio to the published way of the same model."""
    out = []
    for name, pace in paces.items():
        model, _, way = name.partition(" ")
        runner = contestants[name]
        row = {
            "model": model,
            "way": way,
            "precision": runner.info.precision if isinstance(runner, BundleRunner) else "fp32",
            "milliseconds": round(pace.milliseconds, 2),
            "updates_per_second": round(pace.per_second, 1),
        }
        if isinstance(runner, BundleRunner):
            row["outside_network_ms"] = round(pace.outside_milliseconds, 3)
        yardstick = paces.get(f"{model} {PUBLISHED}")
        if yardstick is not None:
            row["times_published"] = round(pace.times_faster(yardstick), 2)
        out.append(row)
    return out


def goals(figures: list[dict[str, Any]]) -> list[str]:
    """One line for each goal, with what was reached."""
    lines = []
    for model, what, ways, goal in GOALS:
        reached = [
            (row["times_published"], row["way"])
            for row in figures
            if row["model"] == model and row["way"] in ways
        ]
        if reached:
            best, way = max(reached)
            name = model.upper()
            lines.append(
                f"{name}, {what} ({way}): {best:.2f} times the published way, asked: {goal:g}"
            )
    return lines


def table(figures: list[dict[str, Any]]) -> str:
    """The figures as a Markdown table, ready for a README."""
    head = ("model", "way", "precision", "ms", "a second", "times published", "outside network")
    cells = [
        (
            row["model"],
            row["way"],
            row["precision"],
            f"{row['milliseconds']:.1f}",
            f"{row['updates_per_second']:.0f}",
            f"{row['times_published']:.2f}" if "times_published" in row else "",
            f"{row['outside_network_ms']:.2f} ms" if "outside_network_ms" in row else "",
        )
        for row in figures
    ]
    widths = [max(len(line[i]) for line in (head, *cells)) for i in range(len(head))]
    rule = tuple("-" * width for width in widths)
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in (head, rule, *cells)
    )


def machine(threads: int) -> dict[str, Any]:
    """What the figures depend on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    packages = ("torch", "onnxruntime", "openvino", "opencv-python-headless", "numpy")
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "threads": threads,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def main() -> None:
    """Race, print, and keep the figures under `benchmarks/results`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="s,b,t,t224", help="s, b, shipped ones; by commas")
    parser.add_argument("--rounds", type=int, default=6, help="turns that each contestant gets")
    parser.add_argument("--block", type=int, default=3, help="counted updates of a turn")
    parser.add_argument("--threads", type=int, default=2, help="of each contestant")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="for a machine that others use: one thread, and the processor's time instead of "
        "the clock's",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results")
    args = parser.parse_args()
    models = args.models.split(",")
    known = ["s", "b", *list_bundles()]
    if not set(models) <= set(known):
        parser.error(f"--models takes {', '.join(known)}, got {args.models}")
    # Threads that wait for one another spin, which would count as work.
    threads = 1 if args.cpu_time else args.threads
    clock = time.process_time if args.cpu_time else time.perf_counter
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    clip = Clip.moving()
    with tempfile.TemporaryDirectory() as folder:
        contestants = runners(models, clip, threads, clock, Path(folder))
        paces = race(contestants, frames=len(clip.frames), rounds=args.rounds, block=args.block)
        figures = rows(contestants, paces)
    print(table(figures))
    for line in goals(figures):
        print(line)
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    content = {
        "machine": machine(threads),
        "clock": "processor" if args.cpu_time else "wall",
        "rounds": args.rounds,
        "rows": figures,
    }
    file.write_text(json.dumps(content, indent=2) + "\n")
    print(f"figures: {file}")


if __name__ == "__main__":
    main()
