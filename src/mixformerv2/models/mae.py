"""A masked autoencoder around the tracker's own backbone, to pre-train it without labels.

He et al., "Masked Autoencoders Are Scalable Vision Learners" (2022), which the paper's backbones
start from (Table 3e). Letters: B batch, N tokens of a picture, V visible ones, C width, D width of
the decoder, p pixels of a token's side.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from .attention import Layer
from .backbone import Backbone, sincos_2d
from .config import HEAD_WIDTH, ModelConfig
from .network import initialise

__all__ = ["MaskedAutoencoder", "Restored", "hide", "patches_of"]


class Restored(NamedTuple):
    """What the autoencoder makes of pictures.

    Attributes:
        patches: Pixels of every token, each token's own mean and spread taken off, `[B, N, 3 p p]`.
        hidden: 1 where the token was hidden, `[B, N]`.
        loss: Mean squared error over the hidden tokens.
    """

    patches: Tensor
    hidden: Tensor
    loss: Tensor


def patches_of(images: Tensor, patch_size: int) -> Tensor:
    """`[B, 3, H, W]` to the pixels of each token, `[B, N, 3 p p]`, row after row."""
    out: Tensor = F.unfold(images, patch_size, stride=patch_size).transpose(1, 2)
    return out


def hide(batch: int, tokens: int, device: torch.device) -> Tensor:
    """Random order of each picture's tokens, `[B, N]`, of which the first stay visible.

    Drawn on the CPU, so that a run draws alike wherever it goes on.
    """
    return torch.rand(batch, tokens).argsort(1).to(device)


class MaskedAutoencoder(nn.Module):
    """Most of a picture is hidden; the backbone reads the rest, a small decoder restores it.

    The backbone is that of the tracker: its `state_dict` names are the tracker's, under
    `backbone.`, and its layers attend as among the tokens of a template.

    Args:
        config: The tracker's network; the pictures have the size of its search crops.
        share: Share of the tokens that is hidden.
        decoder_width: Width of the decoder, a multiple of 64.
        decoder_depth: Layers of the decoder.

    Raises:
        ConfigError: a share or a width that cannot work.

    Example:
        >>> model = MaskedAutoencoder(ModelConfig(width=64, depth=1, search_size=64), 0.75, 64, 1)
        >>> model(torch.zeros(2, 3, 64, 64)).patches.shape
        torch.Size([2, 16, 768])
    """

    def __init__(
        self,
        config: ModelConfig,
        share: float = 0.75,
        decoder_width: int = 128,
        decoder_depth: int = 2,
    ) -> None:
        super().__init__()
        tokens = config.search_grid**2
        if not 1 <= round(tokens * (1 - share)) < tokens:
            raise ConfigError(
                f"of {tokens} tokens some must be hidden and some not, got a share of {share}"
            )
        if decoder_width < 1 or decoder_width % HEAD_WIDTH or decoder_depth < 1:
            raise ConfigError(
                f"the decoder needs a width that is a multiple of {HEAD_WIDTH} and at least one "
                f"layer, got width {decoder_width} and {decoder_depth} layers"
            )
        self.config = config
        self.kept = round(tokens * (1 - share))
        # Without prediction tokens, which have nothing to do here, and what trackers save by them.
        whole = replace(config, keep_tokens=0, keep_after=0, exit_after=0, exit_score=0.0)
        self.backbone = Backbone(replace(whole, box_head="corner"))
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.enter = nn.Linear(config.width, decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_width))
        self.decoder = nn.ModuleList(
            Layer(decoder_width, 4 * decoder_width) for _ in range(decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder_width, eps=1e-6)
        self.pixels = nn.Linear(decoder_width, 3 * config.patch_size**2)
        self.places: Tensor
        places = sincos_2d(decoder_width, config.search_grid)[None]
        self.register_buffer("places", places, persistent=False)
        self.apply(initialise)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def encode(self, images: Tensor, order: Tensor) -> Tensor:
        """The visible tokens through the backbone, `[B, V, C]`.

        Hidden pixels are blanked before the stem: a stem of overlapping convolutions would show
        their edges to the tokens beside them.
        """
        visible = order[:, : self.kept]
        shown = torch.zeros_like(order, dtype=images.dtype).scatter(1, visible, 1.0)
        grid = self.config.search_grid
        mask = F.interpolate(shown.view(-1, 1, grid, grid), scale_factor=self.config.patch_size)
        tokens = self.backbone.stem(images * mask) + self.backbone.pos_search
        x = tokens.gather(1, visible[:, :, None].expand(-1, -1, tokens.shape[2]))
        for layer in self.backbone.layers:
            assert isinstance(layer, Layer)
            x, _, _ = layer.templates(x)
        out: Tensor = self.norm(x)
        return out

    def decode(self, encoded: Tensor, order: Tensor) -> Tensor:
        """Pixels of all tokens, `[B, N, 3 p p]`, from the visible ones."""
        b, n = order.shape
        seen = self.enter(encoded)  # [B, V, D]
        x = torch.cat([seen, self.mask_token.expand(b, n - self.kept, -1)], dim=1)
        back = order.argsort(1)[:, :, None].expand(-1, -1, x.shape[2])
        x = x.gather(1, back) + self.places
        for layer in self.decoder:
            assert isinstance(layer, Layer)
            x, _, _ = layer.templates(x)
        out: Tensor = self.pixels(self.decoder_norm(x))
        return out

    def forward(self, images: Tensor, order: Tensor | None = None) -> Restored:
        """Hide, read, restore.

        Args:
            images: `[B, 3, S, S]`, ImageNet-normalised RGB.
            order: `[B, N]` of `hide`; drawn where it is not given.
        """
        n = self.config.search_grid**2
        if order is None:
            order = hide(images.shape[0], n, images.device)
        restored = self.decode(self.encode(images, order), order).float()
        hidden = torch.ones_like(order, dtype=torch.float32)
        hidden = hidden.scatter(1, order[:, : self.kept], 0.0)
        target = patches_of(images, self.config.patch_size).float()
        mean, spread = target.mean(2, keepdim=True), target.var(2, keepdim=True)
        target = (target - mean) / (spread + 1e-6).sqrt()
        apart = (restored - target).square().mean(2)  # [B, N]
        return Restored(restored, hidden, (apart * hidden).sum() / hidden.sum())
