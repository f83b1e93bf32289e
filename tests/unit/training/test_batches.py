"""Batches by number: whoever makes them, a run that stopped goes on with the same ones."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from mixformerv2.data.bank_pack import pack_bank
from mixformerv2.training.batches import batch_stream
from mixformerv2.training.config import TrainConfig


@pytest.mark.parametrize("backend", ["opencv", "tensors"])
def test_a_stream_goes_on_where_it_stopped(tiny: TrainConfig, backend: str, tmp_path: Path) -> None:
    pack_bank(tiny.bank, tmp_path / "bank.zip", short_side=64)
    data = replace(tiny.data, backend=backend)
    config = replace(tiny, data=data, bank=tmp_path / "bank.zip")
    whole = list(islice(batch_stream(config, first=0), 4))
    rest = list(islice(batch_stream(config, first=1, stride=2), 2))
    for number, batch in zip((1, 3), rest, strict=True):
        assert set(batch) == {"template", "online", "search", "box", "present", "weight"}
        for name, values in batch.items():
            assert torch.equal(values, whole[number][name]), name
    assert batch["search"].shape == (4, 64, 64, 3)
    assert batch["search"].dtype == torch.uint8


@pytest.mark.parametrize("backend", ["opencv", "tensors"])
def test_a_stream_ends_with_the_run(tiny: TrainConfig, backend: str) -> None:
    config = replace(tiny, data=replace(tiny.data, backend=backend))
    assert len(list(batch_stream(config, first=9))) == config.optim.steps - 9
