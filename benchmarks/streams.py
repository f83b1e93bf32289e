"""Many streams on one engine: frames a second against the time that a frame waits for its answer.

    python benchmarks/streams.py --plot docs/images/streams.png --out docs/images/streams.json

Every stream hands over its next frame as soon as it has the answer to the last one. Frames are
decoded already; the time of one is that of a whole `Tracker.update` as its stream sees it. Settings
go in turns, so that what else the machine does falls on all of them alike. `--batch 1` is the same
engine without batches: each crop goes through it by itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import numpy as np  # noqa: E402

from mixformerv2.evaluation.speed import Clip, machine  # noqa: E402
from mixformerv2.tracking import StreamPool  # noqa: E402


def measure(pool: StreamPool, clip: Clip, streams: int, seconds: float) -> list[float]:
    """Milliseconds of every update of so many streams.

    The first five updates of a stream are not counted.
    """
    together = threading.Barrier(streams)
    times: list[list[float]] = [[] for _ in range(streams)]

    def run(place: int) -> None:
        with pool.stream() as tracker:
            tracker.init(clip.frames[0], clip.boxes[0])
            state, number = tracker.state, 0
            assert state is not None
            for _ in range(5):
                tracker.step(clip.frames[1], state)
            together.wait()
            end = time.perf_counter() + seconds
            while (start := time.perf_counter()) < end:
                # From the true first box each time, so that all crops cost alike.
                tracker.step(clip.frames[1 + (place + number) % 3], state)
                times[place].append(1000 * (time.perf_counter() - start))
                number += 1

    threads = [threading.Thread(target=run, args=(place,)) for place in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [value for one in times for value in one]


def plot(file: Path, rows: list[dict[str, Any]], title: str) -> None:
    """Latency over frames a second, a line for each bound; the points are numbers of streams."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for bound in dict.fromkeys((row["max_batch"], row["max_wait_ms"]) for row in rows):
        own = [row for row in rows if (row["max_batch"], row["max_wait_ms"]) == bound]
        speed = [row["frames_a_second"] for row in own]
        (line,) = axes.plot(
            speed,
            [row["p50_ms"] for row in own],
            marker="o",
            label=f"batches of at most {bound[0]}, wait {bound[1]:g} ms",
        )
        axes.plot(
            speed, [row["p95_ms"] for row in own], marker=".", linestyle=":", color=line.get_color()
        )
        for row in own:
            place = (row["frames_a_second"], row["p50_ms"])
            axes.annotate(str(row["streams"]), place, (3, -10), textcoords="offset points")
    axes.set(
        xlabel="frames a second, all streams",
        ylabel="ms of one update (solid p50, dotted p95)",
        yscale="log",
        title=title,
    )
    for ticks in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        ticks(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.savefig(file, dpi=110)


def main() -> None:
    """Measure, print, plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="t")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 16], help="bounds")
    parser.add_argument("--wait", type=float, default=5.0, help="ms that a crop may wait")
    parser.add_argument("--seconds", type=float, default=1.5, help="of each turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    clip = Clip.moving()
    pools = {
        bound: StreamPool(
            args.model, args.engine, args.threads, max_batch=bound, max_wait=args.wait / 1000
        )
        for bound in args.batch
    }
    found: dict[tuple[int, int], list[float]] = {}
    for _ in range(args.rounds):
        for bound, pool in pools.items():
            for streams in args.streams:
                found.setdefault((bound, streams), []).extend(
                    measure(pool, clip, streams, args.seconds)
                )
    info = next(iter(pools.values())).info
    rows = []
    for (bound, streams), times in found.items():
        p50, p95 = np.percentile(times, [50, 95])
        rows.append(
            {
                "max_batch": bound,
                "max_wait_ms": args.wait,
                "streams": streams,
                # Each stream is always in an update, so frames a second follow from their times.
                "frames_a_second": round(1000 * streams / float(np.mean(times)), 1),
                "p50_ms": round(float(p50), 2),
                "p95_ms": round(float(p95), 2),
            }
        )
    for pool in pools.values():
        pool.close()
    print("| at most | streams | frames a second | p50 ms | p95 ms |\n|---|---|---|---|---|")
    for row in rows:
        print("| {max_batch} | {streams} | {frames_a_second} | {p50_ms} | {p95_ms} |".format(**row))
    title = f"{args.model}, {info.name} {info.precision}, {info.threads} threads"
    if args.out:
        content = {"setting": title, "machine": machine(), "rows": rows}
        args.out.write_text(json.dumps(content, indent=2) + "\n")
    if args.plot:
        plot(args.plot, rows, title)


if __name__ == "__main__":
    main()
