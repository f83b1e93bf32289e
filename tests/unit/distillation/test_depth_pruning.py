"""Layers that fade: the gain of eq. 9, both forms of eq. 8, and an exact end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from mixformerv2.distillation.config import kept_layers, matched_layers
from mixformerv2.distillation.depth_pruning import (
    FadingLayer,
    fade_layers,
    fading_gain,
)
from mixformerv2.errors import ConfigError, WeightsError
from mixformerv2.models import build
from mixformerv2.models import load as load_network
from mixformerv2.models.attention import Layer
from mixformerv2.training.checkpoint import load_checkpoint
from mixformerv2.training.config import TrainConfig
from mixformerv2.training.learner import Learner
from mixformerv2.training.loop import Run, train
from mixformerv2.training.outcome import read_outcome, remove_layers, without_layers
from mixformerv2.training.stage import make_stage
from mixformerv2.weights import save_bundle
from mixformerv2.weights.bundle import read_config

from .conftest import Batch, lively, network, save_run

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own advice on import


def test_the_gain_is_the_cosine_of_equation_nine() -> None:
    gains = [fading_gain(t, 40) for t in range(60)]
    assert gains[0] == 1.0
    assert gains[10] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert gains[20] == pytest.approx(0.5)
    assert gains[40:] == [0.0] * 20
    assert gains == sorted(gains, reverse=True)
    assert fading_gain(0, 0) == 0.0


def _layer() -> Layer:
    layer = lively(network()).net.backbone.layers[1]
    assert isinstance(layer, Layer)
    return layer


def _tokens() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(2, 20, 64, generator=generator)
    k, v = torch.randn(2, 2, 1, 8, 64, generator=generator)
    return x, k, v


@pytest.mark.parametrize("gain", [1.0, 0.5, 0.1])
def test_branches_fade_as_in_the_published_code(gain: float) -> None:
    """The same as a layer with that gain, which the golden outputs hold to the published code."""
    layer = _layer()
    fading = FadingLayer(layer, "branches")
    fading.set_gain(gain)
    layer.gain = gain
    x, k, v = _tokens()
    assert_close(fading.search(x, k, v), layer.search(x, k, v))
    assert_close(fading.ask(x, k, v, 16), layer.ask(x, k, v, 16))
    for ours, theirs in zip(fading.templates(x), layer.templates(x), strict=True):
        assert_close(ours, theirs)


def test_a_block_fades_as_equation_eight_is_printed() -> None:
    layer = _layer()
    fading = FadingLayer(layer, "block")
    fading.set_gain(0.3)
    x, k, v = _tokens()
    attended = layer.attn.search(layer.norm1(x), k, v)
    forward = layer.mlp(layer.norm2(attended + x))
    assert_close(fading.search(x, k, v), 0.3 * (forward + attended) + x)
    fading.set_gain(1.0)
    assert_close(fading.search(x, k, v), layer.search(x, k, v))


@pytest.mark.parametrize("form", ["branches", "block"])
@pytest.mark.parametrize(("depth", "drop"), [(12, (0, 3, 6, 9)), (8, (0, 2, 4, 6))])
def test_faded_layers_can_be_removed_exactly(
    depth: int, drop: tuple[int, ...], form: str, batch: Batch
) -> None:
    full = lively(network(depth=depth))
    state = {k: v.clone() for k, v in full.state_dict().items()}
    fade_layers(full.net, drop, form)  # type: ignore[arg-type]
    for layer in full.net.backbone.layers:
        if isinstance(layer, FadingLayer):
            layer.set_gain(0.0)
            layer.gone = False  # computed with gain 0, not skipped
    inputs = (batch["template"], batch["online"], batch["search"])
    computed = full(*inputs)
    for layer in full.net.backbone.layers:
        if isinstance(layer, FadingLayer):
            layer.set_gain(0.0)
    skipped = full(*inputs)
    small = Learner(without_layers(network(depth=depth), drop)).eval()
    small.load_state_dict(remove_layers(state, drop))
    removed = small(*inputs)
    for other in (skipped, removed):
        assert_close(other.boxes, computed.boxes, atol=1e-6, rtol=0)
        for name in ("logits", "score"):
            ours, theirs = getattr(other, name).sigmoid(), getattr(computed, name).sigmoid()
            assert_close(ours, theirs, atol=1e-6, rtol=0)
    assert (full.keep, small.net.config.depth) == ((), depth - len(drop))


def test_state_names_stay_those_of_the_teacher() -> None:
    learner = lively(network())
    names = list(learner.state_dict())
    fade_layers(learner.net, (0, 2))
    assert list(learner.state_dict()) == names


@pytest.mark.parametrize(
    ("depth", "drop", "before", "after"),
    [
        (12, (0, 3, 6, 9), (2, 5, 8, 11), (1, 3, 5, 7)),
        (8, (0, 2, 4, 6), (1, 3, 5, 7), (0, 1, 2, 3)),
    ],
)
def test_matched_layers_before_and_after_the_drop(
    depth: int, drop: tuple[int, ...], before: tuple[int, ...], after: tuple[int, ...]
) -> None:
    """Fact 5: student 2, 5, 8, 11 are the layers 1, 3, 5, 7 of what is left."""
    assert matched_layers(depth, drop) == before
    kept = kept_layers(depth, drop)
    assert tuple(kept.index(layer) for layer in before) == after


def test_a_run_fades_drops_and_leaves_the_smaller_network(
    settings: Callable[..., TrainConfig], tmp_path: Path, teacher: Path, batch: Batch
) -> None:
    config = settings("depth_pruning", network(), "prune.fade=0.5", "optim.lr=1e-3")
    train(config, tmp_path / "run")
    state = load_checkpoint(tmp_path / "run")
    before = load_checkpoint(teacher)
    assert state is not None
    assert before is not None
    assert state["removed"] == [0, 2]
    moved = {
        name
        for name, value in state["learner"].items()
        if "backbone.layers" in name and not torch.equal(value, before["average"][name])
    }
    assert {int(name.split(".")[3]) for name in moved} == {1, 3}  # fading layers are frozen
    outcome = read_outcome(tmp_path / "run")
    assert outcome.network.depth == 2
    small = build(outcome.network)
    small.load_state_dict(outcome.weights())
    bundle = load_network(tmp_path / "run" / "bundle")
    assert bundle.config.depth == 2
    crops = [batch[k].permute(0, 3, 1, 2) / 255.0 for k in ("template", "online", "search")]
    expected = small.eval()(*crops).boxes
    assert_close(bundle(*crops).boxes, expected, atol=2e-3, rtol=0)  # float16 weights
    # the next stage starts from what is left
    again = settings("score", network(depth=2), f"init={tmp_path / 'run'}")
    stage = make_stage(again)
    learner = stage.build()
    stage.start(learner, again.init)
    name = "net.backbone.layers.0.mlp.fc1.weight"
    assert_close(
        learner.state_dict()[name], state["average"]["net.backbone.layers.1.mlp.fc1.weight"]
    )


def test_a_run_that_stops_while_layers_fade_goes_on_equally(
    settings: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    config = settings("depth_pruning", network(), "prune.fade=0.7", "optim.lr=1e-3")
    train(config, tmp_path / "whole")
    part = Run(config, tmp_path / "parts")
    stream = part.stream()
    for _ in range(2):
        part._one(stream)
    part.save()
    part.monitor.close()
    assert load_checkpoint(tmp_path / "parts")["removed"] == []  # type: ignore[index]
    train(config, tmp_path / "parts")
    first, second = load_checkpoint(tmp_path / "whole"), load_checkpoint(tmp_path / "parts")
    assert first is not None
    assert second is not None
    for name, value in first["average"].items():
        assert_close(second["average"][name], value, atol=0, rtol=0, msg=name)


def test_a_run_goes_on_only_with_the_same_layers(
    settings: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    config = settings("depth_pruning", network(), "optim.steps=1")
    train(config, tmp_path / "run")
    other = replace(config, prune=replace(config.prune, layers=(1, 2)))
    with pytest.raises(Exception, match="another drop"):
        Run(other, tmp_path / "run")


def test_features_of_a_fresh_copy_are_the_teachers(
    settings: Callable[..., TrainConfig], batch: Batch
) -> None:
    stage = make_stage(settings("depth_pruning", network(), "prune.fade=0.5"))
    learner = stage.build()
    stage.start(learner, None)
    stage.before_step([learner], 0)
    _, terms = stage.losses(learner.eval(), batch, torch.tensor(4.0))
    assert float(terms["features"]) == pytest.approx(0.0, abs=1e-8)
    assert float(terms["logits"]) == pytest.approx(0.0, abs=1e-5)
    stage.before_step([learner], 10**6)
    _, terms = stage.losses(learner, batch, torch.tensor(4.0))
    assert float(terms["features"]) > 1e-4


@pytest.mark.parametrize(
    ("model", "changes", "sentence"),
    [
        (network(depth=3), ("prune.layers=[1]",), "needs model.depth=4, got 3"),
        (network(), ("prune.layers=[4]",), "cannot be dropped from 4 layers"),
        (network(depth=5), (), "set prune.layers"),
        (network(), ("prune.method=skip",), "needs model.depth=2, got 4"),
        (network(), ("prune.method=first",), "needs model.depth=3, got 4"),
        (network(), ("distill.pairs=[[0,0],[1,1]]",), r"matches \[\[0, 0\]\], but layers \[0, 2\]"),
    ],
)
def test_what_does_not_fit_is_said(
    settings: Callable[..., TrainConfig], model: object, changes: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_stage(settings("depth_pruning", model, *changes)).build()


def test_tea_skip_of_any_depth_keeps_the_last_layer_of_each_group(
    settings: Callable[..., TrainConfig],
) -> None:
    """Tea-skip4 of Table 8b: layers 2, 5, 8 and 11 of twelve, without naming the other eight."""
    for deep, shallow, kept in ((12, 4, (2, 5, 8, 11)), (12, 8, (1, 2, 4, 5, 7, 8, 10, 11))):
        stage = make_stage(settings("depth_pruning", network(depth=shallow), "prune.method=skip"))
        stage.match(network(depth=deep))  # type: ignore[attr-defined]
        matched = [(kept[ours], theirs) for ours, theirs in stage.pairs]  # type: ignore[attr-defined]
        assert matched == [(n, n) for n in (2, 5, 8, 11)]


def test_corner_teachers_fade_too(
    settings: Callable[..., TrainConfig], tmp_path: Path, batch: Batch
) -> None:
    """Tables 3d to 3f prune MixViT itself."""
    corner = network(box_head="corner", bins=4, head_channels=32)
    folder = save_run(tmp_path / "corner", lively(corner))
    changes = (f"distill.teacher={folder}", "distill.maps=corners", "prune.fade=0.5")
    train(settings("depth_pruning", corner, *changes), tmp_path / "run")
    assert read_outcome(tmp_path / "run").network.depth == 2
    assert load_network(tmp_path / "run" / "bundle").config.box_head == "corner"


def test_a_student_of_copied_weights_is_under_the_teachers_terms(
    settings: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    terms = {"weights": "research only", "file": None}
    save_bundle(build(network()).eval(), tmp_path / "bundle", licence=terms)
    taught = f"distill.teacher={tmp_path / 'bundle'}"
    for start, expected in (("teacher", "research only"), ("random", "not stated")):
        pairs = (taught, f"distill.start={start}", "optim.steps=2")
        train(settings("distill", network(), *pairs), tmp_path / f"from_{start}")
        assert read_config(tmp_path / f"from_{start}" / "bundle").licence["weights"] == expected


def _stopped(config: TrainConfig, folder: Path, steps: int) -> None:
    """A run that was stopped after so many steps."""
    run = Run(config, folder)
    stream = run.stream()
    for _ in range(steps):
        run._one(stream)
    run.save()
    run.write_bundle()
    run.monitor.close()


def test_a_run_whose_layers_still_fade_is_no_source(
    settings: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """Its layers would count in full, which is a network that nobody trained."""
    config = settings("depth_pruning", network(), "prune.fade=0.7")
    _stopped(config, tmp_path / "run", 2)
    with pytest.raises(WeightsError, match="layers 0, 2 still fade"):
        read_outcome(tmp_path / "run")
    train(config, tmp_path / "run")
    assert read_outcome(tmp_path / "run").network.depth == 2


@pytest.mark.parametrize(("form", "written"), [("branches", True), ("block", False)])
def test_there_is_a_bundle_in_mid_fade_only_where_it_is_the_same_network(
    settings: Callable[..., TrainConfig], tmp_path: Path, form: str, written: bool
) -> None:
    config = settings("depth_pruning", network(), "prune.fade=0.7", f"prune.form={form}")
    _stopped(config, tmp_path / "run", 2)
    assert (tmp_path / "run" / "bundle").exists() == written
    train(config, tmp_path / "run")
    assert load_network(tmp_path / "run" / "bundle").config.depth == 2


def test_a_run_goes_on_only_with_the_same_fading(
    settings: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """More steps move m; layers that have faded would come back."""
    config = settings("depth_pruning", network(), "prune.fade=0.5")
    train(config, tmp_path / "run")
    longer = replace(config, optim=replace(config.optim, steps=60))
    with pytest.raises(WeightsError, match=r"another fading_steps \(3\)"):
        Run(longer, tmp_path / "run")
    exact = replace(longer, prune=replace(config.prune, fade=0.05))
    Run(exact, tmp_path / "run").monitor.close()


@pytest.mark.parametrize(
    ("student", "change", "sentence"),
    [
        ({"mlp_ratio": 1.0}, (), "hidden is 256 in the teacher and 64 in the student"),
        ({"box_head": "four_tokens_own"}, (), "box_head is four_tokens_shared in the teacher"),
        ({"depth": 2, "mlp_ratio": 1.0}, ("prune.method=skip",), "set model.mlp_ratio as in"),
    ],
)
def test_layers_that_are_not_the_teachers_are_no_start(
    settings: Callable[..., TrainConfig],
    student: dict[str, object],
    change: tuple[str, ...],
    sentence: str,
) -> None:
    stage = make_stage(settings("depth_pruning", network(**student), *change))
    with pytest.raises(ConfigError, match=sentence):
        stage.start(stage.build(), None)


@pytest.mark.parametrize("method", ["skip", "first"])
def test_layers_of_another_width_are_no_start_either(
    settings: Callable[..., TrainConfig], tmp_path: Path, method: str
) -> None:
    wide = save_run(tmp_path / "wide", lively(network(width=128)))
    stage = make_stage(
        settings("depth_pruning", network(depth=2), f"prune.method={method}", "loss.features=0")
    )
    with pytest.raises(WeightsError, match="holds another backbone"):
        stage.start(stage.build(), wide)


def test_a_pruned_student_may_have_other_bins(settings: Callable[..., TrainConfig]) -> None:
    """The last layer of the box MLP is read at its bins, not drawn anew."""
    stage = make_stage(settings("depth_pruning", network(bins=64)))
    torch.manual_seed(0)
    learner = stage.build()
    stage.start(learner, None)
    torch.manual_seed(1)
    again = stage.build()
    stage.start(again, None)
    for name, value in learner.state_dict().items():
        if name.startswith("net."):
            assert_close(again.state_dict()[name], value, atol=0, rtol=0, msg=name)
