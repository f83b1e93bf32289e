"""Corner heads of MixViT: two maps over the search crop, one for each of two corners of the box.

Letters: B batch, C width, g tokens along a side of the search crop, K side of a map, k channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import ModelConfig

__all__ = ["CornerHead", "corner_log_marginals", "corner_maps", "corner_marginals"]


def corner_maps(logits: Tensor) -> Tensor:
    """Logits `[B, 2, K, K]` to distributions over each map, `[B, 2, K, K]`."""
    return logits.float().flatten(2).softmax(-1).view_as(logits)


def corner_marginals(maps: Tensor) -> Tensor:
    """Distributions of left, top, right, bottom from those of the two corners (eq. 4).

    A corner's column says left or right, its row top or bottom, so the sum over rows is that of
    the columns.

    Args:
        maps: `[B, 2, K, K]`, top left and bottom right, rows first.

    Returns `[B, 4, K]`.

    Example:
        >>> maps = torch.zeros(1, 2, 3, 3)
        >>> maps[0, 0, 0, 1] = maps[0, 1, 2, 2] = 1.0  # top left in row 0, column 1
        >>> corner_marginals(maps).argmax(-1)
        tensor([[1, 0, 2, 2]])
    """
    columns, rows = maps.sum(2), maps.sum(3)  # [B, 2, K]
    return torch.stack([columns, rows], dim=2).flatten(1, 2)


def corner_log_marginals(logits: Tensor) -> Tensor:
    """Logarithms of `corner_marginals`, from logits `[B, 2, K, K]` to `[B, 4, K]`.

    They never pass through probabilities, which round to zero far from a sure corner and would
    leave a divergence without a gradient there.
    """
    logs = logits.float().flatten(2).log_softmax(-1).view_as(logits)
    columns, rows = logs.logsumexp(2), logs.logsumexp(3)  # [B, 2, K]
    return torch.stack([columns, rows], dim=2).flatten(1, 2)


def _conv(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


def _convs(channels: Iterable[int]) -> list[nn.Sequential]:
    return [_conv(before, after) for before, after in pairwise(channels)]


def _larger(x: Tensor, times: int) -> Tensor:
    return F.interpolate(x, scale_factor=times, mode="nearest")


class PlainBranch(nn.Module):
    """Four 3x3 convolutions and a 1x1 one, at the resolution of the tokens."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        k = channels
        self.convs = nn.ModuleList(_convs((width, k, k // 2, k // 4, k // 8)))
        self.last = nn.Conv2d(k // 8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, g, g]` to logits `[B, 1, g, g]`."""
        for conv in self.convs:
            x = conv(x)
        out: Tensor = self.last(x)
        return out


class PyramidBranch(PlainBranch):
    """The same with two enlargements on the way, to four times the resolution.

    The input joins again before the third and fourth convolution (`join`), and what the second and
    third answer adds to the map itself (`skip`).
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__(width, channels)
        k = channels
        self.join = nn.ModuleList([_conv(width, k // 2), _conv(width, k // 4)])
        self.skip = nn.ModuleList(
            nn.Sequential(*_convs(steps))
            for steps in ((k // 2, k // 4, k // 8, 1), (k // 4, k // 8, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, g, g]` to logits `[B, 1, 4 g, 4 g]`."""
        small = self.convs[1](self.convs[0](x))  # [B, k/2, g, g]
        middle = self.convs[2](_larger(self.join[0](x), 2) + _larger(small, 2))  # [B, k/4, 2g, 2g]
        large = self.convs[3](_larger(self.join[1](x), 4) + _larger(middle, 2))  # [B, k/8, 4g, 4g]
        out: Tensor = self.last(large)
        return out + _larger(self.skip[0](small), 4) + _larger(self.skip[1](middle), 2)


class CornerHead(nn.Module):
    """Maps of the top left and the bottom right corner from the search tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.grid = config.search_grid
        kind = PlainBranch if config.box_head == "corner" else PyramidBranch
        self.branches = nn.ModuleList(
            kind(config.width, config.head_channels) for _ in range(2)
        )  # top left, bottom right

    def forward(self, tokens: Tensor) -> Tensor:
        """Search tokens `[B, g * g, C]` to logits `[B, 2, K, K]`, rows first."""
        b, _, c = tokens.shape
        x = tokens.transpose(1, 2).reshape(b, c, self.grid, self.grid)
        return torch.cat([branch(x) for branch in self.branches], dim=1)
