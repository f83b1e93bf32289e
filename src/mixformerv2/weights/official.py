"""Published checkpoints: find out what they are, and make our network of them.

The published code orders its prediction tokens left, right, top, bottom. Everything about a network
but the search factor can be read from names and shapes alone; `published.py` has them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import ConfigError, WeightsError
from ..models.assemble import assemble
from ..models.backbone import sincos_2d
from ..models.config import ModelConfig
from .checkpoint import check_tensor, dims, grid_side, hidden_ratio, read_checkpoint, tensors_of
from .published import POSITIONS, SCORE_HEAD, SCORE_MODULE, our_name, published_shapes

if TYPE_CHECKING:
    from ..models.network import Network

__all__ = [
    "Official",
    "build_official",
    "from_official",
    "inspect_official",
    "read_checkpoint",
]

log = logging.getLogger(__name__)

_OUR_ORDER = (0, 2, 1, 3)  # published left, right, top, bottom to left, top, right, bottom
_FIRST = "backbone.patch_embed.proj.weight"
_QUERY = "backbone.reg_tokens"
_SIDES = "box_head.layers.1.0.weight"
_CORNER = "box_head.conv1_tl.0.weight"
_CORNERS = ("box_head.conv", "box_head.adjust")
_PYRAMID = "box_head.adjust"
_BARE = "patch_embed.proj.weight"
_COUNTER = ".num_batches_tracked"
_LAYER = re.compile(r"backbone\.blocks\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Official:
    """What a published checkpoint turned out to be.

    Attributes:
        config: The architecture, worked out from names and shapes.
        weights: Tensors under our names, float32, sides in our order.
        used: Published names that went into `weights` or were compared with their fixed value.
        ignored: Names in the checkpoint that the network has no place for: of a MixViT, such as
            were left over from its pre-training (`cls_token`, `pos_embed`, `norm.*`, `head.*`).
    """

    config: ModelConfig
    weights: dict[str, Tensor]
    used: tuple[str, ...]
    ignored: tuple[str, ...]


def from_official(
    state_dict: Mapping[str, Any], *, layer_gain: Mapping[int, float] | None = None
) -> Network:
    """Our network with the weights of a published checkpoint, in eval mode.

    A MixFormerV2 or, where there is a corner head, its teacher MixViT. Depth, width, MLP ratio,
    bins, sizes and heads are worked out from the tensors. The same inputs give the same boxes,
    probabilities and scores as the published code (held to 1e-4 by the golden tests); only the
    sides come as left, top, right, bottom.

    Args:
        state_dict: Published names to tensors, bare or inside `{"net": ...}`.
        layer_gain: Factors of layers that are being faded out (eq. 8); they are part of a run,
            not of its checkpoint.

    Raises:
        WeightsError: no such checkpoint, or one whose tensors do not fit together.

    Example:
        >>> from mixformerv2.weights.official import read_checkpoint
        >>> model = from_official(read_checkpoint("mixformerv2_small.pth.tar"))  # doctest: +SKIP
        >>> model.config.depth  # doctest: +SKIP
        4
    """
    return build_official(inspect_official(state_dict), layer_gain=layer_gain)


def build_official(official: Official, *, layer_gain: Mapping[int, float] | None = None) -> Network:
    """The network of an inspected checkpoint, in eval mode; it takes over the tensors."""
    config = replace(official.config, layer_gain=dict(layer_gain or {}))
    return assemble(config, official.weights)


def inspect_official(state_dict: Mapping[str, Any], source: str = "checkpoint") -> Official:
    """Work out what a published checkpoint holds, without building the network.

    Args:
        state_dict: Published names to tensors, bare or inside `{"net": ...}`.
        source: What to call it in messages, such as its file name.

    Raises:
        WeightsError: neither MixFormerV2 nor MixViT, or tensors that do not fit together.
    """
    tensors = tensors_of(state_dict, source)
    mixvit = _QUERY not in tensors and any(name.startswith(_CORNERS) for name in tensors)
    config = _mixvit_config(tensors, source) if mixvit else _config(tensors, source)
    expected = published_shapes(config)
    for name, shape in expected.items():
        check_tensor(tensors, name, shape, source)
    _check_positions(tensors, config, source)
    weights = {}
    for name in expected:
        if name not in POSITIONS:
            weights[our_name(name)] = tensors[name].detach().float().clone()
            if name.endswith(".running_var"):  # how many batches a norm has seen is not used
                weights[our_name(name).removesuffix(".running_var") + _COUNTER] = torch.tensor(0)
    if not mixvit:
        for name in ("backbone.prediction_tokens", "backbone.pos_prediction"):
            weights[name] = weights[name][:, list(_OUR_ORDER)]
    norms = {n.removesuffix(".running_var") for n in expected if n.endswith(".running_var")}
    ignored = tuple(
        name
        for name in tensors
        # Their counters are no news, and would hide what is.
        if name not in expected and name.removesuffix(_COUNTER) not in norms
    )
    log.info("%s: used %d tensors, ignored %d", source, len(expected), len(ignored))
    return Official(config, weights, tuple(expected), ignored)


def _config(tensors: Mapping[str, Tensor], source: str) -> ModelConfig:
    """Architecture of a MixFormerV2 from names and shapes."""
    for name in (_FIRST, _QUERY, _SIDES, *POSITIONS):
        if name not in tensors:
            if _BARE in tensors:
                raise WeightsError(
                    f"{source} is a backbone without heads, as of a masked autoencoder, and tracks "
                    "nothing yet; let a training begin with it: mixformerv2 train --init FILE"
                )
            raise WeightsError(
                f"{source} is no MixFormerV2 checkpoint: it has no {name} among its "
                f"{len(tensors)} tensors, the first of which is {next(iter(tensors))}"
            )
    settings = _backbone_settings(tensors, source)
    settings["bins"] = dims(tensors, _SIDES, 2, source)[0]
    # Any part of it: where others are missing, the file is not whole.
    settings["score_head"] = any(name.startswith(SCORE_HEAD) for name in tensors)
    return _model_config(settings, source)


def _mixvit_config(tensors: Mapping[str, Tensor], source: str) -> ModelConfig:
    """Architecture of a MixViT from names and shapes."""
    for name in (_FIRST, *POSITIONS, _CORNER):
        if name not in tensors:
            raise WeightsError(f"{source} lacks {name}; the MixViT checkpoint is incomplete")
    settings = _backbone_settings(tensors, source)
    pyramid = any(name.startswith(_PYRAMID) for name in tensors)
    settings["box_head"] = "corner_pyramid" if pyramid else "corner"
    settings["head_channels"] = dims(tensors, _CORNER, 4, source)[0]
    config = _model_config({**settings, "score_head": True}, source)
    module = [name for name in published_shapes(config) if name.startswith(SCORE_MODULE)]
    missing = [name for name in module if name not in tensors]
    if not missing:
        return config
    if len(missing) < len(module):
        log.warning(
            "%s: its score prediction module is incomplete (no %s), so it is left out and online "
            "templates stay as they are",
            source,
            missing[0],
        )
    return replace(config, score_head=False)


def _backbone_settings(tensors: Mapping[str, Tensor], source: str) -> dict[str, Any]:
    """What both families have: width, depth, MLP ratio, patches and crops."""
    width, _, patch, _ = dims(tensors, _FIRST, 4, source)
    depth = 1 + max((int(m[1]) for name in tensors if (m := _LAYER.match(name))), default=-1)
    if depth == 0:
        raise WeightsError(f"{source} has no layers: no tensor is called backbone.blocks.0.*")
    hidden_name = "backbone.blocks.0.mlp.fc1.weight"
    if hidden_name not in tensors:
        raise WeightsError(f"{source} lacks {hidden_name}; the checkpoint is incomplete")
    hidden, _ = dims(tensors, hidden_name, 2, source)
    template, search = (patch * grid_side(tensors, name, source) for name in POSITIONS)
    return {
        "width": width,
        "depth": depth,
        "mlp_ratio": hidden_ratio(hidden, width),
        "patch_size": patch,
        "template_size": template,
        "search_size": search,
    }


def _model_config(settings: dict[str, Any], source: str) -> ModelConfig:
    try:
        return ModelConfig(**settings)
    except ConfigError as error:
        raise WeightsError(f"{source} has shapes that no network here can take: {error}") from error


def _check_positions(tensors: Mapping[str, Tensor], config: ModelConfig, source: str) -> None:
    """Position embeddings are fixed, so they are compared, not copied."""
    grids = (config.template_grid, config.search_grid)
    for name, grid in zip(POSITIONS, grids, strict=True):
        position = tensors[name][0]
        difference = float((position.float() - sincos_2d(config.width, grid)).abs().max())
        # Half precision rounds values up to 1 by 5e-4, bfloat16 by 4e-3.
        if difference > max(1e-3, torch.finfo(position.dtype).eps):
            raise WeightsError(
                f"{source}: {name} differs by {difference:.2g} from the fixed sine-cosine "
                "embedding; only checkpoints that keep it fixed, as published, can be converted"
            )
