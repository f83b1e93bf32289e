"""Small teachers, as folders of runs, and settings of a student under one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mixformerv2.models import ModelConfig
from mixformerv2.training.checkpoint import save_checkpoint
from mixformerv2.training.config import TrainConfig, load_config
from mixformerv2.training.learner import Learner

from ..data.conftest import bank_folder  # noqa: F401

TINY = {"template_size": 32, "search_size": 64}
SIZES = {"template_size": 32, "search_size": 64, "bins": 32}
Batch = dict[str, torch.Tensor]


def network(**changes: Any) -> ModelConfig:
    """Four layers of width 64 without batch norms."""
    return ModelConfig(**{"width": 64, "depth": 4, **SIZES, **changes})


def save_run(folder: Path, learner: Learner, stage: str = "box") -> Path:
    """The folder of a run that ended with these weights."""
    state = {k: v.clone() for k, v in learner.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    network = learner.net.config.to_dict()
    save_checkpoint(
        folder,
        {"learner": state, "average": state, "step": 1, "network": network, "stage": stage},
    )
    return folder


def lively(config: ModelConfig, seed: int = 1, **kwargs: Any) -> Learner:
    """A network whose every layer matters, unlike a fresh one's."""
    torch.manual_seed(seed)
    learner = Learner(config, **kwargs)
    with torch.no_grad():
        for name, p in learner.named_parameters():
            if p.ndim >= 2 and "layers" in name:
                p.mul_(3)
            elif p.ndim == 1:
                p.add_(0.1 * torch.randn_like(p))
    return learner.eval()


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    """A run of four layers, dense head included."""
    return save_run(tmp_path / "teacher", lively(network()))


@pytest.fixture
def settings(bank_folder: Path, teacher: Path) -> Callable[..., TrainConfig]:  # noqa: F811
    """Settings of a run under the teacher; a network and pairs key=value change them."""

    def make(stage: str, model: ModelConfig, *pairs: str) -> TrainConfig:
        base = load_config(
            None,
            [
                f"stage={stage}", f"distill.teacher={teacher}", f"bank={bank_folder}",
                "data.template_size=32", "data.search_size=64", "model.template_size=32",
                "model.search_size=64", "optim.batch=4", "optim.warmup=0", "optim.steps=6",
                "log_every=1", "device=cpu", "threads=1", "workers=0", *pairs,
            ],
        )  # fmt: skip
        return replace(base, model={"name": "mixformerv2_t", **model.to_dict()})

    return make


@pytest.fixture
def batch() -> Batch:
    """Four samples of noise, all with their target."""
    generator = torch.Generator().manual_seed(0)

    def noise(side: int) -> torch.Tensor:
        return torch.randint(0, 255, (4, side, side, 3), generator=generator, dtype=torch.uint8)

    return {
        "template": noise(32),
        "online": noise(32),
        "search": noise(64),
        "box": torch.tensor([[0.2, 0.3, 0.6, 0.8]]).repeat(4, 1),
        "present": torch.ones(4),
    }


def write_plan(path: Path, **values: object) -> Path:
    """A plan's file."""
    path.write_text("# A plan for a test.\n" + yaml.safe_dump(values, sort_keys=False))
    return path


@pytest.fixture(scope="session")
def tiny_plan(bank_folder: Path) -> dict[str, Any]:  # noqa: F811
    """Teacher, student, pruned student, score: three steps each."""
    model = {**network(depth=4).to_dict(), "name": "mixformerv2_t"}
    corner = {**model, "box_head": "corner", "head_channels": 16, "score_head": False}
    return {
        "common": {
            "bank": str(bank_folder),
            "data": TINY,
            "optim": {"batch": 4, "steps": 3, "warmup": 0},
            "device": "cpu",
            "threads": 1,
            "workers": 0,
            "log_every": 1,
        },
        "stages": [
            {"name": "teacher", "model": corner},
            {
                "name": "sparse",
                "stage": "dense_to_sparse",
                "model": model,
                "distill": {"teacher": "@teacher"},
            },
            {
                "name": "shallow",
                "stage": "depth_pruning",
                "model": model,
                "distill": {"teacher": "@sparse"},
                "prune": {"fade": 0.5},
            },
            {
                "name": "score",
                "stage": "score",
                "init": "@shallow",
                "model": {**model, "depth": 2},
            },
        ],
    }
