"""What surrounds the steps: groups, guards, evaluation, TensorBoard, rehearsal, files."""

from __future__ import annotations

import json
import logging
import os
import pickletools
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mixformerv2.errors import ConfigError, DataError, OutputError, TrainingError, WeightsError
from mixformerv2.models import ModelConfig, build
from mixformerv2.models import load as load_network
from mixformerv2.training import monitor as monitor_module
from mixformerv2.training.checkpoint import load_checkpoint
from mixformerv2.training.config import TrainConfig, load_config, show_config
from mixformerv2.training.guard import LossGuard
from mixformerv2.training.learner import Learner, parameter_groups
from mixformerv2.training.log import read_log
from mixformerv2.training.loop import Run, train
from mixformerv2.training.monitor import Monitor
from mixformerv2.training.outcome import read_outcome, remove_layers, without_layers
from mixformerv2.training.rehearsal import rehearse

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own advice on import

SMALL = {"width": 64, "depth": 3, "template_size": 32, "search_size": 64, "bins": 32}


def with_optim(config: TrainConfig, **changes: object) -> TrainConfig:
    return replace(config, optim=replace(config.optim, **changes))  # type: ignore[arg-type]


def test_layers_learn_at_their_own_rates() -> None:
    learner = Learner(ModelConfig(**SMALL))
    groups = parameter_groups(learner, 0.1, layer_decay=0.5, backbone=0.1)
    scale = {id(p): group["scale"] for group in groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    layers = learner.net.backbone.layers
    assert scale[id(learner.net.box_head.mlps[0].fc1.weight)] == 1.0
    assert [scale[id(layer.mlp.fc1.weight)] for layer in layers] == pytest.approx(
        [0.025, 0.05, 0.1]
    )
    assert scale[id(learner.net.backbone.stem.proj.weight)] == pytest.approx(0.0125)
    assert decay[id(layers[0].mlp.fc1.weight)] == 0.1
    assert decay[id(layers[0].mlp.fc1.bias)] == 0.0
    assert len(scale) == len(list(learner.parameters()))


def test_rates_reach_the_optimizer(tiny: TrainConfig, tmp_path: Path) -> None:
    run = Run(with_optim(tiny, layer_decay=0.5, backbone=0.1), tmp_path)
    run._one(run.stream())
    run.monitor.close()
    rates = {group["lr"] for group in run.optimizer.param_groups}
    peak = max(rates)
    assert min(rates) == pytest.approx(peak * 0.1 * 0.25)


def test_nothing_left_to_train_is_said() -> None:
    learner = Learner(ModelConfig(**SMALL)).requires_grad_(False)
    with pytest.raises(ConfigError, match="every parameter is frozen"):
        parameter_groups(learner, 0.1)


def test_an_exploding_loss_stops_with_step_and_batch(tmp_path: Path) -> None:
    guard = LossGuard(tmp_path, explode=10)
    batch = {"search": torch.ones(2, 3)}
    guard.check(0, 1e9, 1.0, {}, [batch])  # nothing to compare with yet
    guard = LossGuard(tmp_path, explode=10)
    for step in range(30):
        guard.check(step, 2.0, 1.0, {}, [batch])
    guard.check(30, 15.0, 1.0, {}, [batch])
    with pytest.raises(TrainingError, match=r"exploded to 40.*at step 31 .*bad_batch_31"):
        guard.check(31, 40.0, 1.0, {"l1": 8.0}, [batch, batch])
    assert torch.load(tmp_path / "bad_batch_31.pt", weights_only=True)["search"].shape == (4, 3)
    with pytest.raises(TrainingError, match="not finite at step 32"):
        guard.check(32, 1.0, float("inf"), {}, [batch])


def test_a_run_explodes_before_its_weights_change(tiny: TrainConfig, tmp_path: Path) -> None:
    run = Run(with_optim(tiny, explode=1.5), tmp_path)
    stream = run.stream()
    run._one(stream)
    run.guard.mean, run.guard.seen = 0.01, 100  # as if the loss had been small for long
    before = {k: v.clone() for k, v in run.inner.named_parameters()}
    with pytest.raises(TrainingError, match="exploded"):
        run._one(stream)
    run.monitor.close()
    for name, value in run.inner.named_parameters():
        assert_close(value, before[name], atol=0, rtol=0)


def test_a_full_disk_ends_the_run_and_leaves_its_checkpoint(
    tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(with_optim(tiny, steps=3), tmp_path)
    real, calls = torch.save, []

    def full(state: object, file: object) -> None:
        calls.append(1)
        file.write(b"some bytes")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match=r"No space left.*the last one is untouched"):
        train(replace(with_optim(tiny, steps=6), save_minutes=0.0), tmp_path)
    monkeypatch.setattr(torch, "save", real)
    state = load_checkpoint(tmp_path)
    assert calls == [1]
    assert state is not None
    assert state["step"] == 3
    assert not list(tmp_path.glob("*.part"))


def test_a_full_disk_under_the_log_is_a_sentence(tiny: TrainConfig, tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, tiny, start=0)
    monitor._file.close()

    class Full:
        def write(self, text: str) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None: ...

    monitor._file = Full()  # type: ignore[assignment]
    with pytest.raises(OutputError, match=r"log\.jsonl: No space left"):
        monitor.log(2, 1e-3, {"loss": 1.0})


def test_a_full_disk_leaves_the_log_of_a_run_that_goes_on(
    tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines of lost steps are dropped in a copy, not in the only log."""
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps({"step": n, "loss": 1.0}) + "\n" for n in range(1, 9)))
    before = log.read_bytes()

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:20])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as still:
        still.setattr(Path, "write_bytes", full)
        with pytest.raises(OutputError, match=r"log\.jsonl: No space left"):
            Monitor(tmp_path, tiny, start=4)
    assert log.read_bytes() == before
    Monitor(tmp_path, tiny, start=4).close()
    assert [row["step"] for row in read_log(tmp_path)] == [1, 2, 3, 4]


def test_pictures_that_cannot_be_written_do_not_end_a_run(
    tiny: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mixformerv2.training.pictures.write_curves", full)
    with caplog.at_level(logging.WARNING):
        train(with_optim(tiny, steps=3), tmp_path)
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 3
    assert "pictures" in caplog.text
    assert "No space left" in caplog.text


def test_compiled_channels_last_and_unfused_runs_learn_the_same(
    tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`compile` with a back end that only traces: the code it writes is not what is tested."""
    compiled = []
    real = torch.nn.Module.compile

    def trace(self: torch.nn.Module) -> None:
        compiled.append(type(self).__name__)
        real(self, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", trace)
    config = replace(with_optim(tiny, steps=3), log_every=1)
    train(config, tmp_path / "plain")
    train(with_optim(config, compile=True, channels_last=True, fused=False), tmp_path / "compiled")
    assert compiled == ["Learner"]
    for one, other in zip(
        read_log(tmp_path / "plain"), read_log(tmp_path / "compiled"), strict=True
    ):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-4)
    first, second = load_checkpoint(tmp_path / "plain"), load_checkpoint(tmp_path / "compiled")
    assert first is not None
    assert second is not None
    assert set(first["learner"]) == set(second["learner"])


@pytest.fixture
def sequences(tmp_path: Path) -> Path:
    """Three short sequences of a square that moves."""
    rng = np.random.default_rng(0)
    for name in ("one", "two", "three"):
        folder = tmp_path / "sequences" / name / "img"
        folder.mkdir(parents=True)
        rows = []
        for frame in range(3):
            image = rng.integers(0, 99, (90, 120, 3), dtype=np.uint8)
            cv2.rectangle(image, (30 + 4 * frame, 30), (60 + 4 * frame, 60), (9, 200, 240), -1)
            cv2.imwrite(str(folder / f"{frame + 1:06d}.jpg"), image)
            rows.append(f"{30 + 4 * frame},30,30,30")
        (folder.parent / "groundtruth.txt").write_text("\n".join(rows) + "\n")
    return tmp_path / "sequences"


def test_sequences_are_tracked_during_a_run(
    tiny: TrainConfig, tmp_path: Path, sequences: Path
) -> None:
    judged = replace(tiny.eval, root=sequences, every_minutes=0.0, limit=2)
    out = tmp_path / "run"
    train(replace(with_optim(tiny, steps=3), eval=judged, log_every=1), out)
    rows = [row for row in read_log(out) if "eval_auc" in row]
    assert [row["step"] for row in rows] == [1, 2, 3, 3]
    assert all(0 <= row["eval_auc"] <= 1 for row in rows)
    assert load_network(out / "bundle").config.depth == 2
    config = json.loads((out / "bundle" / "config.json").read_text())
    assert config["provenance"]["steps"] == 3
    assert config["tracker"]["search_factor"] == tiny.data.search_factor
    # and a run with evaluations learns what a run without them learns
    train(with_optim(tiny, steps=3), tmp_path / "plain")
    first, second = load_checkpoint(out), load_checkpoint(tmp_path / "plain")
    assert first is not None
    assert second is not None
    for name, value in first["learner"].items():
        assert_close(second["learner"][name], value, atol=0, rtol=0, msg=name)


def test_sequences_that_are_not_there_are_missed_before_the_first_step(
    tiny: TrainConfig, tmp_path: Path
) -> None:
    judged = replace(tiny.eval, root=tmp_path / "nowhere")
    with pytest.raises(DataError, match="nowhere"):
        Run(replace(tiny, eval=judged), tmp_path / "run")


def test_tensorboard_gets_every_line(
    tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, float, int]] = []

    class Board:
        def add_scalar(self, name: str, value: float, step: int) -> None:
            seen.append((name, value, step))

        def close(self) -> None:
            seen.append(("closed", 0.0, 0))

    monkeypatch.setattr(monitor_module, "_tensorboard", lambda folder, step: Board())
    monitor = Monitor(tmp_path, tiny, start=0)
    monitor.log(1, 1e-3, {"loss": 1.0})
    monitor.log(2, 1e-3, {"loss": 3.0})
    monitor.evaluated(2, {"auc": 0.5}, 0.1)
    monitor.close()
    assert ("loss", 2.0, 2) in seen
    assert ("eval_auc", 0.5, 2) in seen
    assert seen[-1][0] == "closed"


def test_the_live_table_shows_terms_rate_and_time_left(
    tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console

    monitor = Monitor(tmp_path, tiny, start=0)
    monitor.evaluated(2, {"auc": 0.5}, 0.1)
    table = monitor._table(6, 1e-3, 50.0, "3 min", {"l1": 0.1, "iou": 0.4, "loss": 2.0})
    console = Console(width=100)
    with console.capture() as text:
        console.print(table)
    monitor.close()
    shown = text.get()
    for word in ("6 of 12", "3 min", "0.500", "0.1000", "0.500", "samples/s"):
        assert word in shown


def test_a_rehearsal_leaves_nothing_and_counts(tiny: TrainConfig, tmp_path: Path) -> None:
    torch.save(build(tiny.network).state_dict(), tmp_path / "backbone.pth")
    plan, figures = rehearse(tiny, tmp_path / "backbone.pth")
    (tmp_path / "backbone.pth").unlink()
    text = "\n".join([*plan, *figures.lines(tiny)])
    words = ("stage box", "2 layers", "12 steps of 4 samples", "parameters:", "memory:")
    for word in (*words, f"from {tmp_path / 'backbone.pth'}; teacher none"):
        assert word in text
    assert figures.learnt == sum(p.numel() for p in Learner(tiny.network).parameters())
    assert figures.kept_bytes > 10_000
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_is_plain_tensors_that_any_version_reads(
    tiny: TrainConfig, tmp_path: Path
) -> None:
    """No code but PyTorch's own rebuilding of tensors, unchanged since version 1.6."""
    train(with_optim(tiny, steps=3), tmp_path)
    with zipfile.ZipFile(tmp_path / "checkpoint.pt") as archive:
        name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
        operations = pickletools.genops(archive.read(name))
        used = {str(arg) for op, arg, _ in operations if op.name in ("GLOBAL", "STACK_GLOBAL")}
    assert used <= {
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        "torch FloatStorage",
        "torch LongStorage",
    }


def test_training_needs_neither_av_nor_onnx_nor_package_metadata(
    tiny: TrainConfig, tmp_path: Path, sequences: Path
) -> None:
    """As `PYTHONPATH=src python -m mixformerv2 train` on a machine with PyTorch alone."""
    judged = replace(tiny.eval, root=sequences, every_minutes=1000.0, limit=1)
    settings = tmp_path / "run.yaml"
    settings.write_text(show_config(replace(with_optim(tiny, steps=3), eval=judged)))
    code = (
        "import importlib.metadata as metadata, runpy, sys\n"
        "for name in ('av', 'onnx', 'onnxruntime', 'openvino'):\n"
        "    sys.modules[name] = None\n"  # any import of it now raises ImportError
        "real = metadata.distribution\n"
        "def refuse(name):\n"
        "    if name == 'mixformerv2':\n"
        "        raise metadata.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "metadata.distribution = refuse\n"
        "runpy.run_module('mixformerv2', run_name='__main__', alter_sys=True)\n"
    )
    source = Path(__file__).parents[3] / "src"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, "train", str(settings),
         "--out", str(tmp_path / "run"), "--pieces"],
        capture_output=True, text=True, check=False, timeout=200,
        env={**os.environ, "PYTHONPATH": str(source)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "bundle" / "model.safetensors").exists()
    assert any("eval_auc" in row for row in read_log(tmp_path / "run"))


def test_removed_layers_are_gone_and_the_rest_is_numbered_anew() -> None:
    network = ModelConfig(**SMALL, layer_gain={0: 0.0, 2: 0.5})
    smaller = without_layers(network, [0])
    assert (smaller.depth, smaller.layer_gain) == (2, {1: 0.5})
    state = Learner(ModelConfig(**SMALL)).state_dict()
    kept = remove_layers(state, [0])
    assert set(kept) == set(Learner(smaller).state_dict())
    for name in ("attn.qkv.weight", "mlp.fc2.bias"):
        assert kept[f"net.backbone.layers.1.{name}"] is state[f"net.backbone.layers.2.{name}"]
    with pytest.raises(WeightsError, match="cannot be dropped"):
        without_layers(network, [0, 1, 2])
    with pytest.raises(WeightsError, match="cannot be dropped"):
        without_layers(network, [7])


def test_what_is_no_run_and_no_bundle_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="neither a run nor a bundle"):
        read_outcome(tmp_path)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("optim.layer_decay=0", "optim.layer_decay must be above 0"),
        ("optim.backbone=2", "optim.backbone must be above 0 and at most 1"),
        ("optim.explode=1", "optim.explode must be above 1"),
        ("eval.limit=-1", "eval.limit"),
        ("eval.max_frames=1", "eval.max_frames"),
        ("eval.every_minutes=-1", "eval.every_minutes"),
        ("distill.pairs=[[1]]", r"distill.pairs\[?.*must have 2 values"),
        ("prune.layers=[1,1]", "prune.layers must be different layers"),
        ("prune.fade=2", "prune.fade is a share"),
    ],
)
def test_a_wrong_setting_is_one_sentence(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_config(None, [override])
