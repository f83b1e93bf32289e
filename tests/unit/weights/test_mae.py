"""Pre-trained backbones: which layers are taken, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mixformerv2.errors import ConfigError, WeightsError
from mixformerv2.models import ModelConfig, build
from mixformerv2.models.mae import MaskedAutoencoder
from mixformerv2.weights.mae import choose_layers, init_backbone, read_mae
from tests.golden.weights import tensor

TRACKER = ModelConfig(width=64, depth=2, template_size=32, search_size=64, mlp_ratio=2.0, bins=16)


def published(depth: int = 6, width: int = 64, hidden: int = 128) -> dict[str, Tensor]:
    """A published MAE checkpoint in miniature: encoder, decoder and what is left over."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 17, width),
        "mask_token": (1, 1, 32),
        "patch_embed.proj.weight": (width, 3, 16, 16),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "decoder_blocks.0.mlp.fc1.weight": (32, 32),
        "decoder_embed.weight": (32, width),
    }
    for i in range(depth):
        for name, shape in (
            ("norm1", (width,)),
            ("attn.qkv", (3 * width, width)),
            ("attn.proj", (width, width)),
            ("norm2", (width,)),
            ("mlp.fc1", (hidden, width)),
            ("mlp.fc2", (width, hidden)),
        ):
            shapes[f"blocks.{i}.{name}.weight"] = shape
            shapes[f"blocks.{i}.{name}.bias"] = shape[:1]
    return {key: torch.from_numpy(tensor(key, shape)) for key, shape in shapes.items()}


@pytest.mark.parametrize(
    ("how", "layers"), [("first", (0, 1)), ("skip", (2, 5)), ("4,1", (4, 1)), ("0, 5", (0, 5))]
)
@pytest.mark.parametrize("head", ["four_tokens_shared", "corner"])
def test_layers_are_taken_and_heads_stay(how: str, layers: tuple[int, ...], head: str) -> None:
    model = build(ModelConfig(**{**TRACKER.to_dict(), "box_head": head}))
    before = {name: t.clone() for name, t in model.state_dict().items()}
    weights = published()
    report = init_backbone(model, read_mae({"model": weights}), how)
    assert (report.layers, report.of) == (layers, 6)
    after = model.state_dict()
    for ours, theirs in enumerate(layers):
        name = "attn.qkv.weight"
        assert torch.equal(
            after[f"backbone.layers.{ours}.{name}"], weights[f"blocks.{theirs}.{name}"]
        )
    assert torch.equal(after["backbone.stem.proj.weight"], weights["patch_embed.proj.weight"])
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert all(name.startswith(("backbone.stem.", "backbone.layers.")) for name in changed)
    assert len(report.used) == 2 + 2 * 12
    assert {"cls_token", "pos_embed", "norm.weight", "decoder_embed.weight"} <= set(report.ignored)
    assert not any(name.startswith(("stem", "layers")) for name in report.ignored)


@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_our_own_autoencoder_fits(stem: str, tmp_path: Path) -> None:
    config = ModelConfig(**{**TRACKER.to_dict(), "stem": stem})
    torch.manual_seed(3)
    pretrained = MaskedAutoencoder(config, 0.75, 64, 1)
    state = {f"net.{name}": value for name, value in pretrained.state_dict().items()}
    torch.save(state, tmp_path / "mae.pth")
    model = build(config)
    report = init_backbone(model, read_mae(tmp_path / "mae.pth"))
    ours, theirs = model.backbone.state_dict(), pretrained.backbone.state_dict()
    for name in report.used:
        assert torch.equal(ours[name], theirs[name]), name
    assert set(ours) - set(report.used) == {"prediction_tokens", "pos_prediction"}
    # The decoder's layers are no layers of the backbone.
    assert report.of == 2


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (published(hidden=96), r"it\.pth: layers\.0\.mlp\.fc1\.weight has shape \(96, 64\).*MLP"),
        (published(width=128), r"it\.pth: stem\.proj\.weight has shape \(128, 3, 16, 16\)"),
        (
            {k: v for k, v in published().items() if not k.startswith("patch")},
            "it.pth lacks stem.proj.weight",
        ),
    ],
)
def test_another_backbone_is_refused(weights: dict[str, Tensor], sentence: str) -> None:
    model = build(TRACKER)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with pytest.raises(WeightsError, match=sentence):
        init_backbone(model, read_mae(weights), source="it.pth")
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


@pytest.mark.parametrize("value", ["nan", "whole"])
def test_values_that_are_no_weights_are_refused(value: str) -> None:
    weights = published()
    name = "blocks.1.mlp.fc1.weight"
    kept = weights[name]
    weights[name] = kept.long() if value == "whole" else torch.full_like(kept, torch.nan)
    with pytest.raises(WeightsError, match=r"it\.pth: layers\.1\.mlp\.fc1\.weight h"):
        init_backbone(build(TRACKER), read_mae(weights), source="it.pth")


def test_what_is_no_backbone_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"no pre-trained backbone.*conv1\.weight"):
        read_mae({"conv1.weight": torch.zeros(3)})


@pytest.mark.parametrize(
    ("depth", "count", "how", "sentence"),
    [
        (4, 6, "first", "6 different layers of 0 to 3 are wanted, got 0,1,2,3,4,5"),
        (12, 4, "1,2,3", r"4 different layers of 0 to 11 are wanted, got 1,2,3 \(1,2,3\)"),
        (12, 2, "1,1", "2 different layers"),
        (12, 1, "12", "1 different layers of 0 to 11"),
        (12, 4, "last", 'are "first", "skip" or numbers such as "0,4,8,11", got \'last\''),
    ],
)
def test_layers_that_are_not_there(depth: int, count: int, how: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        choose_layers(depth, count, how)
