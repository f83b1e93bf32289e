"""Dense maps to distributions of the sides, and a student that learns them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from mixformerv2.distillation.dense_to_sparse import corner_marginals, resample_sides
from mixformerv2.distillation.sides import resampling
from mixformerv2.distillation.teacher import load_teacher
from mixformerv2.errors import ConfigError, WeightsError
from mixformerv2.models.heads import expectation
from mixformerv2.training.config import TrainConfig
from mixformerv2.training.learner import Learner
from mixformerv2.training.log import read_log
from mixformerv2.training.loop import train
from mixformerv2.training.losses import gaussian_sides, kl_to_sides
from mixformerv2.training.stage import make_stage

from .conftest import Batch, lively, network, save_run

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own advice on import

BOX = (0.2, 0.55, 0.5, 0.8)  # four different numbers: left, top, right, bottom


def bump(place: float, bins: int, sigma: float = 0.06) -> Tensor:
    places = torch.arange(bins) / bins
    return (-((places - place) ** 2) / (2 * sigma**2)).softmax(-1)


def analytic_maps(bins: int) -> Tensor:
    """Maps of the two corners of BOX, rows first: a corner is at its row and its column."""
    left, top, right, bottom = BOX
    corners = ((top, left), (bottom, right))
    return torch.stack([torch.outer(bump(y, bins), bump(x, bins)) for y, x in corners])[None]


@pytest.mark.parametrize("bins", [14, 72, 96])
def test_marginals_of_an_analytic_map_are_its_sides_in_order(bins: int) -> None:
    sides = corner_marginals(analytic_maps(bins))
    assert_close(sides.sum(-1), torch.ones(1, 4))
    assert_close(expectation(sides)[0], torch.tensor(BOX), atol=0.01, rtol=0)
    for side, place in zip(sides[0], BOX, strict=True):
        assert_close(side, bump(place, bins), atol=1e-6, rtol=1e-4)


def test_a_teacher_with_a_corner_head_hands_on_its_sides_in_order(
    tmp_path: Path, batch: Batch
) -> None:
    """Through the whole path: network, teacher, resampling to the student's bins."""
    config = network(box_head="corner_pyramid", bins=16, head_channels=32)
    teacher = load_teacher(save_run(tmp_path / "mixvit", lively(config)))
    maps = analytic_maps(config.bins).log()

    class Painted(nn.Module):
        def forward(self, tokens: Tensor) -> Tensor:
            return maps.expand(len(tokens), -1, -1, -1)

    teacher.inner.net.box_head = Painted()
    taught = teacher(batch["template"], batch["online"], batch["search"])
    assert_close(taught.boxes[0], torch.tensor(BOX), atol=0.02, rtol=0)
    places = expectation(resample_sides(taught.sides, 72))
    assert_close(places, taught.boxes, atol=1e-4, rtol=0)


@pytest.mark.parametrize("old", [14, 72, 96])
@pytest.mark.parametrize("new", [14, 72, 96])
def test_resampling_keeps_mass_and_expectation(old: int, new: int) -> None:
    generator = torch.Generator().manual_seed(old * new)
    probs = torch.randn(5, 4, old, generator=generator).mul(3).softmax(-1)
    probs[..., -(old // new + 1) :] = 0  # nothing beyond the last new bin
    probs = probs / probs.sum(-1, keepdim=True)
    out = resample_sides(probs, new)
    assert out.shape == (5, 4, new)
    assert (out >= 0).all()
    assert_close(out.sum(-1), torch.ones(5, 4))
    assert_close(expectation(out), expectation(probs), atol=1e-5, rtol=0)


def test_what_stands_beyond_the_last_bin_is_moved_onto_it() -> None:
    last = torch.zeros(96)
    last[-1] = 1.0
    out = resample_sides(last, 72)
    assert_close(out[-1], torch.tensor(1.0))


def test_a_smooth_distribution_stays_smooth() -> None:
    """Fourteen bins on seventy-two: one hill, not a comb of fourteen spikes."""
    out = resample_sides(bump(0.5, 14, sigma=0.12), 72)[6:66]  # an end's bin cannot spread
    rises = (out.diff() > 1e-6).nonzero()
    falls = (out.diff() < -1e-6).nonzero()
    assert rises.max() < falls.min()
    assert_close(resampling(72, 72), torch.eye(72, dtype=torch.float64))


def test_the_divergence_is_the_sum_of_four_sides_or_their_mean(
    settings: Callable[..., TrainConfig], batch: Batch
) -> None:
    student = network(bins=16)
    losses = {}
    for kind in ("sum", "mean"):
        stage = make_stage(settings("dense_to_sparse", student, f"distill.sides={kind}"))
        torch.manual_seed(3)
        learner = stage.build().eval()
        taught = stage.teacher(*stage.inputs(batch))  # type: ignore[attr-defined]
        out = learner(*stage.inputs(batch))
        losses[kind] = stage.divergence(out, taught)  # type: ignore[attr-defined]
        by_hand = kl_to_sides(out.logits, resample_sides(taught.sides, 16))
    assert_close(losses["sum"], by_hand)
    assert_close(losses["mean"], by_hand / 4)


def test_which_head_teaches(settings: Callable[..., TrainConfig], teacher: Path) -> None:
    dense = make_stage(settings("dense_to_sparse", network()))
    dense.build()
    assert dense.teacher.head == "dense"  # type: ignore[attr-defined]
    tokens = make_stage(settings("distill", network()))
    tokens.build()
    assert tokens.teacher.head == "tokens"  # type: ignore[attr-defined]
    assert load_teacher(teacher, "tokens", dense=True).head == "tokens"


def test_a_student_learns_what_the_teacher_says(
    settings: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    config = settings(
        "dense_to_sparse", network(depth=2), "optim.steps=40", "optim.lr=2e-3", "data.absent=0",
        "loss.l1=0", "loss.ciou=0", "loss.sides=0", "loss.dense=0", "loss.dense_ciou=0",
        "loss.dense_to_sparse=0", "loss.inside=0", "loss.score=0", "distill.start=random",
    )  # fmt: skip
    train(config, tmp_path / "student")
    rows = list(read_log(tmp_path / "student"))
    assert rows[0]["logits"] == pytest.approx(rows[0]["loss"])
    assert sum(r["logits"] for r in rows[-5:]) < 0.7 * sum(r["logits"] for r in rows[:5])
    assert "dense" not in rows[0]  # no dense head is trained where none of its terms counts


def test_teacher_and_student_may_differ_in_crop_size_and_bins(
    settings: Callable[..., TrainConfig], tmp_path: Path, batch: Batch
) -> None:
    large = network(template_size=48, search_size=96, box_head="corner", bins=6, head_channels=32)
    folder = save_run(tmp_path / "large", lively(large))
    stage = make_stage(settings("dense_to_sparse", network(), f"distill.teacher={folder}"))
    learner = stage.build()
    # What stands in a part of the teacher's crop stands in the same part of the student's.
    maps = analytic_maps(6).log().expand(4, -1, -1, -1)
    teacher = stage.teachers()[0]
    real, teacher.inner.net.box_head.forward = teacher.inner.net.box_head.forward, lambda _: maps  # type: ignore[union-attr]
    taught = teacher(*stage.inputs(batch))
    places = expectation(resample_sides(taught.sides, 32))
    assert_close(places, expectation(corner_marginals(maps.exp())), atol=1e-4, rtol=0)
    teacher.inner.net.box_head.forward = real  # type: ignore[union-attr]
    loss, terms = stage.losses(learner, batch, torch.tensor(4.0))
    loss.backward()
    assert torch.isfinite(loss)
    assert terms["logits"] > 0
    assert all(p.grad is None for p in stage.teachers()[0].parameters())


def test_a_corner_student_that_is_sure_and_wrong_still_learns(batch: Batch) -> None:
    """Its marginals at the true sides round to zero; their logarithms, and gradients, do not."""
    learner = Learner(network(box_head="corner", head_channels=32)).eval()
    far = torch.zeros(4, 2, 4, 4)
    far[:, 0, 3, 3] = far[:, 1, 0, 0] = 40.0
    far.requires_grad_(True)
    learner.net.box_head.forward = lambda tokens: far  # type: ignore[method-assign]
    out = learner(batch["template"], batch["online"], batch["search"])
    exact = corner_marginals(far.double().flatten(2).softmax(-1).view_as(far)).log()
    assert_close(out.logits, exact.float())
    kl_to_sides(out.logits, gaussian_sides(batch["box"], 4, 0.5)).sum().backward()
    assert far.grad is not None
    assert far.grad.norm() > 1.0


def test_whole_corner_maps_are_compared_where_both_have_them(
    settings: Callable[..., TrainConfig], tmp_path: Path, batch: Batch
) -> None:
    corner = network(box_head="corner", bins=4, head_channels=32)
    folder = save_run(tmp_path / "corner", lively(corner))
    config = settings("distill", corner, f"distill.teacher={folder}", "distill.maps=corners")
    stage = make_stage(config)
    learner = stage.build()
    stage.start(learner, None)
    _, terms = stage.losses(learner.eval(), batch, torch.tensor(4.0))
    assert terms["logits"] == pytest.approx(0.0, abs=1e-5)  # a copy of its teacher
    stage = make_stage(replace(config, distill=replace(config.distill, start="random")))
    learner = stage.build()
    stage.start(learner, None)
    loss, terms = stage.losses(learner.eval(), batch, torch.tensor(4.0))
    assert terms["logits"] > 1e-3
    loss.backward()
    mean = make_stage(replace(stage.config, distill=replace(stage.config.distill, sides="mean")))
    mean.build()
    _, averaged = mean.losses(learner, batch, torch.tensor(4.0))
    assert averaged["logits"] == pytest.approx(float(terms["logits"]) / 2, rel=1e-5)
    assert "corner maps" in mean.plan()[0]
    assert "mean of two" in mean.plan()[0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("distill.teacher=''", "needs a teacher"),
        ("distill.teacher=nowhere", "neither a run nor a bundle"),
        ("distill.pairs=[[1,9]]", "the teacher 4, counted from 0"),
        ("distill.maps=corners", "needs two corner heads"),
    ],
)
def test_what_does_not_fit_is_said_before_the_first_step(
    settings: Callable[..., TrainConfig], change: str, sentence: str
) -> None:
    with pytest.raises((ConfigError, WeightsError), match=sentence):
        make_stage(settings("dense_to_sparse", network(), change)).build()


def test_features_of_other_crops_cannot_be_matched(
    settings: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    folder = save_run(tmp_path / "large", lively(network(search_size=96, bins=48)))
    changes = (f"distill.teacher={folder}", "distill.pairs=[[1,1]]")
    with pytest.raises(ConfigError, match="as many"):
        make_stage(settings("distill", network(), *changes)).build()


def test_a_teacher_without_a_dense_head_is_said(
    settings: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    folder = save_run(tmp_path / "plain", lively(network(), dense=False))
    with pytest.raises(ConfigError, match="has no dense head"):
        load_teacher(folder, "dense")
    assert load_teacher(folder, "auto", dense=True).head == "tokens"
