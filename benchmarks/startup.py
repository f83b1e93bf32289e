"""Start of a fresh process to the first box, and the memory of one with T.

Processes are started in turns: one that imports numpy, OpenCV and ONNX Runtime and no more, and
one for each engine that imports the package, loads T, and tracks into a second frame. The last
figure of each is what the engine's takes beyond the imports'.

    python benchmarks/startup.py --rounds 10
    python benchmarks/startup.py --cpu-time        # while others use the machine
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

ROOT = Path(__file__).resolve().parents[1]

IMPORTS = "import numpy, cv2, onnxruntime"
TRACK = """
import sys
import numpy as np
import mixformerv2 as mf
rng = np.random.default_rng(0)
frame = rng.integers(0, 256, (720, 1280, 3), np.uint8)
tracker = mf.Tracker("t", engine=sys.argv[1])
tracker.init(frame, (600, 300, 120, 90))
tracker.update(frame)
"""
MEMORY = """
for _ in range(50):
    tracker.update(frame)
kilobytes = [line for line in open("/proc/self/status") if line.startswith("VmHWM")][0].split()[1]
print(int(kilobytes) / 1024)
"""
GOALS = {"onnx": 0.25, "onnx-int8": 0.25, "openvino-fp32": 0.4, "openvino-int8": 0.4}
MEGABYTES = 250


def seconds(code: str, *given: str, cpu: bool, env: dict[str, str]) -> float:
    """Of a whole process, by the wall's clock or the processor's."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = perf_counter()
    subprocess.run([sys.executable, "-c", code, *given], check=True, env=env)
    wall = perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used if cpu else wall


def main() -> None:
    """Measure, print and compare with what was asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--engines", default=",".join(GOALS))
    parser.add_argument("--cpu-time", action="store_true", help="the processor's clock")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    args = parser.parse_args()
    engines = args.engines.split(",")
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "MIXFORMERV2_CACHE": cache, "PYTHONPATH": str(ROOT / "src")}
        if args.cpu_time:
            env["OMP_NUM_THREADS"] = "1"
        clock = {"cpu": args.cpu_time, "env": env}
        for engine in engines:  # fills the cache folder, and the system's
            seconds(TRACK, engine, **clock)
        beyond: dict[str, list[float]] = {engine: [] for engine in engines}
        bare = []
        for _ in range(args.rounds):
            bare.append(seconds(IMPORTS, **clock))
            for engine in engines:
                beyond[engine].append(seconds(TRACK, engine, **clock) - bare[-1])
        print(f"imports alone {median(bare):.3f} s")
        figures = {}
        for engine in engines:
            call = [sys.executable, "-c", TRACK + MEMORY, engine]
            done = subprocess.run(call, check=True, env=env, capture_output=True, text=True)
            memory = float(done.stdout)
            figures[engine] = {"beyond_imports_s": median(beyond[engine]), "megabytes": memory}
            asked = f"{GOALS[engine]:g}" if engine in GOALS else "nothing"
            print(
                f"{engine:14s} {median(beyond[engine]):+.3f} s beyond them "
                f"(asked: {asked}), at most {memory:.0f} MB (asked: {MEGABYTES})"
            )
    if args.out:
        args.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
