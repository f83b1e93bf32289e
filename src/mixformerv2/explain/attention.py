"""What the prediction tokens look at (figures 5 and 6 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import ConfigError
from ..models.attention import Layer, MixedAttention
from ..models.mixformerv2 import MixFormerV2

__all__ = ["SIDES", "Attention", "prediction_attention"]

SIDES = ("left", "top", "right", "bottom")
"""What each of four prediction tokens answers for, in order."""


@dataclass(frozen=True, slots=True)
class Attention:
    """Shares of attention of each prediction token, from one search crop.

    For one layer, head and token, all shares on search, templates and prediction tokens together
    sum to 1.

    Attributes:
        search: `[layers, heads, P, rows, columns]`, tokens of the search crop.
        templates: `[layers, heads, P, N, rows, columns]`, tokens of each template.
        prediction: `[layers, heads, P, P]`, the prediction tokens themselves.
    """

    search: NDArray[np.float32]
    templates: NDArray[np.float32]
    prediction: NDArray[np.float32]


@torch.inference_mode()
def prediction_attention(
    model: nn.Module, templates: tuple[Tensor, ...], search: Tensor
) -> Attention:
    """Run the network on one crop and keep how its prediction tokens spread their attention.

    Args:
        model: In eval mode.
        templates: Each `[1, 3, T, T]`, ImageNet-normalised RGB.
        search: `[1, 3, S, S]`.

    Raises:
        ConfigError: a network without prediction tokens, or more than one crop.

    Example:
        >>> from mixformerv2.models import ModelConfig
        >>> net = MixFormerV2(ModelConfig(width=64, depth=2, template_size=32, search_size=64))
        >>> t, s = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 64, 64)
        >>> prediction_attention(net.eval(), (t, t), s).search.shape
        (2, 1, 4, 4, 4)
    """
    if not isinstance(model, MixFormerV2):
        raise ConfigError(
            f"{type(model).__name__} has no prediction tokens whose attention could be shown; "
            "take a MixFormerV2 model"
        )
    if search.shape[0] != 1:
        raise ConfigError(f"attention is shown for one crop at a time, got {search.shape[0]}")
    config, backbone = model.config, model.backbone
    x = backbone.search_tokens(search)
    first = config.search_grid**2
    rows = []
    for layer, (k, v, _) in zip(backbone.layers, backbone.encode(templates), strict=True):
        assert isinstance(layer, Layer)
        rows.append(_shares(layer.attn, layer.norm1(x), k, first))
        x = layer.search(x, k, v)
    shares = torch.stack(rows)  # [L, h, P, Nt + Ns + P]
    t, s, p = len(templates), config.search_grid, config.prediction_tokens
    g = config.template_grid
    on_templates, on_search, on_tokens = torch.split(shares, [t * g * g, s * s, p], dim=-1)
    lead = shares.shape[:3]
    return Attention(
        on_search.reshape(*lead, s, s).numpy(),
        on_templates.reshape(*lead, t, g, g).numpy(),
        on_tokens.numpy(),
    )


def _shares(attention: MixedAttention, x: Tensor, k_t: Tensor, first: int) -> Tensor:
    """Softmax of eq. 1 for the tokens from `first` on: `[h, P, Nt + Nx]`."""
    q, k, _ = attention.split(x)
    keys = torch.cat([k_t, k], dim=2)
    weights: Tensor = q[:, :, first:] @ keys.transpose(2, 3) * q.shape[-1] ** -0.5
    shares: Tensor = weights.softmax(-1)[0]
    return shares
