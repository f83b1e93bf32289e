"""The loop: it learns, stops, resumes exactly, and never trains on after a NaN."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from torch.testing import assert_close

from mixformerv2.cli.main import main
from mixformerv2.errors import ConfigError, OutputError, TrainingError, WeightsError
from mixformerv2.models.mixformerv2 import MixFormerV2
from mixformerv2.tracking import TrackerSettings
from mixformerv2.training import checkpoint as checkpoint_module
from mixformerv2.training import loop as loop_module
from mixformerv2.training import stages
from mixformerv2.training.checkpoint import load_checkpoint, one_writer, save_checkpoint
from mixformerv2.training.config import TrainConfig, show_config
from mixformerv2.training.log import read_log
from mixformerv2.training.loop import Run, train
from mixformerv2.training.origin import identity_of
from mixformerv2.training.outcome import read_outcome
from mixformerv2.weights import save_bundle
from mixformerv2.weights.bundle import load_model, read_config

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own advice on import


def with_steps(config: TrainConfig, steps: int) -> TrainConfig:
    return replace(config, optim=replace(config.optim, steps=steps))


def same_weights(a: Path, b: Path) -> None:
    first, second = load_checkpoint(a), load_checkpoint(b)
    assert first is not None
    assert second is not None
    for part in ("learner", "average"):
        for name, value in first[part].items():
            assert_close(second[part][name], value, atol=0, rtol=0, msg=name)


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tiny: TrainConfig, tmp_path: Path) -> None:
    train(tiny, tmp_path / "whole")
    first = Run(tiny, tmp_path / "parts")
    stream = loop_module.batch_stream(tiny, first=0)
    for _ in range(5):
        first._one(stream)
    first.save()
    first.monitor.close()
    train(tiny, tmp_path / "parts")
    same_weights(tmp_path / "whole", tmp_path / "parts")
    steps = [row["step"] for row in read_log(tmp_path / "parts")]
    assert steps == [2, 4, 6, 8, 10, 12]


def test_a_killed_run_resumes_to_the_same_weights(tiny: TrainConfig, tmp_path: Path) -> None:
    """kill -9 between checkpoints: what was done since the last one is done again, equally."""
    config = replace(with_steps(tiny, 400), save_minutes=1e-9)
    settings = tmp_path / "run.yaml"
    settings.write_text(show_config(config))
    command = [sys.executable, "-W", "ignore", "-m", "mixformerv2", "train", str(settings)]
    with subprocess.Popen([*command, "--out", str(tmp_path / "killed")]) as process:
        try:
            log = tmp_path / "killed" / "log.jsonl"
            until = time.monotonic() + 120
            while time.monotonic() < until and process.poll() is None:
                if log.exists() and len(list(read_log(log.parent))) >= 3:
                    break
                time.sleep(0.05)
        finally:
            os.kill(process.pid, signal.SIGKILL)
    state = load_checkpoint(tmp_path / "killed")
    assert state is not None
    reached = state["step"]
    assert 0 < reached < 400
    # The schedule is the long run's; only the stop differs.
    for name in ("killed", "whole"):
        run = Run(config, tmp_path / name)
        stream = loop_module.batch_stream(config, first=run.step)
        while run.step < reached + 3:
            run._one(stream)
        run.save()
        run.monitor.close()
    same_weights(tmp_path / "whole", tmp_path / "killed")


def test_it_learns(tiny: TrainConfig, tmp_path: Path) -> None:
    config = replace(with_steps(tiny, 60), data=replace(tiny.data, absent=0.0, ramp=100000))
    train(config, tmp_path)
    losses = [row["loss"] for row in read_log(tmp_path)]
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def test_minutes_end_a_run_with_a_checkpoint(tiny: TrainConfig, tmp_path: Path) -> None:
    train(tiny, tmp_path, minutes=0.0)
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 1


def test_the_command_says_where_the_tracker_is_and_what_is_left(
    tiny: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, out = tmp_path / "run.yaml", tmp_path / "run"
    settings.write_text(show_config(with_steps(tiny, 5000)))
    assert main(["train", str(settings), "--out", str(out), "--minutes", "0"]) == 0
    found = capsys.readouterr()
    assert found.out.strip() == str(out / "checkpoint.pt")
    assert f"the tracker: {out / 'bundle'}, after 1 of 5,000 steps; the same" in found.err


def test_ctrl_c_ends_a_run_after_its_step_with_a_checkpoint(
    tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, handler = Run._one, signal.getsignal(signal.SIGINT)

    def interrupted_at_three(self: Run, stream: object) -> None:
        real(self, stream)  # type: ignore[arg-type]
        if self.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Run, "_one", interrupted_at_three)
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path)
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 3
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_score_stage_moves_the_score_head_alone(tiny: TrainConfig, tmp_path: Path) -> None:
    train(with_steps(tiny, 3), tmp_path / "box")
    before = load_checkpoint(tmp_path / "box")
    config = replace(with_steps(tiny, 6), stage="score")
    train(config, tmp_path / "score", init=tmp_path / "box")
    after = load_checkpoint(tmp_path / "score")
    assert before is not None
    assert after is not None
    for name, value in before["average"].items():
        moved = bool((after["learner"][name] != value).any())
        assert moved == name.startswith("net.score_head."), name
    # What is frozen is in the log, but no part of the loss.
    rows = list(read_log(tmp_path / "score"))
    assert rows[-1]["loss"] == pytest.approx(config.loss.score * rows[-1]["score"], rel=1e-4)
    assert rows[-1]["l1"] > 0


def test_a_fresh_run_starts_from_a_bundle(tiny: TrainConfig, tmp_path: Path) -> None:
    """By folder with its dense head, and by the shipped name; another network is refused."""
    run = Run(tiny, tmp_path / "one")
    run.monitor.close()
    state = run.learner.state_dict()
    wanted = {k: v.half().float() if v.is_floating_point() else v for k, v in state.items()}
    net = MixFormerV2(tiny.network).eval()
    net.load_state_dict({k[4:]: v for k, v in wanted.items() if k.startswith("net.")})
    save_bundle(net, tmp_path / "bundle", training=wanted)
    other = Run(replace(tiny, seed=9), tmp_path / "two", init=tmp_path / "bundle")
    other.monitor.close()
    for name, value in other.learner.state_dict().items():
        assert_close(value, wanted[name], atol=0, rtol=0)
    with pytest.raises(WeightsError, match="t holds weights of another network"):
        Run(tiny, tmp_path / "three", init="t")


def test_a_loss_that_is_not_finite_stops_the_run(
    tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tiny, tmp_path)
    stream = loop_module.batch_stream(tiny, first=0)
    run._one(stream)
    before = {k: v.clone() for k, v in run.learner.state_dict().items()}
    real = stages.total_loss
    monkeypatch.setattr(stages, "total_loss", lambda *a: (real(*a)[0] * float("nan"), real(*a)[1]))
    with pytest.raises(TrainingError, match=r"not finite at step 1.*bad_batch_1"):
        run._one(stream)
    run.monitor.close()
    assert torch.load(tmp_path / "bad_batch_1.pt", weights_only=True)["search"].shape[0] == 4
    for name, value in run.learner.state_dict().items():
        if "running_" not in name and "num_batches" not in name:
            assert_close(value, before[name], atol=0, rtol=0)


def test_a_full_disk_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, {"step": 1, "learner": {}})

    def full(state: object, file: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match="the last one is untouched"):
        save_checkpoint(tmp_path, {"step": 2, "learner": {}})
    monkeypatch.undo()
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_checkpoint_of_something_else_is_refused(tiny: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match="cannot be read as a checkpoint"):
        load_checkpoint(tmp_path)
    torch.save({"foo": 1}, tmp_path / "checkpoint.pt")
    with pytest.raises(WeightsError, match="not a checkpoint of"):
        load_checkpoint(tmp_path)
    train(with_steps(tiny, 3), tmp_path / "one")
    other = replace(tiny, model={**tiny.model, "depth": 3})
    with pytest.raises(WeightsError, match="another network"):
        Run(other, tmp_path / "one")


def test_two_runs_do_not_share_a_folder(
    tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_module, "_PATIENCE", 0.0)
    holder = (
        "import sys; from filelock import FileLock\n"
        "with FileLock(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    call = [sys.executable, "-c", holder, str(tmp_path / ".lock")]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(OutputError, match="another process trains in"):
            train(tiny, tmp_path)
        assert not (tmp_path / "checkpoint.pt").exists()
        monkeypatch.setenv("RANK", "1")  # the processes beside the first one write nothing
        with one_writer(tmp_path):
            pass
        monkeypatch.delenv("RANK")
        other.kill()  # the lock goes with its process
    train(tiny, tmp_path)
    assert (tmp_path / "checkpoint.pt").exists()


def test_where_nothing_can_be_locked_training_goes_on(
    tiny: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NotImplementedError("no locks on this file system")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with caplog.at_level(logging.WARNING), one_writer(tmp_path):
        pass
    assert "no locks on this file system" in caplog.text


def test_weights_bring_their_terms_and_thresholds_along(tiny: TrainConfig, tmp_path: Path) -> None:
    arch = tiny.network
    settings = TrackerSettings(arch.template_size, arch.search_size, uncertain_below=0.45)
    save_bundle(
        MixFormerV2(arch).eval(),
        tmp_path / "bundle",
        tracker=settings,
        licence={"weights": "research only", "file": None},
    )
    one, two = tmp_path / "one", tmp_path / "two"
    train(with_steps(tiny, 4), one, init=tmp_path / "bundle")
    train(with_steps(tiny, 6), one)  # carried on without --init
    train(with_steps(tiny, 4), two, init=one)
    for run in (one, two):
        config = read_config(run / "bundle")
        assert config.licence["weights"] == "research only"
        assert config.tracker.uncertain_below == 0.45
        assert config.tracker.search_factor == tiny.data.search_factor
        assert config.provenance["init"]["name"] == "bundle"
        assert config.tracker.update_interval == 0
    own = replace(tiny, tracker={"update_interval": 25, "uncertain_below": 0.48})
    train(with_steps(own, 4), two)  # a setting of the tracker is no other run
    assert read_config(two / "bundle").tracker.update_interval == 25
    assert read_config(two / "bundle").tracker.uncertain_below == 0.48
    wrong = replace(tiny, tracker={"lost_until": 0.39})  # with its own thresholds alone it works
    changed = replace(settings, uncertain_below=0.35)
    save_bundle(MixFormerV2(arch).eval(), tmp_path / "low", tracker=changed)
    with pytest.raises(ConfigError, match="thresholds must rise"):
        train(with_steps(wrong, 4), tmp_path / "wrong", init=tmp_path / "low")
    train(with_steps(tiny, 4), tmp_path / "fresh")
    assert "init" not in read_config(tmp_path / "fresh" / "bundle").provenance


def test_a_bundle_can_be_a_blend_with_the_first_weights(
    tiny: TrainConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    half = replace(tiny, optim=replace(tiny.optim, blend=0.5))
    with caplog.at_level(logging.WARNING):
        Run(half, tmp_path / "fresh").monitor.close()
    assert "optim.blend 0.5 has nothing to blend with" in caplog.text
    first = MixFormerV2(tiny.network).eval()
    save_bundle(first, tmp_path / "bundle", precision="float32")
    run = tmp_path / "run"
    train(with_steps(half, 6), run, init=tmp_path / "bundle")
    train(half, run)  # carried on without --init
    state = load_checkpoint(run)
    assert state is not None
    begun = first.state_dict()
    taken = read_outcome(run).weights()  # by --init, a student of this teacher, `make bundle`
    assert identity_of(run).endswith("at step 12, blended 0.5")
    for name, value in load_model(run / "bundle").state_dict().items():
        assert_close(taken[name], value, atol=1e-3, rtol=1e-3, msg=name)
        if value.is_floating_point():
            half_way = (begun[name] + state["average"][f"net.{name}"]) / 2
            assert_close(value, half_way, atol=1e-3, rtol=1e-3, msg=name)
    assert any((state["average"][f"net.{n}"] != v).any() for n, v in begun.items())
    train(replace(half, optim=replace(half.optim, blend=1.0)), run)  # done: the bundle alone anew
    taken = read_outcome(run).weights()
    for name, value in load_model(run / "bundle").state_dict().items():
        assert_close(taken[name], value, atol=1e-3, rtol=1e-3, msg=name)
        assert_close(value, state["average"][f"net.{name}"], atol=1e-3, rtol=1e-3, msg=name)
    after = load_checkpoint(run)
    assert after is not None
    assert after["begun"].keys() == state["begun"].keys() != set()  # still there for another share


def test_heads_that_the_first_weights_lack_are_not_blended_with_chance(
    tiny: TrainConfig, tmp_path: Path
) -> None:
    torch.save(MixFormerV2(tiny.network).state_dict(), tmp_path / "backbone.pth")
    half = replace(tiny, optim=replace(tiny.optim, blend=0.5, lr=0.01))
    train(half, tmp_path / "run", init=tmp_path / "backbone.pth")
    state = load_checkpoint(tmp_path / "run")
    assert state is not None
    blended = load_model(tmp_path / "run" / "bundle").state_dict()
    head, stem = "box_head.mlps.0.fc1.weight", "backbone.stem.proj.weight"
    trained = {name: state["average"][f"net.{name}"] for name in (head, stem)}
    assert_close(blended[head], trained[head], atol=1e-3, rtol=1e-3)
    assert (blended[stem] - trained[stem]).abs().max() > 3e-3
