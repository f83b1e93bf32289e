"""The masked autoencoder: nothing leaks out of what is hidden, and it learns."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from mixformerv2.errors import ConfigError
from mixformerv2.models import ModelConfig
from mixformerv2.models.mae import MaskedAutoencoder, hide, patches_of

CONFIG = ModelConfig(width=64, depth=2, template_size=32, search_size=64, mlp_ratio=2.0)


def make(stem: str = "patch", share: float = 0.75) -> MaskedAutoencoder:
    torch.manual_seed(0)
    config = ModelConfig(**{**CONFIG.to_dict(), "stem": stem})
    return MaskedAutoencoder(config, share, 64, 1).eval()


def test_patches_are_the_pixels_of_each_token() -> None:
    images = torch.arange(2 * 3 * 8 * 8.0).view(2, 3, 8, 8)
    patches = patches_of(images, 4)
    assert patches.shape == (2, 4, 48)
    assert_close(patches[1, 2].view(3, 4, 4), images[1, :, 4:, :4])  # second row, first column


@pytest.mark.parametrize("stem", ["patch", "conv"])
def test_hidden_pixels_do_not_reach_the_answer(stem: str) -> None:
    """Convolutions of a stem overlap tokens: what they could see beside one must be blank."""
    model = make(stem)
    torch.manual_seed(1)
    images, order = torch.randn(2, 3, 64, 64), hide(2, 16, torch.device("cpu"))
    out = model(images, order)
    assert out.hidden.sum(1).tolist() == [12.0, 12.0]
    mask = out.hidden.view(2, 1, 4, 4).repeat_interleave(16, 2).repeat_interleave(16, 3)
    other = model(images + 5 * torch.randn_like(images) * mask, order)
    assert_close(other.patches, out.patches, atol=1e-5, rtol=0)
    seen = model(images + 5 * torch.randn_like(images) * (1 - mask), order)
    assert not torch.allclose(seen.patches, out.patches, atol=1e-2)


def test_tokens_keep_their_places() -> None:
    """Another order of the same visible tokens is the same question."""
    model = make()
    images, order = torch.randn(1, 3, 64, 64), hide(1, 16, torch.device("cpu"))
    turned = torch.cat([order[:, :4].flip(1), order[:, 4:].flip(1)], dim=1)
    assert_close(model(images, turned).patches, model(images, order).patches, atol=1e-5, rtol=0)


def test_loss_is_that_of_hidden_tokens_alone() -> None:
    model = make()
    torch.nn.init.zeros_(model.pixels.weight)
    torch.nn.init.zeros_(model.pixels.bias)
    out = model(torch.randn(2, 3, 64, 64))
    # Zero is the mean of normalised pixels, so what is left is their variance.
    assert out.loss.item() == pytest.approx(1.0, abs=0.01)


def test_it_learns_to_continue_stripes() -> None:
    torch.manual_seed(0)
    model = make(share=0.5).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    x = torch.arange(64.0)
    losses = []
    for _ in range(40):
        phase = 6.3 * torch.rand(8, 1)
        row = (x * 6.2832 / 16 + phase).sin()  # [8, 64]: all tokens of a picture are alike
        images = row[:, None, None, :].expand(8, 3, 64, 64)
        loss = model(images).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])
    assert model.backbone.layers[0].attn.qkv.weight.grad is not None


def test_all_weights_are_used() -> None:
    """A parameter without a gradient would stop training on several devices."""
    model = make("conv").train()
    model(torch.randn(2, 3, 64, 64)).loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("share", "width", "sentence"),
    [(1.0, 64, "some must be hidden"), (0.0, 64, "some must be hidden"), (0.5, 60, "width 60")],
)
def test_settings_that_cannot_work(share: float, width: int, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        MaskedAutoencoder(CONFIG, share, width, 1)


def test_what_a_tracker_leaves_out_is_no_matter() -> None:
    settings = {"keep_tokens": 4, "keep_after": 1, "exit_after": 1, "exit_score": 0.5}
    model = MaskedAutoencoder(ModelConfig(**{**CONFIG.to_dict(), **settings}), 0.75, 64, 1)
    assert model(torch.zeros(1, 3, 64, 64)).loss.isfinite()
