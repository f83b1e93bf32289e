"""Smaller MLPs and widths, cut out of larger ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from mixformerv2.distillation.mlp_reduction import choose_units, cut_state
from mixformerv2.errors import ConfigError
from mixformerv2.models import load as load_network
from mixformerv2.training.config import TrainConfig
from mixformerv2.training.learner import Learner
from mixformerv2.training.loop import train
from mixformerv2.training.stage import make_stage

from .conftest import Batch, lively, network, save_run

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own advice on import


def test_weights_are_cut_as_published() -> None:
    """w' = w[:d1', :d2'] of both linear layers; everything else stays."""
    old, new = network(), network(mlp_ratio=1.0)
    state = lively(old).state_dict()
    cut = cut_state(state, old, new)
    for layer in range(4):
        name = f"net.backbone.layers.{layer}.mlp."
        assert_close(cut[name + "fc1.weight"], state[name + "fc1.weight"][:64, :64])
        assert_close(cut[name + "fc1.bias"], state[name + "fc1.bias"][:64])
        assert_close(cut[name + "fc2.weight"], state[name + "fc2.weight"][:64, :64])
    same = [name for name in state if ".mlp." not in name]
    assert all(cut[name] is state[name] or torch.equal(cut[name], state[name]) for name in same)
    Learner(new).load_state_dict(cut)


def test_units_that_do_nothing_are_the_first_to_go(batch: Batch) -> None:
    """Half of the units, at random places, write nothing: without them nothing changes."""
    old, new = network(), network(mlp_ratio=2.0)
    learner = lively(old)
    generator = torch.Generator().manual_seed(2)
    alive = []
    for layer in learner.net.backbone.layers:
        dead = torch.randperm(256, generator=generator)[:128]
        alive.append(sorted(set(range(256)) - set(dead.tolist())))
        with torch.no_grad():
            layer.mlp.fc2.weight[:, dead] = 0.0
    state = learner.state_dict()
    assert [c.tolist() for c in choose_units(state, old, new, "important").hidden] == alive
    small = Learner(new).eval()
    small.load_state_dict(cut_state(state, old, new, "important"))
    inputs = (batch["template"], batch["online"], batch["search"])
    assert_close(small(*inputs).boxes, learner(*inputs).boxes, atol=1e-6, rtol=0)
    small.load_state_dict(cut_state(state, old, new, "first"))
    assert not torch.allclose(small(*inputs).boxes, learner(*inputs).boxes, atol=1e-4)


@pytest.mark.parametrize("units", ["first", "important"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"stem": "conv"},
        {"box_head": "four_tokens_own"},
        {"box_head": "one_token_direct"},
        {"bins": 128},
        {"box_head": "corner", "head_channels": 128},
        {"box_head": "corner_pyramid", "head_channels": 256, "score_head": False},
    ],
)
def test_a_narrower_network_takes_every_tensor(units: str, changes: dict[str, object]) -> None:
    old, new = network(width=128, **changes), network(width=64, **changes)
    state = lively(old).state_dict()
    cut = cut_state(state, old, new, units)  # type: ignore[arg-type]
    Learner(new).load_state_dict(cut)  # all names, all shapes


def test_heads_stay_whole() -> None:
    old, new = network(width=128), network(width=64)
    learner = lively(old)
    with torch.no_grad():
        learner.net.backbone.layers[2].attn.proj.weight[:, :64] = 0  # the first head writes nothing
    state = learner.state_dict()
    chosen = choose_units(state, old, new, "important")
    assert chosen.heads[2].tolist() == [1]
    cut = cut_state(state, old, new, "important")
    name = "net.backbone.layers.2.attn.qkv.weight"
    assert_close(cut[name][64:128], state[name][128 + 64 : 256][:, chosen.channels])


def test_a_reduced_student_learns_from_every_layer(
    settings: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    config = settings("mlp_reduction", network(mlp_ratio=1.0), "prune.units=important")
    stage = make_stage(config)
    stage.build()
    assert stage.pairs == ((0, 0), (1, 1), (2, 2), (3, 3))  # type: ignore[attr-defined]
    train(config, tmp_path / "run")
    assert load_network(tmp_path / "run" / "bundle").config.hidden == 64


def test_tokens_of_a_narrower_student_are_projected(
    settings: Callable[..., TrainConfig], tmp_path: Path, batch: Batch
) -> None:
    folder = save_run(tmp_path / "wide", lively(network(width=128)))
    config = settings("mlp_reduction", network(), f"distill.teacher={folder}")
    train(config, tmp_path / "run")
    assert load_network(tmp_path / "run" / "bundle").config.width == 64
    # the projections help in training alone
    after = settings("box", network(), f"init={tmp_path / 'run'}")
    stage = make_stage(after)
    learner = stage.build()
    stage.start(learner, after.init)
    assert not any("project" in name for name in learner.state_dict())
    # and are made anew where a run without them becomes such a student
    narrow = save_run(tmp_path / "narrow", lively(network()))
    again = make_stage(replace(config, init=str(narrow)))
    learner = again.build()
    again.start(learner, narrow)
    assert any("project" in name for name in learner.state_dict())
    name = "net.backbone.layers.1.mlp.fc1.weight"
    assert_close(learner.state_dict()[name], lively(network()).state_dict()[name])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"depth": 2}, "keeps the depth"),
        ({"mlp_ratio": 8.0}, "lower model.mlp_ratio"),
        ({"width": 128}, "lower model.width"),
    ],
)
def test_what_does_not_fit_is_said(
    settings: Callable[..., TrainConfig], changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_stage(settings("mlp_reduction", network(**changes))).build()
