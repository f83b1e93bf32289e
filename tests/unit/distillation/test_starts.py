"""Which layers a shallower student begins with, and settings that its method does not know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from mixformerv2.distillation.checks import check_plan
from mixformerv2.distillation.plan import read_plan
from mixformerv2.errors import ConfigError
from mixformerv2.training.checkpoint import load_checkpoint
from mixformerv2.training.config import TrainConfig
from mixformerv2.training.learner import Learner
from mixformerv2.training.stage import make_stage

from .conftest import lively, network, save_run, write_plan

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own advice on import

QKV = "backbone.layers.{}.attn.qkv.weight"


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A pre-trained backbone of four layers, as a file."""
    path = tmp_path / "mae.pth"
    torch.save({"model": lively(network(), seed=7).net.backbone.state_dict()}, path)
    return path


def started(config: TrainConfig) -> Learner:
    stage = make_stage(config)
    learner = stage.build()
    stage.start(learner, config.init)
    assert isinstance(learner, Learner)
    return learner


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (("prune.method=skip",), (1, 3)),
        (("prune.method=skip", "prune.layers=[0,1]"), (2, 3)),
        (("prune.method=first",), (0, 1)),
        (("prune.method=skip", "init_layers=0,3"), (0, 3)),
        (("prune.method=first", "init_layers=skip"), (1, 3)),
    ],
)
def test_the_method_chooses_layers_of_a_pre_trained_backbone_too(
    settings: Callable[..., TrainConfig],
    encoder: Path,
    changes: tuple[str, ...],
    expected: tuple[int, int],
) -> None:
    config = settings("depth_pruning", network(depth=2), f"init={encoder}", *changes)
    ours = started(config).state_dict()
    theirs = torch.load(encoder, weights_only=True)["model"]
    for new, old in enumerate(expected):
        assert_close(ours["net." + QKV.format(new)], theirs[QKV.format(old)[9:]])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (("prune.method=first", "prune.layers=[0,1]"), "prune.method first keeps the first ones"),
        (("prune.method=skip", "prune.form=block"), "prune.form is of layers that fade"),
    ],
)
def test_settings_of_another_method_are_refused(
    settings: Callable[..., TrainConfig], changes: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_stage(settings("depth_pruning", network(depth=2), *changes))


def test_layers_of_an_encoder_are_not_asked_of_a_tracker(
    settings: Callable[..., TrainConfig], teacher: Path
) -> None:
    changes = ("prune.method=first", f"init={teacher}", "init_layers=skip")
    config = settings("depth_pruning", network(depth=2), *changes)
    with pytest.raises(ConfigError, match=r"init_layers=skip is for pre-trained backbones, and .*"):
        started(config)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["shallow.prune.layers=[1]"], r"of 4 layers without \[1\] there stay 3"),
        (["shallow.init_layers=0,1,2"], "2 different layers of 0 to 3 are wanted, got 0,1,2"),
        (["shallow.init=@sparse", "shallow.init_layers=skip"], "is for pre-trained backbones"),
        (["shallow.prune.layers=[0,1]"], None),
    ],
)
def test_a_plan_holds_them_to_the_source_before_it_starts(
    tmp_path: Path,
    tiny_plan: dict[str, object],
    encoder: Path,
    changes: list[str],
    sentence: str | None,
) -> None:
    path = write_plan(tmp_path / "plan.yaml", **tiny_plan)
    skip = ["shallow.prune.method=skip", "shallow.model.depth=2", f"shallow.init={encoder}"]
    plan = read_plan(path, [*skip, "shallow.prune.fade=0.08", *changes], out=tmp_path / "out")
    if sentence is None:
        assert check_plan(plan) == []
        return
    with pytest.raises(ConfigError, match=f"stage shallow: .*{sentence}"):
        check_plan(plan)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ((), "2 layers of {teacher}, by skip"),
        (("distill.start=random",), "2 layers random weights"),
        (("init=runs/other",), "2 layers of runs/other, by skip"),
    ],
)
def test_the_plan_says_whose_layers_they_are(
    settings: Callable[..., TrainConfig], teacher: Path, changes: tuple[str, ...], said: str
) -> None:
    config = settings("depth_pruning", network(depth=2), "prune.method=skip", *changes)
    assert make_stage(config).plan()[0] == said.format(teacher=teacher)


def test_a_folder_that_is_called_as_a_shipped_bundle_is_not_taken_for_it(
    settings: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`t` is the shipped one in every place, and `./t` the folder."""
    from mixformerv2.training.origin import identity_of, read_origin
    from mixformerv2.training.outcome import read_network, read_outcome

    save_run(tmp_path / "t", lively(network()), stage="mae")
    monkeypatch.chdir(tmp_path)
    assert read_outcome("t").network.width == read_network("t").width == 192
    assert identity_of("t").startswith("bundle ")
    assert read_origin("t")["name"] == "t"
    assert load_checkpoint(tmp_path / "t") is not None
    assert read_network("./t").width == 64
    assert identity_of("./t").startswith("run ")


@pytest.mark.parametrize(
    ("method", "layers", "expected"), [("skip", "[0,2]", (1, 3)), ("first", "[]", (0, 1))]
)
def test_other_ways_to_begin(
    settings: Callable[..., TrainConfig],
    teacher: Path,
    method: str,
    layers: str,
    expected: tuple[int, ...],
) -> None:
    """Tea-skip takes the layers that stay, Tea-fir the first ones."""
    config = settings(
        "depth_pruning", network(depth=2), f"prune.method={method}", f"prune.layers={layers}"
    )
    stage = make_stage(config)
    learner = stage.build()
    stage.start(learner, None)
    state, source = learner.state_dict(), load_checkpoint(teacher)
    assert source is not None
    for new, old in enumerate(expected):
        name = "net.backbone.layers.{}.attn.qkv.weight"
        assert_close(state[name.format(new)], source["average"][name.format(old)])
    assert stage.pairs == ((0, 1), (1, 3))  # type: ignore[attr-defined]
    assert stage.removed(99) == ()


def test_a_stage_starts_from_the_first_layers_of_another_network(
    settings: Callable[..., TrainConfig], teacher: Path
) -> None:
    """As MAE-fir4 of Table 3e: `--init` decides whose layers."""
    config = settings("depth_pruning", network(depth=2), "prune.method=first", f"init={teacher}")
    stage = make_stage(config)
    learner = stage.build()
    stage.start(learner, config.init)
    state = load_checkpoint(teacher)
    assert state is not None
    name = "net.backbone.layers.1.mlp.fc1.weight"
    assert (learner.state_dict()[name] == state["average"][name]).all()


def test_tea_skip_takes_a_source_of_the_students_depth_whole(
    settings: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    small = lively(network(depth=2), seed=3)
    source = save_run(tmp_path / "small", small)
    config = settings("depth_pruning", network(depth=2), "prune.method=skip", f"init={source}")
    stage = make_stage(config)
    learner = stage.build()
    stage.start(learner, source)
    ours = learner.state_dict()
    assert all(ours[name].equal(value) for name, value in small.state_dict().items())
    other = make_stage(replace(config, prune=replace(config.prune, layers=(1,))))
    with pytest.raises(ConfigError, match=r"of 4 layers without \[1\] there stay 3"):
        other.left_out(4)  # type: ignore[attr-defined]
