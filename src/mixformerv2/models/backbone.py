"""The plain ViT over template, search and prediction tokens.

Letters: B batch, N templates, Nt tokens of all templates, Ns search tokens, P prediction tokens,
C width, L layers, h heads, d = 64.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from .attention import Layer
from .config import ModelConfig, stem_channels

__all__ = ["Backbone", "middle", "most_asked", "sincos_2d"]


def sincos_2d(width: int, grid: int) -> Tensor:
    """Fixed 2-D sine-cosine position embedding `[grid * grid, width]`, x first.

    Half of the channels code the column, half the row; each half is sines, then cosines.
    """
    quarter = width // 4
    # On the CPU whatever the default device: `assemble` builds networks on none at all.
    steps = torch.arange(max(quarter, grid), dtype=torch.float64, device="cpu")
    omega = 10000.0 ** (-steps[:quarter] / quarter)
    angle = steps[:grid, None] * omega  # [grid, C/4]
    line = torch.cat([angle.sin(), angle.cos()], dim=1)  # [grid, C/2]
    columns = line[None, :, :].expand(grid, grid, -1)  # varies along x
    rows = line[:, None, :].expand(grid, grid, -1)  # varies along y
    return torch.cat([columns, rows], dim=2).reshape(grid * grid, width).float()


def middle(position: Tensor, grid: int) -> Tensor:
    """Embeddings of the middle `grid` rows and columns of a square `[1, N, C]`: `[1, grid^2, C]`.

    Without a condition, so that a graph traced from it takes crops of any size. Sides that are not
    an even number of tokens smaller have no middle; the last line fails for them.
    """
    side = math.isqrt(position.shape[1])
    left_out = abs(side - grid) // 2
    kept = slice(left_out, side - left_out)
    square = position.view(side, side, -1)[kept, kept]
    return square.reshape(1, grid * grid, position.shape[2])


def most_asked(x: Tensor, shares: Tensor, keep: int) -> Tensor:
    """The `keep` search tokens that are attended to most, in that order, and the askers.

    Args:
        x: Search and prediction tokens `[B, Ns + P, C]`.
        shares: Attention of the prediction tokens `[B, h, P, Nt + Ns + P]`; its mean over heads
            and tokens is what counts.
        keep: A constant, so that a graph has one shape.
    """
    b, n, c = x.shape
    asking = shares.shape[2]
    rank = shares.mean((1, 2))[:, -n:-asking]  # [B, Ns]
    best = rank.topk(keep, dim=1).indices
    rows = best + n * torch.arange(b, device=x.device)[:, None]
    kept = F.embedding(rows, x.reshape(b * n, c))  # one Gather of whole rows
    return torch.cat([kept, x[:, -asking:]], dim=1)


class PatchStem(nn.Module):
    """One strided projection of non-overlapping patches, as published."""

    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch_size, patch_size)

    def forward(self, image: Tensor) -> Tensor:
        """`[B, 3, H, W]` to tokens `[B, H/p * W/p, C]`."""
        out: Tensor = self.proj(image).flatten(2).transpose(1, 2)
        return out


class ConvStem(nn.Module):
    """3x3 convolutions of stride 2 and one projection, in place of the patch projection.

    Early convolutions let a small transformer learn from little data; batch norms fold into the
    convolutions at export.
    """

    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for after in stem_channels(width, patch_size):
            layers += [
                nn.Conv2d(before, after, 3, 2, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
            before = after
        self.convs = nn.Sequential(*layers)
        self.proj = nn.Conv2d(before, width, 1)

    def forward(self, image: Tensor) -> Tensor:
        """`[B, 3, H, W]` to tokens `[B, H/p * W/p, C]`."""
        image = image.contiguous(memory_format=torch.channels_last)  # a fifth faster on a CPU
        out: Tensor = self.proj(self.convs(image)).flatten(2).transpose(1, 2)
        return out


class Backbone(nn.Module):
    """Stem, position embeddings, prediction tokens (none in a MixViT) and the layers."""

    pos_template: Tensor
    pos_search: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        c, tokens = config.width, config.prediction_tokens
        stem = PatchStem if config.stem == "patch" else ConvStem
        self.stem = stem(c, config.patch_size)
        if tokens:
            self.prediction_tokens = nn.Parameter(torch.zeros(1, tokens, c))
            self.pos_prediction = nn.Parameter(torch.zeros(1, tokens, c))
        device = self.stem.proj.weight.device
        pos_template = sincos_2d(c, config.template_grid)[None].to(device)
        pos_search = sincos_2d(c, config.search_grid)[None].to(device)
        self.register_buffer("pos_template", pos_template, persistent=False)
        self.register_buffer("pos_search", pos_search, persistent=False)
        last = max(1, config.depth - 1)
        self.layers = nn.ModuleList(
            Layer(
                c,
                config.hidden,
                drop=config.drop_path * i / last,
                gain=config.layer_gain.get(i, 1.0),
            )
            for i in range(config.depth)
        )

    def template_tokens(self, templates: tuple[Tensor, ...]) -> Tensor:
        """Any number of templates, each `[B, 3, T, T]`, to tokens `[B, Nt, C]`."""
        if not templates:
            raise ConfigError("a tracker needs at least one template, got none")
        n, b = len(templates), templates[0].shape[0]
        tokens = self.stem(torch.cat(templates)) + self.pos_template  # [N*B, nt, C]
        return torch.cat(tokens.split(b), dim=1) if n > 1 else tokens

    def search_tokens(self, search: Tensor) -> Tensor:
        """`[B, 3, S, S]` to search and prediction tokens `[B, Ns + P, C]`.

        Where the crop is smaller, it is taken for the middle of a whole one, whose outer tokens are
        left out.
        """
        tokens: Tensor = self.stem(search)
        tokens = tokens + middle(self.pos_search, search.shape[-1] // self.config.patch_size)
        if not self.config.prediction_tokens:
            return tokens
        asking = (self.prediction_tokens + self.pos_prediction).expand(search.shape[0], -1, -1)
        return torch.cat([tokens, asking], dim=1)

    def encode(self, templates: tuple[Tensor, ...]) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Each layer's template keys, values `[B, h, Nt, d]` and output tokens `[B, Nt, C]`."""
        return self.encode_tokens(self.template_tokens(templates))

    def encode_tokens(self, t: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """`encode`, from tokens of all templates `[B, Nt, C]`."""
        out = []
        for layer in self.layers:
            assert isinstance(layer, Layer)
            t, k, v = layer.templates(t)
            out.append((k, v, t))
        return out

    def look(self, search: Tensor, memory: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """Each layer's search and prediction tokens `[B, Ns + P, C]`."""
        x = self.search_tokens(search)
        out = []
        for layer, (k, v) in zip(self.layers, memory, strict=True):
            assert isinstance(layer, Layer)
            x = layer.search(x, k, v)
            out.append(x)
        return out

    def ask(self, search: Tensor, memory: list[tuple[Tensor, Tensor]]) -> Tensor:
        """The last layer's prediction tokens `[B, P, C]`: the same numbers as from `look`.

        Nobody reads the last layer's search tokens, so they are not computed, which saves a
        quarter of S. Where `keep_tokens` is set, the numbers are those of the tokens kept.
        """
        return self.ask_on(self.look_until(self.config.depth - 1, search, memory), memory)

    def look_until(self, end: int, search: Tensor, memory: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Search and prediction tokens `[B, n + P, C]` after so many layers."""
        return self._through(range(end), self.search_tokens(search), memory)

    def ask_on(self, x: Tensor, memory: list[tuple[Tensor, Tensor]], after: int = -1) -> Tensor:
        """The last layer's prediction tokens, from all tokens after `after` layers (-1: all but
        the last)."""
        if after >= 0:
            x = self._through(range(after, self.config.depth - 1), x, memory)
        last = self.layers[-1]
        assert isinstance(last, Layer)
        return last.ask(x, *memory[-1], first=x.shape[1] - self.config.prediction_tokens)

    def _through(self, numbers: range, x: Tensor, memory: list[tuple[Tensor, Tensor]]) -> Tensor:
        asking, keep = self.config.prediction_tokens, self.config.keep_tokens
        for number in numbers:
            layer, (k, v) = self.layers[number], memory[number]
            assert isinstance(layer, Layer)
            if number + 1 == self.config.keep_after:
                shares = layer.attn.shares(layer.norm1(x), k, x.shape[1] - asking)
                x = most_asked(layer.search(x, k, v), shares, keep)
            else:
                x = layer.search(x, k, v)
        return x
