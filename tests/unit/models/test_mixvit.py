"""Laws of the teacher family: caching, corner maps and what their marginals mean."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixformerv2.errors import ConfigError
from mixformerv2.models import MixViT, ModelConfig, create
from mixformerv2.models.corners import corner_maps, corner_marginals
from mixformerv2.models.heads import expectation


def tiny(**changes: object) -> MixViT:
    torch.manual_seed(0)
    settings = {"width": 128, "depth": 2, "template_size": 32, "search_size": 64}
    head = {"box_head": "corner_pyramid", "head_channels": 16}
    return MixViT(ModelConfig(**{**settings, **head, **changes})).eval()  # type: ignore[arg-type]


def crops(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    sizes = (32, 32, 64)
    template, online, search = (
        torch.randn(batch, 3, size, size, generator=generator) for size in sizes
    )
    return template, online, search


@pytest.mark.parametrize("head", ["corner", "corner_pyramid"])
@pytest.mark.parametrize("score", [True, False])
def test_cached_step_gives_the_same_numbers_as_one_call(head: str, score: bool) -> None:
    model = tiny(box_head=head, score_head=score)
    template, online, search = crops()
    whole = model(template, online, search)
    memory = model.encode_templates(template, online)
    assert memory.shape == (2 + score, 2, 2, 2, 8, 64)
    cached = model.step(search, memory)
    assert_close(cached.probs, whole.probs, atol=1e-6, rtol=0)
    assert_close(cached.boxes, whole.boxes, atol=1e-6, rtol=0)
    assert (whole.score is not None) == score
    assert_close(cached.score, whole.score, atol=1e-6, rtol=0)


def test_score_asks_the_first_template_alone_and_the_box_all() -> None:
    model = tiny()
    template, online, search = crops()
    assert model.score_head is not None
    first = model.encode_templates(template, online)
    found = model.features((template, online), search)
    k, _ = model.score_head.remember(found.templates[-1][:, :4])
    assert_close(first[-1, 0, :, :, :4], k, atol=1e-6, rtol=0)
    changed = first.clone()
    changed[-1, :, :, :, 4:] += 1.0  # keys and values of the online template, for the score
    assert_close(model.step(search, changed).score, model.step(search, first).score)
    changed[-1, 1, :, :, :4] += torch.randn(2, 2, 4, 64)
    assert not torch.allclose(model.step(search, changed).score, model.step(search, first).score)  # type: ignore[arg-type]


def test_learning_the_score_leaves_the_box_head_alone() -> None:
    model = tiny()
    out = model(*crops())
    assert out.score is not None
    out.score.sum().backward()
    assert all(p.grad is None for p in model.box_head.parameters())
    assert model.backbone.layers[0].attn.qkv.weight.grad is not None


@pytest.mark.parametrize(("head", "side"), [("corner", 4), ("corner_pyramid", 16)])
def test_probs_are_marginals_of_the_maps_and_boxes_their_expectation(head: str, side: int) -> None:
    model = tiny(box_head=head)
    template, online, search = crops()
    maps = model.corner_maps(template, online, search)
    out = model(template, online, search)
    assert maps.shape == (2, 2, side, side)
    assert model.config.bins == side
    assert_close(maps.sum((2, 3)), torch.ones(2, 2))
    assert out.corners is not None
    assert_close(maps, corner_maps(out.corners))
    assert_close(out.probs, corner_marginals(maps))
    assert_close(out.boxes, expectation(out.probs))


def test_top_and_left_are_not_swapped() -> None:
    """A product of two known distributions: the row is y, so the sum over columns is top."""
    left, top, right, bottom = torch.rand(4, 9).softmax(-1)
    maps = torch.stack([top[:, None] * left[None, :], bottom[:, None] * right[None, :]])[None]
    assert_close(corner_marginals(maps)[0], torch.stack([left, top, right, bottom]))


def test_a_target_that_moves_right_moves_left_and_right() -> None:
    """The plain head's maps follow the tokens: shift the tokens, and the maps shift along."""
    model = tiny(box_head="corner", search_size=128)
    tokens = torch.zeros(1, 8, 8, 128)
    tokens[0, 3, 3] = torch.randn(128)
    moved = tokens.roll(1, dims=2)
    one, other = (model.box_head(t.flatten(1, 2))[0, 0] for t in (tokens, moved))
    # Away from the border, where padding shows.
    assert_close(one[3, 3], other[3, 4], atol=1e-5, rtol=0)
    assert not torch.allclose(one[3, 3], other[4, 3])


def test_there_are_no_prediction_tokens() -> None:
    model = tiny()
    found = model.features(crops()[:2], crops()[2])
    assert [x.shape for x in found.prediction] == [(2, 0, 128)] * 2
    assert not any("prediction" in name for name in model.state_dict())


@pytest.mark.parametrize(
    ("name", "width", "depth", "bins", "crops"),
    [
        ("mixvit_b", 768, 12, 72, (128, 288)),
        ("mixvit_l", 1024, 24, 72, (128, 288)),
        ("mixvit_b_224", 768, 12, 14, (112, 224)),
        ("mixvit_l_224", 1024, 24, 14, (112, 224)),
        ("mixvit_t256", 256, 8, 32, (64, 128)),
    ],
)
def test_sizes(name: str, width: int, depth: int, bins: int, crops: tuple[int, int]) -> None:
    from mixformerv2.models import model_config

    config = model_config(name)
    assert (config.width, config.depth, config.bins) == (width, depth, bins)
    assert (config.template_size, config.search_size) == crops


def test_bins_follow_the_crop() -> None:
    assert create("mixvit_t", depth=1, search_size=64).config.bins == 16


def test_settings_that_cannot_work() -> None:
    with pytest.raises(ConfigError, match="head_channels must be a multiple of 8"):
        tiny(head_channels=20)


def test_plain_values_come_back() -> None:
    for config in (ModelConfig(box_head="corner", head_channels=64), ModelConfig()):
        assert ModelConfig.from_dict(config.to_dict()) == config
    assert "head_channels" not in ModelConfig().to_dict()
