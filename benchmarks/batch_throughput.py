"""Videos a minute of `mixformerv2 batch` against the number of workers, on one core, two, ...

    python benchmarks/batch_throughput.py --cores 2 --videos 16 --plot docs/images/batch.png

Each point is a whole run of the command: start of the workers and loading of the model included.
Runs go in turns, so that what else the machine does falls on all of them alike.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from mixformerv2.runtime.select import find_bundle

DEMO = find_bundle("t").parent / "demo.mp4"
BOX = "175,137,93,86"


def measure(folder: Path, workers: int, cores: int, frames: int, engine: str) -> float:
    """Seconds of one run on the first so many cores."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    words = ["batch", str(folder / "list.csv"), "--out", str(out), "--quiet"]
    how = ["--workers", str(workers), "--max-frames", str(frames), "--shard-size", "1"]
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "mixformerv2", *words, *how, "--inference", engine],
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, range(cores)),
    )
    return time.perf_counter() - began


def plot(file: Path, points: dict[str, list[tuple[int, float]]]) -> None:
    """Frames a second over workers, a line for each number of cores."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for name, values in points.items():
        axes.plot(*zip(*values, strict=True), marker="o", label=name)
    axes.set(xlabel="workers", ylabel="frames a second", ylim=(0, None))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=110)


def main() -> None:
    """Measure, print and plot."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    options.add_argument("--workers", type=int, nargs="*", help="1 to twice the cores")
    options.add_argument("--videos", type=int, default=16)
    options.add_argument("--frames", type=int, default=196, help="of each video")
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--inference", default="onnx")
    options.add_argument("--plot", type=Path)
    given = options.parse_args()
    best: dict[tuple[int, int], float] = defaultdict(lambda: float("inf"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(given.videos):
            (folder / f"{number}.mp4").symlink_to(DEMO)
        rows = [f"{number}.mp4,{BOX}" for number in range(given.videos)]
        (folder / "list.csv").write_text("\n".join(["video,x,y,w,h", *rows]))
        for _ in range(given.rounds):
            for cores in range(1, given.cores + 1):
                for workers in given.workers or range(1, 2 * cores + 1):
                    took = measure(folder, workers, cores, given.frames, given.inference)
                    best[cores, workers] = min(best[cores, workers], took)
    points: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for (cores, workers), took in sorted(best.items()):
        speed = given.videos * given.frames / took
        points[f"{cores} core{'s' * (cores > 1)}"].append((workers, speed))
    print(json.dumps({name: dict(values) for name, values in points.items()}, indent=2))
    if given.plot:
        plot(given.plot, points)


if __name__ == "__main__":
    main()
