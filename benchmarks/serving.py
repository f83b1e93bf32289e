"""A server of its own for measurements: started, called, watched, ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEMO = Path(__file__).resolve().parents[1] / "src" / "mixformerv2" / "assets" / "demo.mp4"
BOX = [175.08, 136.59, 92.93, 86.37]


@dataclass(frozen=True)
class Running:
    """A server and where it is."""

    address: str
    pid: int
    folder: Path

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Call the API."""
        request = urllib.request.Request(f"{self.address}api{path}", body, method=method)
        with urllib.request.urlopen(request, timeout=300) as answer:
            data = answer.read()
        json_ = "json" in answer.headers.get("Content-Type", "")
        return json.loads(data) if json_ and data else data

    def send(self, method: str, path: str, content: Any) -> Any:
        """Call the API with JSON."""
        request = urllib.request.Request(
            f"{self.address}api{path}",
            json.dumps(content).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.loads(answer.read())

    def processes(self) -> list[int]:
        """The server and its workers."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def watch(self) -> dict[str, float]:
        """What the server holds now; its workers count in `processes` and `workers_megabytes`."""
        server, *workers = self.processes()
        return {
            "megabytes": _megabytes(server),
            "workers_megabytes": sum(_megabytes(one) for one in workers),
            "processes": 1 + len(workers),
            "files": len(list(Path(f"/proc/{server}/fd").iterdir())),
            "threads": len(list(Path(f"/proc/{server}/task").iterdir())),
            "jobs_on_disk": sum(one.is_dir() for one in self.folder.iterdir()),
            "disk_megabytes": sum(_size(one) for one in self.folder.rglob("*")) / 1e6,
        }


def _megabytes(process: int) -> float:
    """Resident memory; 0 for one that has just ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def running(*words: str) -> Iterator[Running]:
    """Start a server on a free port with a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mixformerv2", "serve", "--no-open", "--port", "0"]
        process = subprocess.Popen(
            [*command, "--folder", folder, *words], stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[-1]
            yield Running(address, process.pid, Path(folder))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
