"""Starting from weights of another input size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from mixformerv2.errors import WeightsError
from mixformerv2.models import ModelConfig
from mixformerv2.models.spm import ScoreModule
from mixformerv2.training.checkpoint import save_checkpoint
from mixformerv2.training.learner import Learner
from mixformerv2.training.transfer import resample_bins, start_from

SMALL = {"width": 64, "depth": 2, "template_size": 32, "search_size": 64, "bins": 32}


def _save(learner: Learner, folder: Path) -> None:
    state = learner.state_dict()
    network = learner.net.config.to_dict()
    save_checkpoint(folder, {"learner": state, "average": state, "step": 1, "network": network})


def test_resampled_rows_keep_their_place_in_the_crop() -> None:
    rows = torch.arange(64.0) / 64  # the value of a row is where its bin stands
    places = resample_bins(rows, 80)
    torch.testing.assert_close(places[:79], torch.arange(79.0) / 80)
    assert torch.equal(resample_bins(rows, 64), rows)


def test_weights_move_to_larger_crops(tmp_path: Path) -> None:
    torch.manual_seed(0)
    small = Learner(ModelConfig(**SMALL))
    _save(small, tmp_path)
    large = Learner(ModelConfig(**{**SMALL, "template_size": 48, "search_size": 96, "bins": 48}))
    start_from(large, tmp_path)
    torch.testing.assert_close(
        large.net.backbone.stem.proj.weight, small.net.backbone.stem.proj.weight
    )
    before, after = small.net.box_head.mlps[0].fc2.bias, large.net.box_head.mlps[0].fc2.bias
    assert after.shape == (48,)
    torch.testing.assert_close(after[::3], before[::2])  # bins of the same place


def test_scores_of_mixvit_are_computed_in_float_under_bf16() -> None:
    """Boxes to pool in bf16 would be off by a tenth of a token."""
    config = ModelConfig(
        width=64, depth=1, template_size=32, search_size=64, box_head="corner", bins=4,
        head_channels=32, score_head=True,
    )  # fmt: skip
    learner = Learner(config).eval()
    crops = [torch.randint(0, 255, (2, side, side, 3), dtype=torch.uint8) for side in (32, 32, 64)]
    kept: list[torch.Tensor] = []
    score = learner.net.score_head
    assert isinstance(score, ScoreModule)
    score.register_forward_hook(lambda _, given, out: kept.extend([*given[:2], out]))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        out = learner(*crops)
    tokens, boxes, found = kept
    assert tokens.dtype == boxes.dtype == torch.float32
    assert_close(boxes, out.boxes)
    assert out.score is not None
    assert_close(found, out.score)


def test_another_width_is_refused(tmp_path: Path) -> None:
    _save(Learner(ModelConfig(**SMALL)), tmp_path)
    with pytest.raises(WeightsError, match="another network") as caught:
        start_from(Learner(ModelConfig(**{**SMALL, "width": 128, "depth": 3})), tmp_path)
    said = str(caught.value).partition("another network: ")[2]
    width, depth = SMALL["width"], SMALL["depth"]
    assert said == (
        f"width {width} there, 128 here, depth {depth} there, 3 here; set model.width={width} "
        f"model.depth={depth}"
    )


def test_a_score_head_may_be_added(tmp_path: Path) -> None:
    _save(Learner(ModelConfig(**SMALL, score_head=False)), tmp_path)
    learner = Learner(ModelConfig(**SMALL))
    before = learner.net.score_head.fc1.weight.clone()  # type: ignore[union-attr]
    start_from(learner, tmp_path)
    assert torch.equal(learner.net.score_head.fc1.weight, before)  # type: ignore[union-attr]


def test_a_score_head_may_be_left_behind(tmp_path: Path) -> None:
    old = Learner(ModelConfig(**SMALL))
    _save(old, tmp_path)
    learner = Learner(ModelConfig(**SMALL, score_head=False))
    start_from(learner, tmp_path)
    ours, theirs = learner.state_dict(), old.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_the_other_family_gives_its_backbone(tmp_path: Path) -> None:
    corner = Learner(ModelConfig(**SMALL, box_head="corner", head_channels=16))
    _save(corner, tmp_path)
    learner = Learner(ModelConfig(**SMALL))
    start_from(learner, tmp_path)
    name = "layers.1.attn.qkv.weight"
    ours, theirs = learner.net.backbone.state_dict(), corner.net.backbone.state_dict()
    assert torch.equal(ours[name], theirs[name])
    with pytest.raises(WeightsError, match="width, patches, stem and MLP ratio must be the same"):
        start_from(Learner(ModelConfig(**{**SMALL, "width": 128})), tmp_path)


@pytest.mark.parametrize(("how", "layer"), [("first", 0), ("skip", 1), ("1", 1)])
def test_init_layers_choose_of_the_other_family_too(tmp_path: Path, how: str, layer: int) -> None:
    corner = Learner(ModelConfig(**SMALL, box_head="corner", head_channels=16))
    _save(corner, tmp_path)
    learner = Learner(ModelConfig(**{**SMALL, "depth": 1}))
    start_from(learner, tmp_path, how)
    theirs = corner.net.backbone.state_dict()[f"layers.{layer}.attn.qkv.weight"]
    assert torch.equal(learner.net.backbone.state_dict()["layers.0.attn.qkv.weight"], theirs)


def test_a_dense_head_of_other_bins_is_left_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = Learner(ModelConfig(**SMALL))
    _save(old, tmp_path)
    learner = Learner(ModelConfig(**{**SMALL, "bins": 64}))  # 16 of a token, before 8
    start_from(learner, tmp_path)
    name = "net.backbone.layers.1.attn.qkv.weight"
    assert torch.equal(learner.state_dict()[name], old.state_dict()[name])
    assert "no dense.* that fit; they start from random weights" in caplog.text
