"""A step of several batches, or of several processes, is the step of the joint batch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from torch.testing import assert_close

from mixformerv2.training.checkpoint import load_checkpoint
from mixformerv2.training.config import TrainConfig, show_config
from mixformerv2.training.log import read_log
from mixformerv2.training.loop import train

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own advice on import


@pytest.fixture
def joint(tiny: TrainConfig) -> TrainConfig:
    """Steps of eight samples; no batch norms, whose statistics are those of a batch by intent."""
    return replace(
        tiny,
        model={**tiny.model, "stem": "patch", "drop_path": 0.0},
        data=replace(tiny.data, absent=0.5),  # parts of a batch differ in targets that are there
        optim=replace(tiny.optim, batch=8, steps=4),
        log_every=1,
    )


def _same(a: Path, b: Path) -> None:
    for one, other in zip(read_log(a), read_log(b), strict=True):
        for name in set(one) - {"samples_per_s"}:
            assert other[name] == pytest.approx(one[name], rel=2e-4, abs=2e-5), name
    first, second = load_checkpoint(a), load_checkpoint(b)
    assert first is not None
    assert second is not None
    assert first["samples"] == second["samples"]
    for name, value in first["learner"].items():
        assert_close(second["learner"][name], value, atol=2e-4, rtol=2e-3, msg=name)


def test_accumulated_batches_are_the_joint_batch(joint: TrainConfig, tmp_path: Path) -> None:
    train(joint, tmp_path / "joint")
    parts = replace(joint, optim=replace(joint.optim, batch=2, accumulate=4))
    train(parts, tmp_path / "parts")
    _same(tmp_path / "joint", tmp_path / "parts")


def test_two_processes_are_one_with_the_joint_batch(joint: TrainConfig, tmp_path: Path) -> None:
    """torchrun, gloo, two processes of two batches of two, against one process of eight."""
    train(joint, tmp_path / "joint")
    parts = replace(joint, optim=replace(joint.optim, batch=2, accumulate=2))
    settings = tmp_path / "run.yaml"
    settings.write_text(show_config(parts))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--master-addr", "127.0.0.1", "--master-port", str(port)),
        *("-m", "mixformerv2", "train", str(settings), "--out", str(tmp_path / "two")),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=200,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    _same(tmp_path / "joint", tmp_path / "two")
