"""Heads on the prediction tokens (eq. 2), and the dense head that teaches them.

Order of sides everywhere: left, top, right, bottom. Letters as in `backbone.py`, K bins.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from .config import ModelConfig

__all__ = ["BoxHead", "DenseHead", "ScoreHead", "bins_of_a_token", "expectation", "two_hot"]


def expectation(probs: Tensor) -> Tensor:
    """Expected place of each side (eq. 3): `[..., K]` to `[...]`, 0 to 1 of the crop.

    Bin i stands at i/K, without a half-bin shift, as published.
    """
    bins = probs.shape[-1]
    places = torch.arange(bins, device=probs.device, dtype=probs.dtype) / bins
    return (probs * places).sum(-1)


def two_hot(places: Tensor, bins: int) -> Tensor:
    """The narrowest distribution whose expectation is `places`: `[...]` to `[..., bins]`.

    Places outside 0..(bins-1)/bins are moved to the nearest end.
    """
    x = (places * bins).clamp(0, bins - 1)
    low = x.floor().clamp(max=bins - 2)
    share = (x - low)[..., None]
    index = low.long()[..., None]
    out = torch.zeros(*places.shape, bins, device=places.device, dtype=places.dtype)
    return out.scatter(-1, index, 1 - share).scatter(-1, index + 1, share)


class SideMlp(nn.Module):
    """Linear, LayerNorm, ReLU, Linear, LayerNorm: the logits themselves are normalised (fact 3)."""

    def __init__(self, width: int, bins: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width, eps=1e-5)
        self.fc2 = nn.Linear(width, bins)
        self.norm2 = nn.LayerNorm(bins, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., C]` to logits `[..., K]`."""
        out: Tensor = self.norm2(self.fc2(F.relu(self.norm1(self.fc1(x)))))
        return out


class BoxHead(nn.Module):
    """Distributions of the four sides from the prediction tokens.

    The kinds are those of Tables 3a and 8a; `one_token_direct` regresses four numbers and answers
    with the two-hot distribution around each, so that every kind has the same output.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.kind = config.box_head
        self.bins = config.bins
        c = config.width
        if self.kind == "one_token_direct":
            self.direct = nn.Sequential(nn.Linear(c, c), nn.ReLU(), nn.Linear(c, 4))
        else:
            count = 1 if self.kind == "four_tokens_shared" else 4
            self.mlps = nn.ModuleList(SideMlp(c, config.bins) for _ in range(count))

    def logits(self, tokens: Tensor) -> Tensor:
        """Prediction tokens `[B, P, C]` to logits `[B, 4, K]`."""
        if self.kind == "four_tokens_shared":
            out: Tensor = self.mlps[0](tokens)
            return out
        if self.kind == "one_token_direct":
            raise ConfigError("a head that regresses the box directly has no logits; use probs")
        one = self.kind == "one_token_four"
        sides = [mlp(tokens[:, 0 if one else i]) for i, mlp in enumerate(self.mlps)]
        return torch.stack(sides, dim=1)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Prediction tokens `[B, P, C]` to distributions `[B, 4, K]` and sides `[B, 4]`."""
        if self.kind == "one_token_direct":
            sides = self.direct(tokens[:, 0]).float().sigmoid()
            return two_hot(sides, self.bins), sides
        probs = self.logits(tokens).float().softmax(-1)
        return probs, expectation(probs)


class ScoreHead(nn.Module):
    """Two linear layers on each prediction token, whose logits are averaged (fact 3).

    The paper averages the tokens; the published code, and so this one, their logits.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, width)
        self.fc2 = nn.Linear(width, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Prediction tokens `[B, P, C]` to logits `[B]`."""
        out: Tensor = self.fc2(F.relu(self.fc1(tokens))).squeeze(-1).mean(-1).float()
        return out


def bins_of_a_token(config: ModelConfig) -> int:
    """How many bins of each side a search token scores in a dense head.

    Raises:
        ConfigError: the bins cannot be divided among the tokens of a side.
    """
    grid = config.search_grid
    if config.bins % grid:
        raise ConfigError(
            f"a dense head needs bins to be a multiple of the {grid} search tokens of a side, got "
            f"{config.bins}; set model.bins, or the dense terms of the loss to 0"
        )
    return config.bins // grid


class DenseHead(nn.Module):
    """Side distributions from the search tokens: eq. 4 as a head, for training alone.

    Each search token scores the bins of its own column for left and right and those of its own row
    for top and bottom; the log-sum-exp over the other axis is the side's logit. Its gradient
    reaches every search token, which is what starts the learning from random weights; the
    prediction tokens then learn from it (eq. 5). A second output asks each token how much of it is
    target.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.grid = config.search_grid
        self.per_token = bins_of_a_token(config)
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.sides = nn.Linear(config.width, 4 * self.per_token)
        self.inside = nn.Linear(config.width, 1)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Search tokens `[B, Ns, C]` to side logits `[B, 4, K]` and target logits `[B, Ns]`."""
        x = self.norm(tokens)
        b, g, k = x.shape[0], self.grid, self.per_token
        sides = self.sides(x).float().view(b, g, g, 4, k)  # rows, columns, sides, bins
        across = sides[:, :, :, 0::2].logsumexp(1)  # left, right: [B, columns, 2, k]
        down = sides[:, :, :, 1::2].logsumexp(2)  # top, bottom: [B, rows, 2, k]
        lr = across.permute(0, 2, 1, 3).reshape(b, 2, g * k)
        tb = down.permute(0, 2, 1, 3).reshape(b, 2, g * k)
        logits = torch.stack([lr[:, 0], tb[:, 0], lr[:, 1], tb[:, 1]], dim=1)
        return logits, self.inside(x).squeeze(-1).float()
