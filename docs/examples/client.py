"""Track a video on a server: `python client.py clip.mp4 175,137,93,86 --server http://host:8321`.

Python's standard library alone. The token, where the server wants one, comes from
MIXFORMERV2_TOKEN. Copy it, or take the class `Job` into a program of your own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote


class Server:
    """The API of `mixformerv2 serve`."""

    def __init__(self, address: str = "http://127.0.0.1:8321", token: str | None = None) -> None:
        self.address = address.rstrip("/")
        self.token = token

    def call(self, method: str, path: str, body: Any = None) -> bytes:
        """One request. Where the server is busy (429) it is made again when it says so."""
        request = urllib.request.Request(f"{self.address}/api{path}", method=method)
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        if isinstance(body, Path):
            request.add_header("Content-Length", str(body.stat().st_size))
            request.data = body.open("rb")
        elif body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, timeout=600) as answer:
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                detail = json.loads(error.read() or b"{}").get("detail", error.reason)
            if error.code == 429:
                time.sleep(float(error.headers.get("Retry-After", "5")))
                return self.call(method, path, body)
            raise RuntimeError(f"{error.code}: {detail}") from None
        finally:
            if isinstance(body, Path) and request.data is not None:
                request.data.close()  # type: ignore[union-attr]

    def upload(self, video: Path) -> Job:
        """Make a job of a video."""
        content = json.loads(self.call("POST", f"/jobs?name={quote(video.name)}", video))
        return Job(self, content["id"])


class Job:
    """One video on the server."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.path = f"/jobs/{name}"

    def box(self, box: Sequence[float], frame: int = 0, number: int = 1) -> None:
        """Say where an object is on a frame; on a later frame this is a correction."""
        place = f"{self.path}/objects/{number}/prompts/{frame}"
        self.server.call("PUT", place, {"box": list(box)})

    def track(self) -> dict[str, Any]:
        """Track all that is missing, and wait for it."""
        self.server.call("POST", f"{self.path}/track", {})
        return self.wait()

    def wait(self) -> dict[str, Any]:
        """The job, once nothing runs for it any more."""
        while True:
            content: dict[str, Any] = json.loads(self.server.call("GET", self.path))
            if content["error"]:
                raise RuntimeError(content["error"])
            if content["status"] == "ready":
                return content
            time.sleep(0.2)

    def download(self, form: str) -> bytes:
        """Results as csv, json, jsonl, mot, coco, cvat, labelstudio; or the video, as mp4."""
        if form == "mp4":
            self.server.call("POST", f"{self.path}/render")
            self.wait()
        return self.server.call("GET", f"{self.path}/download/{form}")

    def delete(self) -> None:
        """Remove the job from the server."""
        self.server.call("DELETE", self.path)


def numbers(text: str) -> list[float]:
    """A box as it is typed."""
    return [float(value) for value in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("box", type=numbers, help="x,y,w,h on the first frame")
    parser.add_argument("--server", default="http://127.0.0.1:8321")
    parser.add_argument("--form", default="csv")
    options = parser.parse_args()
    job = Server(options.server, os.environ.get("MIXFORMERV2_TOKEN")).upload(options.video)
    job.box(options.box)
    job.track()
    sys.stdout.buffer.write(job.download(options.form))
    job.delete()


if __name__ == "__main__":
    main()
