"""A published checkpoint in miniature, by its own recipe."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.golden.weights import tensor


def shapes(
    width: int = 64,
    hidden: int = 96,
    depth: int = 2,
    bins: int = 24,
    template: int = 4,
    search: int = 16,
    score: bool = True,
) -> dict[str, tuple[int, ...]]:
    """Published names and shapes; `template` and `search` count tokens."""
    out: dict[str, tuple[int, ...]] = {
        "backbone.pos_embed_s": (1, search, width),
        "backbone.pos_embed_t": (1, template, width),
        "backbone.reg_tokens": (1, 4, width),
        "backbone.pos_embed_reg": (1, 4, width),
        "backbone.patch_embed.proj.weight": (width, 3, 16, 16),
        "backbone.patch_embed.proj.bias": (width,),
    }
    layers: dict[str, tuple[int, ...]] = {}
    for i in range(depth):
        block = f"backbone.blocks.{i}."
        layers[block + "norm1"] = layers[block + "norm2"] = (width,)
        layers[block + "attn.qkv"] = (3 * width, width)
        layers[block + "attn.proj"] = (width, width)
        layers[block + "mlp.fc1"] = (hidden, width)
        layers[block + "mlp.fc2"] = (width, hidden)
    layers["box_head.layers.0.0"] = (width, width)
    layers["box_head.layers.0.1"] = (width,)
    layers["box_head.layers.1.0"] = (bins, width)
    layers["box_head.layers.1.1"] = (bins,)
    if score:
        layers["score_head.layers.0.0"] = (width, width)
        layers["score_head.layers.1"] = (1, width)
    for name, shape in layers.items():
        out[f"{name}.weight"], out[f"{name}.bias"] = shape, shape[:1]
    return out


def state_dict(**changes: int) -> dict[str, Tensor]:
    """Weights of a network that makes one step in a millisecond."""
    return {k: torch.from_numpy(tensor(k, s)) for k, s in shapes(**changes).items()}
