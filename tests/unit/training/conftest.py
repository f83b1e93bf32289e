"""The drawn bank of the data tests, and a run small enough for a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixformerv2.training.config import TrainConfig, load_config

from ..data.conftest import bank_folder  # noqa: F401

TINY = [
    "model.width=64",
    "model.depth=2",
    "model.template_size=32",
    "model.search_size=64",
    "model.bins=32",
    "model.drop_path=0.2",
    "data.template_size=32",
    "data.search_size=64",
    "optim.batch=4",
    "optim.warmup=2",
    "optim.steps=12",
    "log_every=2",
    "device=cpu",
    "threads=1",
    "workers=0",
]


@pytest.fixture
def tiny(bank_folder: Path) -> TrainConfig:  # noqa: F811
    """Twelve steps of a network of two layers on the drawn bank."""
    return load_config(None, [*TINY, f"bank={bank_folder}"])
