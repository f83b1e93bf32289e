"""Prediction-token-involved mixed attention (eq. 1) and the layer around it.

Letters: B batch, Nt template tokens (all templates together), Nx search and prediction tokens,
C width, h attention heads, d = 64.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import HEAD_WIDTH

__all__ = ["Layer", "MixedAttention", "drop_path"]


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """Stochastic depth: drop the branch of whole samples, and scale up the others."""
    if not training or rate == 0.0:
        return x
    keep = torch.rand(x.shape[0], 1, 1, device=x.device, dtype=torch.float32) >= rate
    return x * (keep / (1.0 - rate)).to(x.dtype)


class MixedAttention(nn.Module):
    """Attention of eq. 1, split where a tracker can cache.

    Template tokens attend to template tokens alone, so their keys and values do not depend on the
    frame: `templates` gives them, `search` takes them.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens `[B, N, C]` to queries, keys and values `[B, h, N, d]`."""
        b, n, _ = x.shape
        qkv = self.qkv(x).view(b, n, 3, self.heads, HEAD_WIDTH)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def _split_last(self, x: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor]:
        """As `split`, with the queries of tokens from `first` on alone."""
        b, n, c = x.shape
        weight, bias = self.qkv.weight, self.qkv.bias
        q = F.linear(x[:, first:], weight[:c], bias[:c])
        kv = F.linear(x, weight[c:], bias[c:]).view(b, n, 2, self.heads, HEAD_WIDTH)
        k, v = kv.permute(2, 0, 3, 1, 4).unbind(0)
        return q.view(b, n - first, self.heads, HEAD_WIDTH).transpose(1, 2), k, v

    def join(self, x: Tensor) -> Tensor:
        """Attended values `[B, h, N, d]` to tokens `[B, N, C]`."""
        b, h, n, d = x.shape
        out: Tensor = self.proj(x.transpose(1, 2).reshape(b, n, h * d))
        return out

    def templates(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Template tokens `[B, Nt, C]` attend to one another; also returns their k and v."""
        q, k, v = self.split(t)
        return self.join(F.scaled_dot_product_attention(q, k, v)), k, v

    def search(self, x: Tensor, k_t: Tensor, v_t: Tensor, first: int = 0) -> Tensor:
        """Search and prediction tokens `[B, Nx, C]` attend to all tokens.

        Only tokens from `first` on ask and are answered, `[B, Nx - first, C]`.
        """
        q, k, v = self.split(x) if first == 0 else self._split_last(x, first)
        k = torch.cat([k_t, k], dim=2)
        v = torch.cat([v_t, v], dim=2)
        return self.join(F.scaled_dot_product_attention(q, k, v))


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, N, C]` to `[B, N, C]`."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Layer(nn.Module):
    """One P-MAM layer: x1 = x + g ATTN(LN x), x2 = x1 + g FFN(LN x1).

    `gain` is g, 1 unless the layer is being faded out (eq. 8 in the form of the published code).
    """

    def __init__(self, width: int, hidden: int, drop: float = 0.0, gain: float = 1.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = MixedAttention(width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, hidden)
        self.drop = drop
        self.gain = gain

    def _add(self, x: Tensor, branch: Tensor) -> Tensor:
        branch = drop_path(branch, self.drop, self.training)
        return x + branch if self.gain == 1.0 else x + self.gain * branch

    def templates(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Template tokens through the layer, with the keys and values the search needs."""
        attended, k, v = self.attn.templates(self.norm1(t))
        t = self._add(t, attended)
        return self._add(t, self.mlp(self.norm2(t))), k, v

    def search(self, x: Tensor, k_t: Tensor, v_t: Tensor, first: int = 0) -> Tensor:
        """Search and prediction tokens through the layer; only those from `first` on come out."""
        attended = self.attn.search(self.norm1(x), k_t, v_t, first)
        x = self._add(x[:, first:] if first else x, attended)
        return self._add(x, self.mlp(self.norm2(x)))
