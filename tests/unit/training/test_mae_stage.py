"""Pre-training as a stage: it learns, resumes exactly, and gives its backbone to the next run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from mixformerv2.errors import ConfigError, WeightsError
from mixformerv2.settings import build
from mixformerv2.training.checkpoint import load_checkpoint
from mixformerv2.training.config import MaeConfig, TrainConfig, load_config
from mixformerv2.training.learner import Learner
from mixformerv2.training.log import read_log
from mixformerv2.training.loop import Run, train
from mixformerv2.training.stages import BoxStage

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own advice on import


@pytest.fixture
def mae(tiny: TrainConfig) -> TrainConfig:
    return replace(tiny, stage="mae", mae=MaeConfig(0.5, 64, 1))


def test_a_run_pre_trains_and_resumes_exactly(mae: TrainConfig, tmp_path: Path) -> None:
    train(mae, tmp_path / "whole")
    parts = Run(mae, tmp_path / "parts")
    stream = parts.stream()
    for _ in range(5):
        parts._one(stream)
    parts.save()
    parts.monitor.close()
    train(mae, tmp_path / "parts")
    whole, resumed = load_checkpoint(tmp_path / "whole"), load_checkpoint(tmp_path / "parts")
    assert whole is not None
    assert resumed is not None
    for name, value in whole["average"].items():
        assert_close(resumed["average"][name], value, atol=0, rtol=0, msg=name)
    rows = list(read_log(tmp_path / "whole"))
    assert rows[-1]["mae"] == rows[-1]["loss"] > 0
    assert not (tmp_path / "whole" / "bundle").exists()  # no tracker comes out of it


def test_the_backbone_is_where_the_next_run_starts(mae: TrainConfig, tmp_path: Path) -> None:
    """Table 3e: of four layers, the first two or every second."""
    deep = replace(mae, model={**mae.model, "depth": 4})
    train(replace(deep, optim=replace(deep.optim, steps=3)), tmp_path / "mae")
    state = load_checkpoint(tmp_path / "mae")
    assert state is not None
    for how, layers in (("first", (0, 1)), ("skip", (1, 3)), ("3,0", (3, 0))):
        stage = BoxStage(replace(mae, stage="box", init_layers=how))
        learner = stage.build()
        assert isinstance(learner, Learner)
        stage.start(learner, tmp_path / "mae")
        for ours, theirs in enumerate(layers):
            name = f"net.backbone.layers.{theirs}.mlp.fc1.weight"
            fc1 = learner.net.backbone.layers[ours].get_parameter("mlp.fc1.weight")
            assert torch.equal(fc1.detach(), state["average"][name])
    stage = BoxStage(replace(mae, stage="box", init_layers="7,8"))
    with pytest.raises(ConfigError, match="2 different layers of 0 to 3"):
        stage.start(stage.build(), tmp_path / "mae")


def test_a_checkpoint_file_is_a_source_too(tiny: TrainConfig, tmp_path: Path) -> None:
    stage = BoxStage(tiny)
    learner = stage.build()
    assert isinstance(learner, Learner)
    state = learner.net.backbone.state_dict()
    changed = {f"backbone.{name}": value + 1 for name, value in state.items()}
    torch.save({"model": changed}, tmp_path / "mae.pth")
    other = stage.build()
    assert isinstance(other, Learner)
    stage.start(other, tmp_path / "mae.pth")
    name = "layers.1.attn.qkv.weight"
    assert torch.equal(other.net.backbone.state_dict()[name], changed[f"backbone.{name}"])
    (tmp_path / "bad.pth").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"bad\.pth is damaged"):
        stage.start(stage.build(), tmp_path / "bad.pth")


def test_settings_are_checked_before_anything_runs(mae: TrainConfig) -> None:
    wrong = replace(mae, mae=MaeConfig(share=0.99))
    from mixformerv2.training.stage import make_stage

    with pytest.raises(ConfigError, match="some must be hidden"):
        make_stage(wrong).build()
    assert make_stage(mae).plan() == [
        "the backbone learns to restore the hidden 50% of search crops"
    ]
    with pytest.raises(ConfigError, match="unknown setting"):
        build(TrainConfig, {"mae": {"ratio": 0.5}})


def test_the_shipped_settings_are_read() -> None:
    config = load_config(Path(__file__).parents[3] / "configs" / "mae.yaml")
    assert (config.stage, config.mae.share) == ("mae", 0.75)
