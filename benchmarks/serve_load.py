"""How many live streams a server holds at 30 pictures a second.

Each stream sends the demo clip as JPEGs over a WebSocket, one every 33 ms, whatever comes back.
A stream is held when nearly all pictures are answered in time: the server drops what comes too
fast. Sender and server share the machine, so the figures are on the safe side.

    python benchmarks/serve_load.py --streams 1 2 4 --seconds 20 --out load.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import websockets

from mixformerv2.video import open_source
from serving import BOX, DEMO, Running, running

RATE = 30.0


def pictures() -> list[bytes]:
    with open_source(DEMO) as source:
        return [
            bytes(cv2.imencode(".jpg", f.image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())
            for f in source
            if f.image is not None
        ]


async def stream(
    address: str, clip: list[bytes], seconds: float, all_ready: asyncio.Barrier
) -> dict[str, Any]:
    """One stream for so many seconds from when all are ready; the first second does not count."""
    place = address.replace("http", "ws") + "api/live"
    sent: dict[int, float] = {}
    waits: list[float] = []
    tracker: list[float] = []
    async with websockets.connect(place, max_size=None, open_timeout=120) as socket:
        ready = json.loads(await socket.recv())
        await all_ready.wait()  # workers that start take time from those that track
        await socket.send(json.dumps({"id": 1, "box": BOX}))
        began = time.perf_counter()

        async def hear() -> None:
            async for text in socket:
                event = json.loads(text)
                when = sent.pop(event["number"], None)
                if when is not None and when - began > 1.0:
                    waits.append(time.perf_counter() - when)
                    tracker.append(event["ms"])

        hearing = asyncio.create_task(hear())
        number = 0
        # To and fro, so that the target never jumps.
        order = [*range(len(clip)), *range(len(clip) - 2, 0, -1)]
        while (now := time.perf_counter()) < began + 1.0 + seconds:
            sent[number] = now
            await socket.send(clip[order[number % len(order)]])
            number += 1
            await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
        await asyncio.sleep(0.5)
        hearing.cancel()
    return {"waits": waits, "tracker": tracker, "engine": ready["engine"], "seconds": seconds}


async def page(address: str, over: asyncio.Event) -> list[float]:
    """How long the page's own requests take meanwhile."""
    import urllib.request

    waits = []
    while not over.is_set():
        began = time.perf_counter()
        await asyncio.to_thread(lambda: urllib.request.urlopen(f"{address}api/info").read())
        waits.append(time.perf_counter() - began)
        await asyncio.sleep(0.25)
    return waits


async def load(server: Running, clip: list[bytes], streams: int, seconds: float) -> dict[str, Any]:
    over = asyncio.Event()
    watching = asyncio.create_task(page(server.address, over))
    ready = asyncio.Barrier(streams)
    found = await asyncio.gather(
        *(stream(server.address, clip, seconds, ready) for _ in range(streams))
    )
    over.set()
    waits = [wait for one in found for wait in one["waits"]]
    rates = [len(one["waits"]) / seconds for one in found]
    share = sum(rates) / (RATE * streams)
    p95 = float(np.percentile(waits, 95)) if waits else float("inf")
    return {
        "streams": streams,
        "engine": found[0]["engine"],
        "rate_lowest": round(min(rates), 2),
        "answered_share": round(min(1.0, share), 4),
        "latency_ms_median": round(1e3 * statistics.median(waits), 1) if waits else None,
        "latency_ms_p95": round(1e3 * p95, 1),
        "tracker_ms_median": round(statistics.median([t for o in found for t in o["tracker"]]), 1),
        "page_ms_p95": round(1e3 * float(np.percentile(await watching, 95)), 1),
        "held": min(rates) > 0.95 * RATE and p95 < 0.1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    clip = pictures()
    words = ["--engine", options.engine, "--threads", options.threads]
    rows = []
    with running(*words, "--streams", str(max(options.streams))) as server:
        for streams in options.streams:
            row = asyncio.run(load(server, clip, streams, options.seconds))
            row["load_average"] = round(os.getloadavg()[0], 1)
            rows.append(row)
            print(
                f"{streams} streams: {row['rate_lowest']:.1f} a second each, "
                f"{100 * row['answered_share']:.0f} % answered, latency "
                f"{row['latency_ms_median']} ms, p95 {row['latency_ms_p95']} ms; "
                f"{'held' if row['held'] else 'not held'} (load {row['load_average']})",
                flush=True,
            )
    if options.out:
        about = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
