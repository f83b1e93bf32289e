"""Who does the work: options that Ray gets, GPUs that workers see, deaths for want of memory."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest

from mixformerv2.batch import Settings, run_batch
from mixformerv2.batch import run as driver
from mixformerv2.batch.cluster import Died, LocalCluster, open_cluster
from mixformerv2.batch.shard import Job, load_tracker, run_shard
from mixformerv2.cli.main import main
from mixformerv2.errors import ConfigError, EngineError
from mixformerv2.video import open_source
from tests.clips import numbered, write_clip
from tests.unit.batch.conftest import BOX, Manifest

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and limits its memory")


class FakeRay:
    """As much of Ray as is asked for: it notes what it is told, and does each job at once."""

    def __init__(self, **resources: float) -> None:
        self.resources = resources
        self.started: dict[str, Any] = {}
        self.options: dict[str, Any] = {}

    def init(self, **words: Any) -> None:
        self.started = words

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def remote(self, task: Any) -> Any:
        def options(**words: Any) -> Any:
            self.options = words
            return SimpleNamespace(remote=task)

        return SimpleNamespace(options=options)


@pytest.mark.parametrize(
    ("kind", "address", "gpus", "sentence"),
    [
        ("onnx", None, 0.0, "--inference"),
        ("local", "auto", 0.0, "--engine ray"),
        ("ray", None, 2.0, "--gpus-per-worker must be from 0 to 1, got 2"),
        ("local", None, -0.5, "--gpus-per-worker must be from 0 to 1"),
        ("local", None, float("nan"), "--gpus-per-worker must be from 0 to 1"),
    ],
)
def test_clusters_that_are_none(kind: str, address: str | None, gpus: float, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        open_cluster(kind, run_shard, None, address, gpus)


def test_without_ray_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match="pip install"):
        open_cluster("ray", run_shard, None, None)


@pytest.mark.parametrize(
    ("resources", "gpus", "limit", "workers"),
    [
        ({"CPU": 8}, 0.0, None, 8),
        ({"CPU": 8, "GPU": 2}, 1.0, None, 2),
        ({"CPU": 8, "GPU": 2}, 0.25, None, 8),
        ({"CPU": 90, "GPU": 3}, 0.1, None, 30),
        ({"CPU": 8, "GPU": 2}, 0.5, 3, 3),
        ({"CPU": 8}, 1.0, None, 1),
    ],
)
def test_ray_is_asked_for_a_share_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    resources: dict[str, float],
    gpus: float,
    limit: int | None,
    workers: int,
) -> None:
    ray = FakeRay(**resources)
    monkeypatch.setitem(sys.modules, "ray", ray)
    cluster = open_cluster("ray", run_shard, limit, "auto", gpus)
    assert ray.options == {"num_cpus": 1, "num_gpus": gpus, "max_retries": 0}
    assert ray.started["num_cpus"] is None
    assert cluster.workers == workers
    assert ("has no GPU yet" in caplog.text) == bool(gpus and "GPU" not in resources)


@pytest.mark.parametrize(
    ("visible", "gpus", "workers"),
    [("3,7", 1.0, 2), ("3,7", 0.5, 4), ("GPU-5f", 0.3, 3), ("", 1.0, 1)],
)
def test_a_worker_for_each_share_of_the_gpus_here(
    monkeypatch: pytest.MonkeyPatch, visible: str, gpus: float, workers: int
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert open_cluster("local", run_shard, None, None, gpus).workers == workers
    assert open_cluster("local", run_shard, 5, None, gpus).workers == 5


def test_the_command_passes_on_who_does_the_work(
    manifest: Manifest, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def opened(*words: Any) -> None:
        asked.extend(words)
        raise EngineError("nobody is there")

    monkeypatch.setattr(driver, "open_cluster", opened)
    listed = manifest(f"a.mp4,{BOX},,,")
    words = ["batch", listed, "--out", str(tmp_path / "out"), "--model", settings.model]
    how = ["--inference", "onnx", "--engine", "ray", "--address", "auto", "--workers", "3"]
    assert main([*words, *how, "--gpus-per-worker", "0.25"]) == EngineError.exit_code
    assert asked == ["ray", run_shard, 3, "auto", 0.25]


def answers(cluster: LocalCluster[str, Any], *jobs: str) -> list[Any]:
    """What each job comes to, all of them in work at once."""
    for job in jobs:
        cluster.submit(job)
    found = []
    while len(found) < len(jobs):
        if (ended := cluster.next_done(1.0)) is not None:
            found.append(ended[1])
    return found


def test_each_worker_sees_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,7")
    cluster: LocalCluster[str, Any] = LocalCluster(os.getenv, 3, ["3", "7"])
    try:
        assert sorted(answers(cluster, *["CUDA_VISIBLE_DEVICES"] * 3)) == ["3", "3", "7"]
    finally:
        cluster.close()


def leave(megabytes: int) -> None:
    """Let this process have so much memory more and no more, as in a container that is full."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def hungry(job: str) -> int:
    """Ask for more than there is, unless there is nothing to do."""
    if job == "idle":
        return 0
    leave(64)
    return len(bytearray(1 << 30))


@linux
def test_a_worker_without_memory_is_dead_and_the_next_one_is_fresh() -> None:
    cluster: LocalCluster[str, int] = LocalCluster(hungry, 1)
    try:
        (died,) = answers(cluster, "much")
        assert died == Died("its worker was short of memory: MemoryError: ")
        assert answers(cluster, "idle") == [0]
    finally:
        cluster.close()


def starved(job: Job) -> int:
    """Do a shard with what small videos need, and no room for a frame of 134 million pixels."""
    tracker = load_tracker(job.settings)
    with open_source(Path(job.folder).parent / "a.mp4") as source:
        for frame in source:
            if frame.index == 0:
                tracker.init(frame.image, (20, 10, 16, 16))
            tracker.update(frame.image)
    leave(100)
    return run_shard(job)


@linux
@pytest.mark.parametrize("name", ["big.avi", "big"])
def test_a_video_that_memory_is_too_small_for_is_put_into_quarantine(
    tmp_path: Path,
    manifest: Manifest,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    """Its frames are not taken for damaged ones, which would be `lost` without a word."""
    size = (16384, 8192)
    if name == "big":
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "0.png"), numbered(0, size))
    else:
        write_clip(tmp_path / name, 1, codec="mjpeg", size=size, pix_fmt="yuvj420p")
    monkeypatch.setattr(driver, "run_shard", starved)
    listed = manifest(f"a.mp4,{BOX},,,", f"{name},{BOX},,,", f"b.mp4,{BOX},,,")
    few = replace(settings, shard_size=3)
    totals = run_batch(listed, tmp_path / "out", few, workers=1)
    assert (totals.done, totals.quarantined, totals.missing) == (2, 1, 0)
    lines = (tmp_path / "out/shards/000000/videos.jsonl").read_text().splitlines()
    reasons = json.loads(lines[1])["reasons"]
    assert len(reasons) == 2
    assert all("memory" in why for why in reasons)
