"""Use a server for an hour as people do, and see that nothing grows.

Round after round: upload, draw, track, correct, render, download, look, delete, a live stream, an
upload that breaks off, a file that is no video. Memory and open files of the server are written
down each round; the last quarter may not lie above the second.

    python benchmarks/serve_soak.py --minutes 60 --out soak.json
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import statistics
import sys
import time
import urllib.error
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import websockets

from serve_load import pictures
from serving import BOX, DEMO, Running, running


def settle(server: Running, job: str) -> dict[str, Any]:
    while True:
        content: dict[str, Any] = server.ask("GET", f"/jobs/{job}")
        if content["status"] in ("ready", "failed"):
            return content
        time.sleep(0.1)


def one_job(server: Running) -> None:
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
    server.ask("DELETE", f"/jobs/{job}")


async def one_stream(server: Running, clip: list[bytes]) -> None:
    place = server.address.replace("http", "ws") + "api/live"
    async with websockets.connect(place, open_timeout=120) as live:
        await live.recv()
        await live.send(json.dumps({"box": BOX}))
        for data in clip[:60]:
            await live.send(data)
            await live.recv()


def one_broken_upload(server: Running) -> None:
    place = urlsplit(server.address)
    with socket.create_connection((place.hostname or "", place.port or 0)) as line:
        head = f"POST /api/jobs HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 9999999\r\n\r\n"
        line.sendall(head.encode() + DEMO.read_bytes()[:5000])
    with contextlib.suppress(urllib.error.HTTPError):
        server.ask("POST", "/jobs", b"#EXTM3U no video")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    clip, rows = pictures(), []
    with running("--engine", "onnx") as server:
        began = time.monotonic()
        while time.monotonic() - began < 60 * options.minutes or len(rows) < 4:
            one_job(server)
            asyncio.run(one_stream(server, clip))
            one_broken_upload(server)
            time.sleep(1.0)
            row = {
                "minute": round((time.monotonic() - began) / 60, 2),
                "megabytes": round(server.megabytes(), 1),
                "files": server.files(),
                "processes": len(server.processes()),
                "jobs_on_disk": sum(one.is_dir() for one in server.folder.iterdir()),
            }
            rows.append(row)
            print(json.dumps(row), flush=True)
    quarter = len(rows) // 4
    early, late = rows[quarter : 2 * quarter], rows[-quarter:]
    grown = {
        name: statistics.mean(row[name] for row in late) - statistics.mean(r[name] for r in early)
        for name in ("megabytes", "files", "processes", "jobs_on_disk")
    }
    steady = grown["megabytes"] < 10 and all(
        grown[name] < 1 for name in ("files", "processes", "jobs_on_disk")
    )
    print(f"{len(rows)} rounds; grown {grown}: {'steady' if steady else 'GROWING'}")
    if options.out:
        options.out.write_text(json.dumps({"rows": rows, "grown": grown}, indent=2) + "\n")
    return 0 if steady else 1


if __name__ == "__main__":
    sys.exit(main())
