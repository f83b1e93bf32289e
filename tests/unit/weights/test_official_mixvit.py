"""What a published MixViT checkpoint tells of itself; its score module against its definition."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mixformerv2.errors import WeightsError
from mixformerv2.models import MixViT, ModelConfig
from mixformerv2.models.spm import precise_roi_pool
from mixformerv2.weights import from_official
from mixformerv2.weights.convert import convert_checkpoint
from mixformerv2.weights.official import inspect_official
from mixformerv2.weights.published import published_shapes
from tests.golden.weights import tensor

SMALL = ModelConfig(
    width=128,
    depth=2,
    mlp_ratio=1.5,
    template_size=32,
    search_size=96,
    box_head="corner_pyramid",
    head_channels=24,
)
SCORE = "score_branch."


def state_dict(config: ModelConfig = SMALL) -> dict[str, Tensor]:
    return {k: torch.from_numpy(tensor(k, s)) for k, s in published_shapes(config).items()}


def without(*starts: str) -> dict[str, Tensor]:
    return {k: v for k, v in state_dict().items() if not k.startswith(starts)}


def test_architecture_is_worked_out() -> None:
    extras = {"backbone.cls_token": torch.zeros(1, 1, 128), "backbone.norm.bias": torch.zeros(128)}
    seen = {"box_head.conv1_tl.1.num_batches_tracked": torch.tensor(7)}
    official = inspect_official({"net": state_dict() | extras | seen})
    assert official.config == SMALL
    assert official.ignored == tuple(extras)  # how much a norm has seen is no news
    plain = {k: v for k, v in without(SCORE).items() if "adjust" not in k}
    found = inspect_official(plain).config
    assert (found.box_head, found.bins, found.score_head) == ("corner", 6, False)


def written_out_score(
    weights: dict[str, Tensor], search: Tensor, template: Tensor, box: Tensor
) -> Tensor:
    """The published score module for one sample, written down step by step.

    Its two attention blocks have no residual, and divide by the root of the whole width.
    """

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ weights[f"{SCORE}{name}.weight"].T + weights[f"{SCORE}{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        scale, shift = weights[f"{SCORE}{name}.weight"], weights[f"{SCORE}{name}.bias"]
        return F.layer_norm(x, x.shape[-1:], scale, shift, eps=1e-5)

    pooled = precise_roi_pool(search[None], box[None] * search.shape[0])[0].reshape(16, -1)
    x = norm("norm1", weights[f"{SCORE}score_token"][0, 0])
    for i, seen in enumerate((pooled, template)):
        q, k, v = linear(f"proj_q.{i}", x), linear(f"proj_k.{i}", seen), linear(f"proj_v.{i}", seen)
        heads = []
        for head in range(len(x) // 64):
            part = slice(64 * head, 64 * head + 64)
            shares = (k[:, part] @ q[part] / len(x) ** 0.5).softmax(0)
            heads.append(shares @ v[:, part])
        x = norm(f"norm2.{i}", linear(f"proj.{i}", torch.cat(heads)))
    for i in range(2):
        x = linear(f"score_head.layers.{i}", x).relu()
    return linear("score_head.layers.2", x)[0]


@torch.inference_mode()
def test_score_module_computes_what_was_published() -> None:
    weights = state_dict()
    model = from_official(weights)
    assert isinstance(model, MixViT)
    draw = torch.Generator().manual_seed(0)
    images = [torch.randn(2, 3, size, size, generator=draw) for size in (32, 32, 96)]
    out = model(*images)
    found = model.features((images[0], images[1]), images[2])
    assert out.score is not None
    for i in range(2):
        search = found.search[-1][i].view(6, 6, 128)
        want = written_out_score(weights, search, found.templates[-1][i, :4], out.boxes[i])
        torch.testing.assert_close(out.score[i], want, atol=1e-5, rtol=1e-5)


def test_half_a_score_module_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        official = inspect_official(without("score_branch.proj_k"), source="it.pth")
    assert not official.config.score_head
    assert "score_branch.norm1.weight" in official.ignored
    assert "it.pth: its score prediction module is incomplete (no score_branch.proj_k.0" in (
        caplog.text
    )


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (without("backbone.patch_embed"), "lacks backbone.patch_embed.proj.weight; the MixViT"),
        (without("box_head.conv4_br.1.running_var"), "lacks box_head.conv4_br.1.running_var"),
        (without("box_head.adjust3_tl"), "lacks box_head.adjust3_tl.0.0.weight"),
        (without("box_head.adjust1"), "lacks box_head.adjust1_tl.0.weight"),  # no plain head
        (without("box_head.conv1_tl.0.weight"), "lacks box_head.conv1_tl.0.weight; the MixViT"),
        (
            state_dict() | {"box_head.conv1_tl.0.weight": torch.zeros(20, 128, 3, 3)},
            "head_channels must be a multiple of 8",
        ),
    ],
)
def test_refused_with_one_sentence(state: dict[str, Tensor], sentence: str) -> None:
    with pytest.raises(WeightsError, match=sentence.replace(".", r"\.")) as caught:
        inspect_official(state, source="it.pth")
    assert str(caught.value).startswith("it.pth")


def test_bundle_of_a_checkpoint(tmp_path: Path) -> None:
    torch.save({"net": state_dict()}, tmp_path / "mixvit.pth.tar")
    done = convert_checkpoint(tmp_path / "mixvit.pth.tar", tmp_path / "out")
    assert (done.bundle.bins, done.bundle.has_score) == (24, True)
    assert max(info.parity for info in done.bundle.graphs.values()) < 1e-4
