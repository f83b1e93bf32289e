"""FSDP on two processes of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from torch.testing import assert_close

from mixformerv2.errors import ConfigError
from mixformerv2.training.checkpoint import load_checkpoint
from mixformerv2.training.config import TrainConfig, load_config, show_config
from mixformerv2.training.devices import make_fabric
from mixformerv2.training.log import read_log
from mixformerv2.training.loop import Run

from ..data.conftest import bank_folder  # noqa: F401
from .conftest import TINY

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # Lightning's own advice on import
    pytest.mark.timeout(1800),  # seven processes that load PyTorch, in turn
]

STEPS = 6


@pytest.fixture(scope="module")
def two(bank_folder: Path) -> TrainConfig:  # noqa: F811
    """Steps of two processes with two batches of two each; without batch norms, as in `joint`."""
    tiny = load_config(None, [*TINY, f"bank={bank_folder}"])
    return replace(
        tiny,
        model={**tiny.model, "stem": "patch"},
        optim=replace(tiny.optim, batch=2, accumulate=2, steps=STEPS),
        log_every=1,
    )


def command(config: TrainConfig, out: Path, *options: str) -> list[str]:
    """`train` in two processes, with a meeting place of its own."""
    settings = out.with_suffix(".yaml")
    settings.write_text(show_config(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [
        *(sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}"),
        *("--local-addr", "127.0.0.1", *options),
        *("-m", "mixformerv2", "train", str(settings), "--out", str(out)),
    ]


def torchrun(config: TrainConfig, out: Path) -> None:
    """Two processes that nothing happens to."""
    done = subprocess.run(
        command(config, out), capture_output=True, text=True, check=False, timeout=800,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-5000:]


def same(a: Path, b: Path) -> None:
    """Two runs ended with the same weights, average and optimizer."""
    first, second = load_checkpoint(a), load_checkpoint(b)
    assert first is not None
    assert second is not None
    assert first["step"] == second["step"] == STEPS
    # Sums in another order: as two processes against one in `test_joint.py`.
    near = {"atol": 2e-4, "rtol": 2e-3}
    for part in ("learner", "average"):
        assert set(first[part]) == set(second[part])
        for name, value in first[part].items():
            assert_close(second[part][name], value, msg=name, **near)
    for number, values in first["optimizer"]["state"].items():
        for name, value in values.items():
            assert_close(second["optimizer"]["state"][number][name], value, **near)


@pytest.fixture(scope="module")
def by_shards(two: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happens to."""
    out = tmp_path_factory.mktemp("shards") / "fsdp"
    torchrun(replace(two, strategy="fsdp"), out)
    return out


def test_shards_learn_what_whole_networks_learn(
    two: TrainConfig, tmp_path: Path, by_shards: Path
) -> None:
    torchrun(two, tmp_path / "ddp")
    same(tmp_path / "ddp", by_shards)
    rows = zip(read_log(tmp_path / "ddp"), read_log(by_shards), strict=True)
    for one, other in rows:
        for name in ("loss", "norm"):
            if name in one:
                assert other[name] == pytest.approx(one[name], rel=2e-4)


def test_shards_of_a_teacher_learn_what_the_whole_teacher_learns(
    two: TrainConfig, tmp_path: Path
) -> None:
    """The family that is too large for one device: corner head and score module, divided."""
    arch = {"stem": "patch", "box_head": "corner_pyramid", "head_channels": 16, "drop_path": 0.1}
    teacher = replace(two, model={**two.model, **arch})
    for strategy in ("ddp", "fsdp"):
        torchrun(replace(teacher, strategy=strategy), tmp_path / strategy)
    same(tmp_path / "ddp", tmp_path / "fsdp")
    state = load_checkpoint(tmp_path / "fsdp")
    assert state is not None
    assert {name.split(".")[1] for name in state["learner"]} == {
        "backbone",
        "box_head",
        "score_head",
    }


def killed(config: TrainConfig, out: Path, *options: str, agent: bool) -> tuple[int, str]:
    """Two processes, of which one is killed after the first checkpoint, or all and torchrun."""
    # Else PyTorch 2.13 finds the addresses of the dead processes in the store that it takes over.
    fresh_store = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    running = subprocess.Popen(
        command(replace(config, save_minutes=0.0), out, *options),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **fresh_store},
    )  # fmt: skip
    try:
        end = time.monotonic() + 300
        while not (out / "checkpoint.pt").exists():
            assert running.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        workers = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        assert len(workers) == 2
        if agent:
            os.kill(running.pid, signal.SIGKILL)
            os.kill(int(workers[0]), signal.SIGKILL)
        os.kill(int(workers[1]), signal.SIGKILL)
        at = load_checkpoint(out, lazy=True)
        assert at is not None
        assert 0 < at["step"] < STEPS
        _, said = running.communicate(timeout=200)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
    return running.returncode, said


def test_after_a_killed_process_all_start_again_and_end_alike(
    two: TrainConfig, tmp_path: Path, by_shards: Path
) -> None:
    """What torchrun is for on machines that come and go; the run carries on by its checkpoint."""
    again = ("--max-restarts", "2", "--monitor-interval", "0.2")
    out = tmp_path / "out"
    code, said = killed(two, out, *again, agent=False)
    assert code == 0, said[-5000:]
    assert "SIGKILL" in said or "-9" in said
    same(out, by_shards)


def test_killed_shards_carry_on(two: TrainConfig, tmp_path: Path, by_shards: Path) -> None:
    config = replace(two, strategy="fsdp")
    code, _ = killed(config, tmp_path / "out", agent=True)
    assert code == -signal.SIGKILL
    torchrun(config, tmp_path / "out")
    same(tmp_path / "out", by_shards)


def test_shards_want_plain_weights(two: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    config = replace(two, strategy="fsdp", optim=replace(two.optim, channels_last=True))
    with pytest.raises(ConfigError, match=r"optim\.channels_last=false"):
        make_fabric(config)


def test_one_process_has_nothing_to_divide_among(two: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="torchrun"):
        Run(replace(two, strategy="fsdp"), tmp_path / "one")
