"""Clips of a few frames, manifests of them, and a cluster that is this very process."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mixformerv2.batch import Settings, Totals, run_batch
from mixformerv2.batch import run as driver
from mixformerv2.batch.cluster import Died
from mixformerv2.batch.shard import Job, run_shard
from tests.clips import write_clip

Manifest = Callable[..., str]
BOX = "20,10,16,16"
Batch = Callable[..., Totals]
Fate = Callable[[Job], Died | None]


class Inline:
    """A cluster of one worker that dies as it is told: after starting on a video."""

    workers = 1

    def __init__(self, fate: Fate = lambda job: None) -> None:
        self.fate = fate
        self.jobs: list[Job] = []
        self.waiting: list[Job] = []

    @property
    def room(self) -> int:
        return 1 - len(self.waiting)

    def submit(self, job: Job) -> None:
        self.waiting.append(job)
        self.jobs.append(job)

    def next_done(self, seconds: float) -> tuple[Job, int | Died] | None:
        job = self.waiting.pop()
        died = self.fate(job)
        return job, run_shard(job) if died is None else died

    def close(self) -> None:
        self.waiting.clear()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames."""
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", 6)


@pytest.fixture
def manifest(tmp_path: Path, clip: Path) -> Manifest:
    """Writes `list.csv` of rows, and the clips that they name."""

    def write(*rows: str, clips: tuple[str, ...] = ("a", "b", "c", "d", "e")) -> str:
        for name in clips:
            (tmp_path / f"{name}.mp4").write_bytes(clip.read_bytes())
        text = "\n".join(["video,x,y,w,h,start,id,camera", *rows])
        (tmp_path / "list.csv").write_text(text + "\n", encoding="utf-8")
        return str(tmp_path / "list.csv")

    return write


@pytest.fixture
def settings(small_bundle: Path) -> Settings:
    """Two videos a shard, on the tiny network."""
    return Settings(model=str(small_bundle), inference="onnx", shard_size=2)


@pytest.fixture
def batch(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Run a batch on a cluster of this process."""

    def run(manifest: str, cluster: Inline, **changes: object) -> Totals:
        monkeypatch.setattr(driver, "open_cluster", lambda *args: cluster)
        return run_batch(manifest, tmp_path / "out", replace(settings, **changes))  # type: ignore[arg-type]

    return run


def rows(folder: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for file in sorted(folder.glob("shards/*/results.csv")):
        with file.open(encoding="utf-8") as lines:
            found += csv.DictReader(lines)
    return found
