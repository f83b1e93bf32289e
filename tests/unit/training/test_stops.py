"""What may stop a run, and what is left of it then."""

from __future__ import annotations

import math
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mixformerv2.cli.main import main
from mixformerv2.errors import (
    ConfigError,
    DataError,
    OutputError,
    TrainingError,
    WeightsError,
)
from mixformerv2.models.config import ModelConfig
from mixformerv2.models.mixformerv2 import MixFormerV2
from mixformerv2.training.batches import batch_stream, make_loader
from mixformerv2.training.checkpoint import load_checkpoint
from mixformerv2.training.config import TrainConfig
from mixformerv2.training.judge import Judge
from mixformerv2.training.log import read_log
from mixformerv2.training.loop import Run, train
from mixformerv2.training.monitor import Monitor
from mixformerv2.training.pictures import write_sheet
from mixformerv2.weights import save_bundle

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own advice on import


def with_optim(config: TrainConfig, **changes: Any) -> TrainConfig:
    return replace(config, optim=replace(config.optim, **changes))


def test_processes_that_make_samples_leave_the_stop_to_the_one_that_trains(
    tiny: TrainConfig,
) -> None:
    """`timeout`, a scheduler and torchrun tell the whole group; a dead worker would be an error."""
    loader = make_loader(replace(tiny, workers=1), first=0)
    batches: Any = iter(loader)
    assert set(next(batches)) >= {"search", "box"}
    groups = [os.getpgid(worker.pid) for worker in batches._workers]
    batches._shutdown_workers()
    assert len(groups) == 1
    assert os.getpgid(0) not in groups


@pytest.mark.parametrize("workers", [0, 1])
def test_data_that_cannot_be_read_ends_a_run_in_a_sentence_with_a_checkpoint(
    tiny: TrainConfig, tmp_path: Path, bank_folder: Path, workers: int
) -> None:
    bank = tmp_path / "bank"
    shutil.copytree(bank_folder, bank)
    config = replace(tiny, bank=str(bank), workers=workers)
    run = Run(config, tmp_path / "run")
    stream = run.stream()
    run._one(stream)
    for path in bank.rglob("*.jpg"):  # the disk is gone
        path.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        # What is decoded already is kept, so a fresh reader of the bank stands for it.
        for _ in batch_stream(config, first=1):
            pass
    assert "Traceback" not in str(caught.value)
    assert "\n" not in str(caught.value)
    run.stream = lambda: batch_stream(config, first=1)  # type: ignore[method-assign]
    with pytest.raises(DataError):
        run.go(None)
    run.monitor.close()
    state = load_checkpoint(tmp_path / "run")
    assert state is not None
    assert state["step"] == 1


def test_a_run_is_saved_before_it_is_judged(
    tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluation takes minutes, and somebody may pull the plug meanwhile."""
    steps = []

    def look(self: Run) -> None:
        state = load_checkpoint(tmp_path)
        steps.append((self.step, None if state is None else state["step"]))
        self.judge._next = 1e18

    run = Run(tiny, tmp_path)
    monkeypatch.setattr(Judge, "due", property(lambda self: self._next == 0))
    monkeypatch.setattr(Run, "evaluate", look)
    run.judge._next = 0
    run.go(None)
    run.monitor.close()
    assert steps == [(1, 1)]


def test_what_is_no_tracker_yet_is_not_judged_at_each_step(
    tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time a checkpoint is written before it."""
    run = Run(tiny, tmp_path)
    saved = []
    monkeypatch.setattr(Judge, "due", property(lambda self: self._next == 0))
    monkeypatch.setattr(run.stage, "network", lambda step: None)
    monkeypatch.setattr(Run, "save", lambda self: saved.append(self.step))
    run.judge._next = 0
    run.go(None)
    run.monitor.close()
    assert saved == [1]


def test_settings_of_a_run_that_goes_on(tiny: TrainConfig, tmp_path: Path) -> None:
    train(with_optim(tiny, steps=6), tmp_path)
    run = Run(with_optim(tiny, weight_decay=0.3), tmp_path)
    assert sorted({group["weight_decay"] for group in run.optimizer.param_groups}) == [0.0, 0.3]
    run.monitor.close()
    with pytest.raises(WeightsError, match=r"grouped otherwise.*optim\.layer_decay"):
        Run(with_optim(tiny, layer_decay=0.5), tmp_path)
    # Fewer steps than there were: it is at its end, with a bundle.
    shutil.rmtree(tmp_path / "bundle")
    train(with_optim(tiny, steps=4), tmp_path)
    assert (tmp_path / "bundle" / "config.json").exists()
    with pytest.raises(ConfigError, match="minutes must be a number from 0 on, got -1"):
        train(tiny, tmp_path, minutes=-1)


@pytest.mark.parametrize(("template", "search"), [(64, 64), (96, 64), (32, 64)])
def test_a_contact_sheet_has_room_for_any_crops(tmp_path: Path, template: int, search: int) -> None:
    class Stage:
        def predict(self, model: object, batch: dict[str, torch.Tensor]) -> Any:
            from mixformerv2.training.losses import Predictions

            return Predictions(None, torch.full((4, 4), 0.5), None)

    def crops(side: int) -> torch.Tensor:
        return torch.zeros(4, side, side, 3, dtype=torch.uint8)

    batch = {
        "template": crops(template), "online": crops(template), "search": crops(search),
        "box": torch.full((4, 4), 0.5), "present": torch.ones(4),
    }  # fmt: skip
    write_sheet(tmp_path / "sheet.png", Stage(), torch.nn.Linear(1, 1), batch)  # type: ignore[arg-type]
    assert (tmp_path / "sheet.png").stat().st_size > 0


def test_a_setting_may_come_first_whatever_its_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A path in it is not the path of a settings file."""
    gone = tmp_path / "no" / "bank"
    code = main(["train", f"bank={gone}", "device=cpu", "--out", str(tmp_path / "run")])
    said = capsys.readouterr().err
    assert code != 0
    assert f"bank {gone} does not exist" in said


def test_a_lost_process_that_makes_samples_is_a_sentence(tiny: TrainConfig, tmp_path: Path) -> None:
    """Killed for memory, say: PyTorch raises it in the midst of whatever the trainer does."""
    run = Run(replace(tiny, save_minutes=0.0), tmp_path)
    real = run._one

    def losing(stream: Any) -> None:
        real(stream)
        if run.step == 2:
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    run._one = losing  # type: ignore[method-assign]
    with pytest.raises(TrainingError, match=r"worker \(pid 7\) is killed by signal: Killed\)"):
        run.go(None)
    run.monitor.close()
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 1  # what may be half a step is not kept


def test_other_parts_of_the_learner_than_the_run_has_are_refused(
    tiny: TrainConfig, tmp_path: Path
) -> None:
    train(tiny, tmp_path / "box", minutes=0.0)
    alone = replace(tiny.loss, dense=0.0, dense_ciou=0.0, dense_to_sparse=0.0, inside=0.0)
    with pytest.raises(WeightsError, match=r"other parts .*dense\.inside\.bias.* own loss and mae"):
        Run(replace(tiny, loss=alone), tmp_path / "box")
    mae = replace(tiny, stage="mae")
    train(mae, tmp_path / "mae", minutes=0.0)
    wider = replace(mae, mae=replace(mae.mae, decoder_width=64))
    with pytest.raises(WeightsError, match=r"other parts .*sizes differ"):
        Run(wider, tmp_path / "mae")


def test_weights_that_a_run_that_goes_on_has_no_use_for_are_told_of(
    tiny: TrainConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_bundle(MixFormerV2(tiny.network).eval(), tmp_path / "bundle")
    train(tiny, tmp_path / "run", minutes=0.0)
    Run(tiny, tmp_path / "run", tmp_path / "bundle").monitor.close()
    assert "holds a run at step 1, which is carried on" in caplog.text
    caplog.clear()
    train(tiny, tmp_path / "tuned", minutes=0.0, init=tmp_path / "bundle")
    Run(tiny, tmp_path / "tuned", tmp_path / "bundle").monitor.close()
    assert "carried on" not in caplog.text


def test_a_second_ctrl_c_does_not_cost_the_first_its_checkpoint(
    tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, saving = Run._one, Run.save

    def interrupted(self: Run, stream: Any) -> None:
        real(self, stream)
        os.kill(os.getpid(), signal.SIGINT)

    def impatiently(self: Run) -> Path:
        os.kill(os.getpid(), signal.SIGINT)
        return saving(self)

    monkeypatch.setattr(Run, "_one", interrupted)
    monkeypatch.setattr(Run, "save", impatiently)
    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path)
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["step"] == 1


@pytest.mark.parametrize("damage", [b"\xff\xfe\x00", b"5\n", b'{"loss": 1}\n', bytes(50)])
def test_a_log_is_read_up_to_its_damage(tiny: TrainConfig, tmp_path: Path, damage: bytes) -> None:
    """A power cut leaves anything; it must not keep a run from going on."""
    first = b'{"step": 2, "samples": 8, "loss": 1.5}\n'
    (tmp_path / "log.jsonl").write_bytes(first + damage)
    Monitor(tmp_path, tiny, start=2).close()
    assert (tmp_path / "log.jsonl").read_bytes() == first
    assert [row["step"] for row in read_log(tmp_path)] == [2]


def test_a_log_has_no_numbers_that_json_lacks(tiny: TrainConfig, tmp_path: Path) -> None:
    """An evaluation in which no frame counted says NaN."""
    monitor = Monitor(tmp_path, tiny, start=0)
    monitor.evaluated(1, {"auc": math.nan, "precision": 0.5}, 1.0)
    monitor.close()
    assert "NaN" not in (tmp_path / "log.jsonl").read_text()
    (row,) = read_log(tmp_path)
    assert row["eval_precision"] == 0.5
    assert "eval_auc" not in row


def test_a_log_that_cannot_be_opened_is_a_sentence(tiny: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(OutputError, match=r"cannot write the log .*log\.jsonl: Is a directory"):
        Monitor(tmp_path, tiny, start=0)


@pytest.mark.parametrize("part", ["average", "optimizer", "seconds"])
def test_half_a_checkpoint_is_none(tiny: TrainConfig, tmp_path: Path, part: str) -> None:
    whole = {"learner": {}, "average": {}, "optimizer": {}, "step": 1, "seconds": 0.5}
    torch.save({**whole, part: None}, tmp_path / "checkpoint.pt")
    with pytest.raises(WeightsError, match=r"not a checkpoint of .*, or not a whole one"):
        Run(tiny, tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"")
    with pytest.raises(
        WeightsError, match=r"\(EOFError\); .* move it away and the run begins anew"
    ):
        load_checkpoint(tmp_path)


def test_a_stage_without_a_tracker_has_no_pieces(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mixformerv2.training.loop.train", lambda *_, **__: tmp_path / "c.pt")
    words = ["train", "stage=mae", "data.search_size=128", "--out", str(tmp_path), "--pieces"]
    assert main(words) == 0
    assert "stage mae leaves no bundle to be cut into pieces" in capsys.readouterr().err


def test_under_torchrun_one_process_cuts_and_speaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second one would find the file gone, and take away the pieces that the first has made."""
    monkeypatch.setattr("mixformerv2.training.loop.train", lambda *_, **__: tmp_path / "c.pt")
    monkeypatch.setattr("mixformerv2.weights.pieces.split.__defaults__", (20_000,))
    model = MixFormerV2(ModelConfig(width=64, depth=1, template_size=32, search_size=64, bins=16))
    save_bundle(model, tmp_path / "bundle")
    words = ["train", "data.search_size=128", "--out", str(tmp_path), "--pieces"]
    monkeypatch.setenv("RANK", "1")
    assert main(words) == 0
    assert (tmp_path / "bundle" / "model.safetensors").exists()
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("RANK", "0")
    assert main(words) == 0
    assert not (tmp_path / "bundle" / "model.safetensors").exists()
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"pieces of the tracker: {tmp_path / 'bundle'}, after ")
    assert f"`python -m mixformerv2.weights.pieces join {tmp_path / 'bundle'}`" in said
