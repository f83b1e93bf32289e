"""MixViT's score prediction module, and the precise RoI pooling that it needs.

Letters: B batch, H rows, W columns, C width, p pooled cells along a side, h heads, d = 64.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import HEAD_WIDTH
from .count import POOLED

__all__ = ["ScoreModule", "precise_roi_pool"]


def _hat_integral(t: Tensor) -> Tensor:
    """Integral of the hat function max(0, 1 - |x|) up to `t`."""
    u = t.clamp(-1.0, 1.0)
    return 0.5 + u - 0.5 * u * u.abs()


def _shares(low: Tensor, high: Tensor, cells: int, samples: int) -> Tensor:
    """Integral of each sample's hat over each cell between low and high, over the cell's length.

    `[B]` and `[B]` to `[B, cells, samples]`.
    """
    high = torch.maximum(low, high)
    steps = torch.arange(cells + 1, device=low.device, dtype=low.dtype) / cells
    edges = low[:, None] + (high - low)[:, None] * steps  # [B, cells + 1]
    places = torch.arange(samples, device=low.device, dtype=low.dtype)
    upto = _hat_integral(edges[:, :, None] - places)  # [B, cells + 1, samples]
    length = ((high - low) / cells).clamp(min=1e-6)
    return (upto[:, 1:] - upto[:, :-1]) / length[:, None, None]


def precise_roi_pool(tokens: Tensor, boxes: Tensor, cells: int = POOLED) -> Tensor:
    """Mean of the bilinear surface through a grid of tokens, over each cell of a box.

    Jiang et al., "Acquisition of Localization Confidence" (2018): no sampling, so the result is
    smooth in the corners of the box. The surface is a sum of products of hat functions in x and
    y; so the integral over a cell is a product of two matrices with the grid, one for the rows
    and one for the columns, and it runs wherever matrices do. Outside the grid the surface falls
    to zero within one token. A box without area pools to zero.

    Args:
        tokens: `[B, H, W, C]`; the token in column j and row i stands at x = j, y = i.
        boxes: `[B, 4]`, x1, y1, x2, y2 in tokens, one box for each grid.
        cells: Cells along a side.

    Returns `[B, cells, cells, C]`, rows first.

    Example:
        >>> flat = torch.ones(1, 8, 8, 3)
        >>> precise_roi_pool(flat, torch.tensor([[1.0, 1.0, 6.0, 6.0]]), 2).mean().round(decimals=4)
        tensor(1.)
    """
    b, height, width, c = tokens.shape
    x1, y1, x2, y2 = boxes.to(tokens.dtype).unbind(1)
    down = _shares(y1, y2, cells, height)  # [B, p, H]
    across = _shares(x1, x2, cells, width)  # [B, p, W]
    rows = (down @ tokens.reshape(b, height, width * c)).reshape(b, cells, width, c)
    return across[:, None] @ rows


class ScoreModule(nn.Module):
    """A learnt token asks the pooled box, then the first template; an MLP makes it a score.

    As published: no residuals, attention scaled by the whole width instead of a head's.
    """

    def __init__(self, width: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.heads = width // HEAD_WIDTH
        self.scale = width**-0.5
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.q = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.k = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.v = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.proj = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-5) for _ in range(2))
        self.mlp = nn.ModuleList(
            [nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 1)]
        )
        if not self.token.is_meta:
            nn.init.trunc_normal_(self.token, std=0.02)

    def remember(self, templates: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the last layer's template tokens `[B, Nt, C]`: `[B, h, Nt, d]`."""
        return self._split(self.k[1](templates)), self._split(self.v[1](templates))

    def forward(self, search: Tensor, boxes: Tensor, remembered: tuple[Tensor, Tensor]) -> Tensor:
        """Score boxes.

        Args:
            search: Search tokens of the last layer, `[B, grid * grid, C]`.
            boxes: `[B, 4]`, x1, y1, x2, y2 in the crop, 0 to 1.
            remembered: Of `remember`, for the first template alone.

        Returns logits `[B]`.
        """
        b, _, c = search.shape
        tokens = search.reshape(b, self.grid, self.grid, c)
        pooled = precise_roi_pool(tokens, boxes * self.grid).flatten(1, 2)  # [B, p * p, C]
        x = self.norm(self.token).expand(b, -1, -1)
        x = self._ask(0, x, self._split(self.k[0](pooled)), self._split(self.v[0](pooled)))
        x = self._ask(1, x, *remembered)
        for linear in self.mlp[:-1]:
            x = F.relu(linear(x))
        out: Tensor = self.mlp[-1](x)
        return out.flatten().float()

    def _ask(self, block: int, x: Tensor, k: Tensor, v: Tensor) -> Tensor:
        seen = F.scaled_dot_product_attention(self._split(self.q[block](x)), k, v, scale=self.scale)
        out: Tensor = self.norms[block](self.proj[block](seen.transpose(1, 2).flatten(2)))
        return out

    def _split(self, x: Tensor) -> Tensor:
        """`[B, N, C]` to `[B, h, N, d]`."""
        b, n, c = x.shape
        return x.view(b, n, self.heads, c // self.heads).transpose(1, 2)
