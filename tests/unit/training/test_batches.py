"""Batches by number: whoever makes them, a run that stopped goes on with the same ones."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from mixformerv2.data.bank_pack import pack_bank
from mixformerv2.data.sampling import SetConfig
from mixformerv2.errors import DataError
from mixformerv2.training.batches import batch_stream
from mixformerv2.training.checkpoint import load_checkpoint
from mixformerv2.training.config import TrainConfig, load_config
from mixformerv2.training.loop import train

from ..data.layouts import make_coco, make_got10k
from .conftest import TINY

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own advice on import


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads that wait for each other make small tensors slow on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


def test_batches_drawn_together_go_on_where_they_stopped(tiny: TrainConfig) -> None:
    """Three batches are cut from one draw; a run may stop in the middle of a draw."""
    config = replace(tiny, data=replace(tiny.data, backend="tensors", at_once=3))
    whole = list(islice(batch_stream(config, first=0), 5))
    rest = list(batch_stream(config, first=4))
    assert len(rest) == config.optim.steps - 4
    assert all(torch.equal(rest[0][name], whole[4][name]) for name in whole[4])
    assert not torch.equal(whole[0]["search"], whole[1]["search"])
    mine, theirs = (list(islice(batch_stream(config, rank, 2), 4)) for rank in (0, 1))
    assert not torch.equal(mine[3]["search"], theirs[3]["search"])
    again = next(iter(batch_stream(config, first=2 * 3 + 1, stride=2)))
    assert torch.equal(again["search"], theirs[3]["search"])


@pytest.mark.parametrize("backend", ["opencv", "tensors"])
def test_a_stream_ends_with_the_run(tiny: TrainConfig, backend: str) -> None:
    config = replace(tiny, data=replace(tiny.data, backend=backend))
    assert len(list(batch_stream(config, first=9))) == config.optim.steps - 9


def test_training_takes_labelled_sets_from_the_settings(tmp_path: Path) -> None:
    """`data.sets` on the command line, two layouts, no bank; a wrong root is one sentence."""
    make_got10k(tmp_path / "got10k")
    make_coco(tmp_path / "coco")
    sets = f"[{{name: got10k, root: {tmp_path}/got10k, split: train}}, {{root: {tmp_path}/coco}}]"
    changes = [pair for pair in TINY if not pair.startswith("optim.steps")]
    config = load_config(
        Path(__file__).parents[3] / "configs" / "own.yaml",
        [*changes, f"data.sets={sets}", "optim.steps=4", "bank=nowhere"],
    )
    train(config, tmp_path / "run")
    state = load_checkpoint(tmp_path / "run")
    assert state is not None
    assert state["step"] == 4
    missing = replace(config.data, sets=(SetConfig(tmp_path / "missing"),))
    with pytest.raises(DataError, match="missing is not there"):
        batch_stream(replace(config, data=missing, workers=1), first=0)
