"""What is matched between teacher and student, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from mixformerv2.errors import ConfigError
from mixformerv2.training.config import TrainConfig
from mixformerv2.training.stage import make_stage

from .conftest import Batch, lively, network, save_run

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own advice on import

PAIR = "distill.pairs=[[3,3]]"


@pytest.mark.parametrize("name", ["logits", "features"])
def test_a_term_of_the_teacher_is_switched_off_by_its_weight(
    settings: Callable[..., TrainConfig], batch: Batch, name: str
) -> None:
    """Table 3d: what is off is neither computed nor in the sum."""
    own = ("loss.l1=0", "loss.ciou=0", "loss.sides=0", "loss.score=0", "loss.dense_to_sparse=0")
    rest = ("loss.dense=0", "loss.dense_ciou=0", "loss.inside=0")
    stage = make_stage(settings("depth_pruning", network(), f"loss.{name}=0", *own, *rest))
    learner = stage.build().eval()
    stage.before_step([learner], 10**6)  # without its layers it is not its teacher
    loss, terms = stage.losses(learner, batch, torch.tensor(4.0))
    (other,) = {"logits", "features"} - {name}
    weight = {"logits": 1.0, "features": 0.2}[other]
    assert name not in terms
    assert terms[other] > 1e-4
    assert_close(loss.detach(), weight * terms[other])


def test_features_are_mean_squared_differences_summed_over_pairs(
    settings: Callable[..., TrainConfig], batch: Batch
) -> None:
    stage = make_stage(settings("depth_pruning", network(), "distill.tokens=search"))
    learner = stage.build().eval()
    inputs = stage.inputs(batch)
    _, terms = stage.losses(learner, batch, torch.tensor(4.0))
    ours, theirs = learner(*inputs).features, stage.teachers()[0](*inputs).features
    search = slice(2 * 4, 2 * 4 + 16)  # two templates of 2 x 2 tokens, then 4 x 4
    by_hand = sum(F.mse_loss(a[:, search], b[:, search]) for a, b in zip(ours, theirs, strict=True))
    assert_close(terms["features"], torch.as_tensor(by_hand).detach())


def test_search_tokens_are_matched_across_other_templates(
    settings: Callable[..., TrainConfig], tmp_path: Path, batch: Batch
) -> None:
    """Each network's search tokens stand behind its own templates'."""
    folder = save_run(tmp_path / "large", lively(network(template_size=48)))
    taught = f"distill.teacher={folder}"
    stage = make_stage(settings("distill", network(), taught, PAIR, "distill.tokens=search"))
    learner = stage.build().eval()
    inputs = stage.inputs(batch)
    _, terms = stage.losses(learner, batch, torch.tensor(4.0))
    (ours,), (theirs,) = learner(*inputs).features, stage.teachers()[0](*inputs).features
    assert (ours.shape[1], theirs.shape[1]) == (2 * 4 + 16 + 4, 2 * 9 + 16 + 4)
    assert_close(terms["features"], F.mse_loss(ours[:, 8:24], theirs[:, 18:34]).detach())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"template_size": 48}, "2 template .* 3 in .*distill.tokens to search, or equal crop"),
        (
            {"search_size": 96, "bins": 36},
            "4 search tokens .* 6 in .*loss.features to 0, or equal crop",
        ),
        (
            {"box_head": "corner", "bins": 4, "head_channels": 32},
            "4 prediction tokens in the student, 0 in .*or distill.tokens to search$",
        ),
    ],
)
def test_tokens_that_are_not_as_many_are_said_with_the_way_out(
    settings: Callable[..., TrainConfig], tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    folder = save_run(tmp_path / "other", lively(network(**change)))
    config = settings("distill", network(), f"distill.teacher={folder}", PAIR)
    with pytest.raises(ConfigError, match=sentence):
        make_stage(config).build()
