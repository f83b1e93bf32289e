"""The same batch on a Ray cluster of two nodes of this machine, one of which is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from tests.cluster.conftest import VIDEOS, results, words


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head and a second node, each with one core."""
    two = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    two.second = two.add_node(num_cpus=1)
    yield two
    two.shutdown()


def start(cluster: Any, material: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mixformerv2", *words(material / "list.csv", out),
         "--engine", "ray", "--address", cluster.address],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def journals(out: Path, atleast: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many workers are at work at once."""
    for _ in range(30_000):
        assert process.poll() is None, process.communicate()
        if len(list(out.glob("work/*/journal.*.jsonl"))) >= atleast:
            return
        time.sleep(0.01)
    raise AssertionError(f"there were never {atleast} workers")


def workers(node: Any, task: str = "ray::run_shard") -> list[int]:
    """Processes of a node that are at a task."""
    (raylet,) = [process for kind, process in node.live_processes() if kind == "raylet"]
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(raylet.pid)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return [int(line.split()[0]) for line in listed.splitlines() if task in line]


def test_a_killed_node_loses_nothing(
    cluster: Any, material: Path, tmp_path: Path, by_local_processes: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    process = start(cluster, material, out)
    journals(out, 2, process)
    # As if its power had gone: all that runs on it, at once.
    for pid in [*workers(cluster.second), *(p.pid for _, p in cluster.second.live_processes())]:
        os.kill(pid, signal.SIGKILL)
    _, err = process.communicate(timeout=1200)
    assert process.returncode == 0, err
    assert "shard" in err  # one was lost, and said so
    assert results(out) == by_local_processes
    assert len(results(out)) == VIDEOS


def test_a_killed_worker_and_a_killed_driver_lose_nothing(
    cluster: Any, material: Path, tmp_path: Path, by_local_processes: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    process = start(cluster, material, out)
    journals(out, 2, process)
    os.kill(workers(cluster.head_node)[0], signal.SIGKILL)
    for _ in range(30_000):
        if (out / "crashes.jsonl").is_file() or process.poll() is not None:
            break
        time.sleep(0.01)
    process.kill()
    process.communicate()
    again = start(cluster, material, out)
    _, err = again.communicate(timeout=1200)
    assert again.returncode == 0, err
    assert results(out) == by_local_processes
