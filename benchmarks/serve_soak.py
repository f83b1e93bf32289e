"""Use a server for an hour as people do, and see that nothing grows.

Round after round: upload, draw, track, correct, render, download, look, delete, a live stream, an
upload that breaks off, a file that is no video. Each third job is left lying and must be swept. One
more live stream goes on from the first minute to the last. What the server holds is written down
after each round; the last quarter may not lie above the second.

    nice python benchmarks/serve_soak.py --minutes 60 --rest 30 \\
        --out benchmarks/reports/serve/soak.json --figure docs/images/serve-soak.png
    python benchmarks/serve_soak.py --draw benchmarks/reports/serve/soak.json --figure soak.png
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import statistics
import sys
import threading
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import websockets

from serve_load import pictures
from serving import BOX, DEMO, Running, running

KEEP_HOURS = 1 / 12
ALLOWED = {
    "megabytes": 10.0,
    "workers_megabytes": 20.0,  # the spare one may be just starting
    "processes": 1.0,
    "files": 1.0,
    "threads": 1.0,
    "jobs_on_disk": 1.0,
    "disk_megabytes": 5.0,
}
"""By how much the mean of a late part of the run may lie above that of an early one."""

KEPT = ("jobs_on_disk", "disk_megabytes")
"""What is kept for some minutes: more of it where rounds are faster."""


def settle(server: Running, job: str) -> dict[str, Any]:
    while True:
        content: dict[str, Any] = server.ask("GET", f"/jobs/{job}")
        if content["status"] in ("ready", "failed"):
            return content
        time.sleep(0.25)


def one_job(server: Running, *, leave: bool) -> None:
    job = server.ask("POST", "/jobs?name=soak.mp4", DEMO.read_bytes())["id"]
    settle(server, job)
    server.send("PUT", f"/jobs/{job}/objects/1/prompts/0", {"box": BOX})
    server.send("POST", f"/jobs/{job}/track", {})
    assert settle(server, job)["error"] is None
    row = server.ask("GET", f"/jobs/{job}/results")["objects"][0]["rows"][60]
    server.send("PUT", f"/jobs/{job}/objects/1/prompts/60", {"box": row[:4]})
    server.send("POST", f"/jobs/{job}/track", {})
    settle(server, job)
    server.send("POST", f"/jobs/{job}/render", {})
    settle(server, job)
    for form in ("csv", "coco", "mp4"):
        assert server.ask("GET", f"/jobs/{job}/download/{form}")
    server.ask("GET", f"/jobs/{job}/look/1/50")
    server.ask("GET", f"/jobs/{job}/frames/99")
    if not leave:
        server.ask("DELETE", f"/jobs/{job}")


async def stream(
    server: Running, clip: list[bytes], count: int | None, pause: float, over: threading.Event
) -> int:
    """Send pictures to and fro and wait for each answer; how many were answered."""
    place = server.address.replace("http", "ws") + "api/live"
    order = [*range(len(clip)), *range(len(clip) - 2, 0, -1)]
    answered = 0
    async with websockets.connect(place, open_timeout=120) as live:
        await live.recv()
        await live.send(json.dumps({"box": BOX}))
        while answered != count and not over.is_set():
            await live.send(clip[order[answered % len(order)]])
            await live.recv()
            answered += 1
            await asyncio.sleep(pause)
    return answered


@contextlib.contextmanager
def steady_stream(server: Running, clip: list[bytes]) -> Iterator[list[int]]:
    """A stream at about four pictures a second while the block runs; then its count."""
    over, found = threading.Event(), []

    def follow() -> None:
        found.append(asyncio.run(stream(server, clip, None, 0.25, over)))

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def one_broken_upload(server: Running) -> None:
    place = urlsplit(server.address)
    with socket.create_connection((place.hostname or "", place.port or 0)) as line:
        head = f"POST /api/jobs HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 9999999\r\n\r\n"
        line.sendall(head.encode() + DEMO.read_bytes()[:5000])
    with contextlib.suppress(urllib.error.HTTPError):
        server.ask("POST", "/jobs", b"#EXTM3U no video")


def soak(minutes: float, rest: float, out: Path | None) -> dict[str, Any]:
    """Round after round; what the server held after each, and the long stream's answers.

    The report is written after each round, so that an hour that breaks off is not lost. A refusal
    ends its round and is counted: on a machine that is busy enough a worker may say nothing for a
    minute, and is then ended as a stuck decoder would be.
    """
    clip, rows = pictures(), []
    refused: list[str] = []
    words = ("--engine", "onnx", "--threads", "1", "--keep-hours", str(KEEP_HOURS))
    with running(*words) as server, steady_stream(server, clip) as answered:
        began = time.monotonic()
        while time.monotonic() - began < 60 * minutes or len(rows) < 8:
            try:
                one_job(server, leave=len(rows) % 3 == 2)
            except urllib.error.HTTPError as error:
                with error:
                    refused.append(f"{error.code}: {error.read().decode()}")
                print(refused[-1], flush=True)
            asyncio.run(stream(server, clip, 60, 0.0, threading.Event()))
            one_broken_upload(server)
            time.sleep(rest)
            row = {"minute": (time.monotonic() - began) / 60, **server.watch()}
            rows.append({name: round(value, 2) for name, value in row.items()})
            print(json.dumps(rows[-1]), flush=True)
            save({"rounds": len(rows), "refused": refused, "rows": rows}, out)
    return {
        "rounds": len(rows),
        "refused": refused,
        "long_stream_answers": answered[0],
        "rows": rows,
    }


def save(report: dict[str, Any], out: Path | None) -> None:
    """Write the report, where one is wanted, with what has grown by now."""
    if len(report["rows"]) >= 4:
        report["grown"] = grown(report["rows"])
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report, indent=1) + "\n")


def grown(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean of the last quarter above that of the second; of what is kept, over its first half."""
    quarter, eighth = len(rows) // 4, len(rows) // 8
    early, late = rows[quarter : 2 * quarter], rows[-quarter:]

    def mean(part: list[dict[str, float]], name: str) -> float:
        return statistics.mean(row[name] for row in part)

    return {
        name: round(
            mean(late[-eighth:], name) - mean(late[:eighth], name)
            if name in KEPT
            else mean(late, name) - mean(early, name),
            2,
        )
        for name in ALLOWED
    }


def draw(report: dict[str, Any], path: Path) -> None:
    """What the server held, by the minute."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.6), dpi=90, layout="constrained")
    minutes = [row["minute"] for row in report["rows"]]
    shown = (
        ("resident memory, MB", ("megabytes", "workers_megabytes")),
        ("open files and threads of the server", ("files", "threads")),
        ("processes and jobs on disk", ("processes", "jobs_on_disk")),
        ("folder of jobs, MB", ("disk_megabytes",)),
    )
    for axes, (title, names) in zip(figure.subplots(2, 2, sharex=True).flat, shown, strict=True):
        for name in names:
            label = {"megabytes": "server", "workers_megabytes": "workers"}.get(name, name)
            axes.plot(minutes, [r[name] for r in report["rows"]], label=label.replace("_", " "))
        axes.set(title=title, xlabel="minute", ylim=(0, None))
        axes.grid(alpha=0.3)
        if len(names) > 1:
            axes.legend()
    figure.savefig(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rest", type=float, default=1.0, help="seconds between rounds")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--draw", type=Path, help="draw this report instead of making one")
    options = parser.parse_args()
    if options.draw:
        report = json.loads(options.draw.read_text())
        report["grown"] = grown(report["rows"])
    else:
        report = soak(options.minutes, options.rest, options.out)
        save(report, options.out)
    steady = all(report["grown"][name] < limit for name, limit in ALLOWED.items())
    refused = len(report["refused"])
    print(
        f"{report['rounds']} rounds to minute {report['rows'][-1]['minute']:.0f}, {refused} refused"
    )
    print(f"grown {report['grown']}: {'steady' if steady else 'GROWING'}")
    if options.figure:
        draw(report, options.figure)
    return 0 if steady else 1


if __name__ == "__main__":
    sys.exit(main())
