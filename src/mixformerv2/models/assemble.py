"""A network around weights that already exist."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .backbone import sincos_2d
from .config import ModelConfig
from .network import Network
from .registry import build

__all__ = ["assemble"]


def assemble(config: ModelConfig, weights: Mapping[str, Tensor]) -> Network:
    """The network with these weights, in eval mode.

    Random weights are never drawn, which takes seconds for S and B; the tensors become the
    network's own, without a copy.

    Args:
        config: The architecture.
        weights: Every entry of the network's `state_dict`.

    Raises:
        RuntimeError: a tensor that is missing, unknown, of another shape or another kind of number.

    Example:
        >>> small = build(ModelConfig(width=64, depth=1, template_size=32, search_size=64))
        >>> assemble(small.config, small.state_dict()).config == small.config
        True
    """
    with torch.device("meta"):
        model = build(config)
    _check_kinds(model.state_dict(), weights)
    model.load_state_dict(dict(weights), assign=True)
    device = next(model.parameters()).device
    # The fixed embeddings are no part of a state dict, so they have no values yet.
    for name, grid in (
        ("pos_template", config.template_grid),
        ("pos_search", config.search_grid),
    ):
        setattr(model.backbone, name, sincos_2d(config.width, grid)[None].to(device))
    return model.eval()


def _check_kinds(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Tensors that are taken as they are would bring integers, or complex numbers, with them."""
    for name, tensor in weights.items():
        wanted = own[name].dtype if name in own else tensor.dtype
        if tensor.dtype != wanted and not (tensor.is_floating_point() and wanted.is_floating_point):
            raise RuntimeError(f"{name} holds {tensor.dtype} where {wanted} is wanted")
