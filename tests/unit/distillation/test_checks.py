"""Whether what a plan did not make fits it, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mixformerv2.distillation.checks import check_plan
from mixformerv2.distillation.plan import read_plan
from mixformerv2.errors import ConfigError
from mixformerv2.models.registry import build

from .conftest import lively, network, save_run, write_plan


@pytest.fixture
def path(tmp_path: Path, tiny_plan: dict[str, object]) -> Path:
    """Teacher, student, pruned student, score."""
    return write_plan(tmp_path / "plan.yaml", **tiny_plan)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"width": 128}, r"stage teacher: .*mae\.pth: .*the network's is .*must be the same"),
        ({"depth": 3}, "stage teacher: 4 different layers of 0 to 2 are wanted"),
        ({}, None),
    ],
)
def test_a_pre_trained_backbone_is_held_to_the_network_at_once(
    path: Path, tmp_path: Path, change: dict[str, int], sentence: str | None
) -> None:
    file = tmp_path / "mae.pth"
    torch.save({"model": build(network(**change)).backbone.state_dict()}, file)
    plan = read_plan(path, [f"teacher.init={file}"], out=tmp_path / "out")
    if sentence is None:
        assert check_plan(plan) == []
        return
    with pytest.raises(ConfigError, match=sentence):
        check_plan(plan)


@pytest.mark.parametrize("dense", [True, False])
def test_a_dense_head_that_is_asked_for_is_looked_for(
    path: Path, tmp_path: Path, dense: bool
) -> None:
    folder = save_run(tmp_path / "other", lively(network(), dense=dense))
    change = [f"sparse.distill.teacher={folder}", "sparse.distill.head=dense"]
    plan = read_plan(path, change, out=tmp_path / "out")
    if dense:
        assert check_plan(plan) == []
        return
    with pytest.raises(ConfigError, match=r"stage sparse: .*other has or will have no dense head"):
        check_plan(plan)


def test_a_run_of_pre_training_is_no_teacher(path: Path, tmp_path: Path) -> None:
    folder = save_run(tmp_path / "pre", lively(network()), stage="mae")
    plan = read_plan(path, [f"sparse.distill.teacher={folder}"], out=tmp_path / "out")
    with pytest.raises(ConfigError, match=r"stage sparse: .*masked pictures and answers no boxes"):
        check_plan(plan)
