"""Prediction-token-involved mixed attention (eq. 1) and the layer around it.

Letters: B batch, Nt template tokens (all templates together), Nx search and prediction tokens,
C width, h attention heads, d = 64.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import HEAD_WIDTH

__all__ = ["Layer", "MixedAttention", "attend", "drop_path"]


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """Stochastic depth: drop the branch of whole samples, and scale up the others."""
    if not training or rate == 0.0:
        return x
    keep = torch.rand(x.shape[0], 1, 1, device=x.device, dtype=torch.float32) >= rate
    return x * (keep / (1.0 - rate)).to(x.dtype)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) v of `[B, h, N, d]`, by the fastest kernel for where it runs.

    The fused kernel's backward pass in bf16 on a CPU takes three times as long as the three steps
    written out, so training there writes them out.
    """
    if q.dtype is torch.bfloat16 and q.device.type == "cpu" and q.requires_grad:
        scores: Tensor = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)
        attended: Tensor = scores.softmax(dim=-1, dtype=torch.float32).to(v.dtype) @ v
        return attended
    return F.scaled_dot_product_attention(q, k, v)


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

    def join(self, x: Tensor) -> Tensor:
        """Attended values `[B, h, N, d]` to tokens `[B, N, C]`."""
        b, h, n, d = x.shape
        out: Tensor = self.proj(x.transpose(1, 2).reshape(b, n, h * d))
        return out

    def templates(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Template tokens `[B, Nt, C]` attend to one another; also returns their k and v."""
        q, k, v = self.split(t)
        return self.join(attend(q, k, v)), k, v

    def search(self, x: Tensor, k_t: Tensor, v_t: Tensor) -> Tensor:
        """Search and prediction tokens `[B, Nx, C]` attend to all tokens."""
        q, k, v = self.split(x)
        k = torch.cat([k_t, k], dim=2)
        v = torch.cat([v_t, v], dim=2)
        return self.join(attend(q, k, v))

    def shares(self, x: Tensor, k_t: Tensor, first: int) -> Tensor:
        """How the tokens from `first` on share their attention out: `[B, h, P, Nt + Nx]`."""
        b, n, c = x.shape
        h, d, p = self.heads, HEAD_WIDTH, n - first
        w_q, w_k = self.qkv.weight.view(3, c, c)[:2].unbind(0)
        b_q, b_k = self.qkv.bias.view(3, c)[:2].unbind(0)
        q = F.linear(x[:, first:], w_q, b_q).view(b, p, h, d).transpose(1, 2) * d**-0.5
        asked = (q @ w_k.view(h, d, c)).reshape(b, h * p, c)  # W_k^T q
        on_x = (asked @ x.transpose(1, 2)).view(b, h, p, n) + q @ b_k.view(h, d, 1)
        out: Tensor = torch.cat([q @ k_t.transpose(2, 3), on_x], dim=3).softmax(dim=-1)
        return out

    def ask(self, x: Tensor, k_t: Tensor, v_t: Tensor, first: int) -> Tensor:
        """As `search`, but only the tokens from `first` on ask and are answered: `[B, P, C]`.

        For a few askers, keys and values of all search tokens cost more than all the rest, so
        they are not made. With k = W_k x + b_k, q . k is (W_k^T q) . x + q . b_k; with
        v = W_v x + b_v, the sum of a v is W_v (sum of a x) + (sum of a) b_v.
        """
        b, n, c = x.shape
        h, d, p = self.heads, HEAD_WIDTH, n - first
        w_v = self.qkv.weight.view(3, c, c)[2]
        b_v = self.qkv.bias.view(3, c)[2]
        a = self.shares(x, k_t, first)
        a_t, a_x = a[..., :-n], a[..., -n:]
        seen = (a_x.reshape(b, h * p, n) @ x).view(b, h, p, c)  # sum of a x
        values = seen @ w_v.view(h, d, c).transpose(1, 2) + a_x.sum(-1, True) * b_v.view(h, 1, d)
        return self.join(a_t @ v_t + values)


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

    def search(self, x: Tensor, k_t: Tensor, v_t: Tensor) -> Tensor:
        """Search and prediction tokens through the layer."""
        x = self._add(x, self.attn.search(self.norm1(x), k_t, v_t))
        return self._add(x, self.mlp(self.norm2(x)))

    def ask(self, x: Tensor, k_t: Tensor, v_t: Tensor, first: int) -> Tensor:
        """As `search`, for the tokens from `first` on alone: `[B, P, C]`."""
        x = self._add(x[:, first:], self.attn.ask(self.norm1(x), k_t, v_t, first))
        return self._add(x, self.mlp(self.norm2(x)))
