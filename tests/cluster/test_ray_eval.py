"""`eval` on a Ray cluster of this machine: the same bytes as from one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from mixformerv2.cli.main import main
from tests.cluster.test_ray import workers
from tests.unit.evaluation.conftest import write_sequence

COUNT = 4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sequences of a white square."""
    folder = tmp_path_factory.mktemp("sequences")
    for number in range(COUNT):
        write_sequence(folder / f"s{number}", start=10 + number)
    return folder


def words(root: Path, out: Path) -> list[str]:
    how = ["--inference", "onnx", "--threads", "1", "--out", str(out), "--no-pictures"]
    return ["eval", "t", "--root", str(root), *how]


Kept = tuple[dict[str, bytes], Any]


def timeless(value: Any) -> Any:
    """A report without what is measured by a clock, which never gives the same twice."""
    if isinstance(value, list):
        return [timeless(one) for one in value]
    if not isinstance(value, dict):
        return value
    timed = ("fps", "speed_ms", "remarks")  # the last say how speeds were measured
    return {name: timeless(one) for name, one in value.items() if name not in timed}


def kept(out: Path) -> Kept:
    """All result files but those of times, and the report without its speed."""
    timed = ("_time.txt", "_decode.txt")
    files = [file for file in out.glob("t-*/*") if not file.name.endswith(timed)]
    report = timeless(json.loads((out / "report.json").read_text()))
    return {f"{file.parent.name}/{file.name}": file.read_bytes() for file in files}, report


@pytest.fixture(scope="module")
def by_one_process(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    out = tmp_path_factory.mktemp("alone")
    assert main(words(root, out)) == 0
    files, report = kept(out)
    assert len(files) == 2 * COUNT + 1
    assert len(report["trackers"][0]["sequences"]) == COUNT
    return files, report


def test_a_ray_of_its_own(root: Path, tmp_path: Path, by_one_process: Kept) -> None:
    assert main([*words(root, tmp_path), "--engine", "ray", "--jobs", "2"]) == 0
    assert kept(tmp_path) == by_one_process


def test_a_cluster_that_loses_a_worker(root: Path, tmp_path: Path, by_one_process: Kept) -> None:
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    cluster.add_node(num_cpus=1)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "mixformerv2", *words(root, tmp_path),
             "--engine", "ray", "--address", cluster.address],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        for _ in range(12_000):
            assert process.poll() is None, process.communicate()
            if found := workers(cluster.head_node, "ray::_attempt"):
                os.kill(found[0], signal.SIGKILL)
                break
            time.sleep(0.01)
        _, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
    finally:
        cluster.shutdown()
    assert kept(tmp_path) == by_one_process
