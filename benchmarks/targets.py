"""Many targets: time per target of `MultiTracker` for 1 to 32, and how far from single tracking.

python benchmarks/targets.py --cpu-time --engine onnx
python benchmarks/targets.py --cpu-time --engine onnx --piece 32     # all crops in one pass

Counts go in turns: what else the machine does falls on all of them alike.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import numpy as np  # noqa: E402

from mixformerv2.evaluation.speed import Clip  # noqa: E402
from mixformerv2.runtime import onnx  # noqa: E402
from mixformerv2.tracking import MultiTracker, Tracker  # noqa: E402

COUNTS = (1, 2, 4, 8, 16, 32)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="t")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--piece", type=int, help="crops of one pass in ONNX Runtime, at most")
    parser.add_argument("--cpu-time", action="store_true", help="the processor's clock")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    args = parser.parse_args()
    clock = time.process_time if args.cpu_time else time.perf_counter
    if args.piece:
        onnx._PIECE = args.piece
    clip = Clip.moving()
    rng = np.random.default_rng(0)
    places = [clip.boxes[0]] + [
        (float(x), float(y), 100.0, 80.0) for x, y in rng.uniform((0, 0), (1100, 600), (31, 2))
    ]
    # Each as if it were alone: two that come to one place would look a second time.
    single = Tracker(args.model, args.engine, args.threads, settings={"apart": False})
    rows = []
    multis = {count: MultiTracker.around(single) for count in COUNTS}
    for count, multi in multis.items():
        for number, place in enumerate(places[:count]):
            multi.add(clip.frames[0], place, number)
        rows.append({"targets": count, "ms_per_target": 0.0, "apart_px": 0.0})
        states = [single.start(clip.frames[0], place)[1] for place in places[:count]]
        for frame in clip.frames[1:3]:
            together = multi.update(frame)
            for number, state in enumerate(states):
                result, states[number] = single.step(frame, state)
                apart = float(np.abs(np.subtract(result.box, together[number].box)).max())
                rows[-1]["apart_px"] = max(apart, rows[-1]["apart_px"])
    times: dict[int, list[float]] = {count: [] for count in COUNTS}
    for _ in range(args.rounds):
        for count, multi in multis.items():
            multi.update(clip.frames[3])
            for frame in clip.frames[4:7]:
                start = clock()
                multi.update(frame)
                times[count].append(1000 * (clock() - start) / count)
    for row in rows:
        row["ms_per_target"] = median(times[int(row["targets"])])
    print(f"{args.model} on {single.info.name} {single.info.precision}")
    print("| targets | ms for each | against one | furthest from single, px |\n|---|---|---|---|")
    for row in rows:
        share = row["ms_per_target"] / rows[0]["ms_per_target"]
        print(
            f"| {row['targets']} | {row['ms_per_target']:.2f} | {share:.2f} "
            f"| {row['apart_px']:.5f} |"
        )
    if args.out:
        args.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
