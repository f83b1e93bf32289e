"""The same batch on a Ray cluster of two nodes of this machine, one of which is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from mixformerv2.batch.cluster import Died, open_cluster
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


def journals(out: Path, atleast: int, process: subprocess.Popen[str], shards: int) -> None:
    """Wait until so many shards are done, and then so many workers at work at once."""
    for _ in range(30_000):
        assert process.poll() is None, process.communicate()
        busy = len(list(out.glob("work/*/journal.*.jsonl")))
        if busy >= atleast and len(list(out.glob("shards/*"))) >= shards:
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


class Tries:
    """Which shards were begun, how often: each try has a folder of its own while it lasts."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._seen: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Tries:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.01):
            self._seen.update(path.name for path in self._out.glob("work/*"))

    @property
    def of_each(self) -> Counter[str]:
        return Counter(name.partition(".")[0] for name in self._seen.copy())

    def unfinished(self, kept: dict[str, int]) -> Counter[str]:
        """Shards that were begun and are not published."""
        return Counter(set(self.of_each) - set(kept))


def published(out: Path) -> dict[str, int]:
    """Finished shards, with the time at which each file in them was written last, in all."""
    return {
        shard.name: sum(file.stat().st_mtime_ns for file in (shard, *shard.iterdir()))
        for shard in (out / "shards").glob("*")
    }


def test_a_killed_node_repeats_no_more_than_its_work(
    cluster: Any, material: Path, tmp_path: Path, by_local_processes: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    with Tries(out) as tries:
        process = start(cluster, material, out)
        journals(out, 2, process, shards=1)
        kept = published(out)
        # As if its power had gone: all that runs on it, at once.
        for pid in [*workers(cluster.second), *(p.pid for _, p in cluster.second.live_processes())]:
            os.kill(pid, signal.SIGKILL)
        _, err = process.communicate(timeout=1200)
    assert process.returncode == 0, err
    assert "shard" in err  # one was lost, and said so
    assert results(out) == by_local_processes
    assert len(results(out)) == VIDEOS
    assert kept.items() <= published(out).items()
    # Its one core was at one shard, and that is done again.
    assert tries.of_each.total() <= VIDEOS + 1
    assert all(tries.of_each[shard] <= 1 for shard in kept)


def test_a_killed_worker_and_a_killed_driver_repeat_no_more_than_their_work(
    cluster: Any, material: Path, tmp_path: Path, by_local_processes: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    with Tries(out) as tries:
        process = start(cluster, material, out)
        journals(out, 2, process, shards=1)
        os.kill(workers(cluster.head_node)[0], signal.SIGKILL)
        for _ in range(30_000):
            if (out / "crashes.jsonl").is_file() or process.poll() is not None:
                break
            time.sleep(0.01)
        process.kill()
        process.communicate()
        for _ in range(3000):  # Ray ends what a driver leaves behind
            if not workers(cluster.head_node) and not workers(cluster.second):
                break
            time.sleep(0.01)
        kept = published(out)
        in_work = tries.unfinished(kept)
        again = start(cluster, material, out)
        _, err = again.communicate(timeout=1200)
    assert again.returncode == 0, err
    assert results(out) == by_local_processes
    assert kept
    assert kept.items() <= published(out).items()
    # One more for the shard of the killed worker, and for each that was in work with the driver.
    assert len(in_work) <= 2 + 1
    assert tries.of_each.total() <= VIDEOS + 1 + len(in_work)
    for shard, times in tries.of_each.items():
        assert times <= 2 + in_work[shard]


def test_workers_see_the_gpus_that_they_ask_for() -> None:
    """Ray believes that there are two; what they are is for CUDA to find."""
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    two = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 4, "num_gpus": 2, "include_dashboard": False},
    )
    try:
        for gpus, count, seen in ((1.0, 2, {"0", "1"}), (0.5, 4, {"0", "1"}), (0.0, 4, {"", None})):
            asked = open_cluster("ray", os.getenv, None, two.address, gpus)
            try:
                assert asked.workers == count
                asked.submit("CUDA_VISIBLE_DEVICES")
                assert (ended := asked.next_done(120.0)) is not None
                assert ended[1] in seen
            finally:
                asked.close()
    finally:
        two.shutdown()


def hungry(size: int) -> int:
    raise MemoryError(f"no room for {size} bytes")


def test_a_worker_without_memory_is_a_dead_one(cluster: Any) -> None:
    asked = open_cluster("ray", hungry, None, cluster.address)
    try:
        asked.submit(7)
        assert (ended := asked.next_done(120.0)) is not None
        why = "its worker was short of memory: MemoryError: no room for 7 bytes"
        assert ended == (7, Died(why))
    finally:
        asked.close()
