"""Weights of a masked autoencoder for a tracker's backbone: published ones, or of our own runs.

Table 3e of the paper compares what a student of few layers starts from: the first layers of a
pre-trained backbone ("MAE-fir4"), or layers skipped at equal distances ("skip4").
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..errors import ConfigError, WeightsError
from .checkpoint import read_checkpoint, refuse_values, tensors_of

if TYPE_CHECKING:
    from ..models.network import Network

__all__ = ["MaeReport", "choose_layers", "depth_of", "init_backbone", "match_backbone", "read_mae"]

_logger = logging.getLogger(__name__)

_LAYER = re.compile(r"layers\.(\d+)\.")
_PARTS = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")


@dataclass(frozen=True, slots=True)
class MaeReport:
    """What a backbone was given.

    Attributes:
        layers: Layers of the pre-trained backbone, in the order in which they were taken.
        of: Its depth.
        used: Names of the backbone's tensors that were set.
        ignored: Names in the checkpoint that a tracker has no place for, such as `cls_token`,
            `pos_embed`, `norm.*` and the decoder.
    """

    layers: tuple[int, ...]
    of: int
    used: tuple[str, ...]
    ignored: tuple[str, ...]


def choose_layers(depth: int, count: int, how: str = "first") -> tuple[int, ...]:
    """Which of `depth` layers a backbone of `count` layers starts from.

    Args:
        depth: Layers that there are.
        count: Layers that are wanted.
        how: "first"; "skip", at equal distances and the last among them, as the paper's layers 3,
            6, 9 and 12 of 12; or numbers from 0 on, "0,4,8,11".

    Raises:
        ConfigError: more layers than there are, or numbers that cannot work.

    Example:
        >>> choose_layers(12, 4, "first"), choose_layers(12, 4, "skip")
        ((0, 1, 2, 3), (2, 5, 8, 11))
    """
    if how == "first":
        chosen = tuple(range(count))
    elif how == "skip":
        chosen = tuple((i + 1) * depth // count - 1 for i in range(count))
    else:
        try:
            chosen = tuple(int(number) for number in how.split(","))
        except ValueError as error:
            raise ConfigError(
                f'layers are "first", "skip" or numbers such as "0,4,8,11", got {how!r}'
            ) from error
    if len(chosen) != count or len(set(chosen)) != count or not all(0 <= i < depth for i in chosen):
        raise ConfigError(
            f"{count} different layers of 0 to {depth - 1} are wanted, got "
            f"{','.join(map(str, chosen))} ({how})"
        )
    return chosen


def read_mae(source: str | Path | Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors of a pre-trained backbone under a tracker's names, `stem.proj.weight`, `layers.0...`.

    Takes the published MAE checkpoints (`patch_embed.*`, `blocks.N.*`, bare or inside
    `{"model": ...}`), and the state of our own pre-training (`net.backbone.*`); names that a
    backbone does not have come under their own.

    Raises:
        WeightsError: no such file, or nothing of a backbone in it.
    """
    name = "checkpoint" if isinstance(source, Mapping) else str(source)
    tensors = tensors_of(source if isinstance(source, Mapping) else read_checkpoint(source), name)
    out = {}
    for key, tensor in tensors.items():
        ours = key.removeprefix("net.").removeprefix("backbone.").removeprefix("encoder.")
        ours = re.sub(r"^blocks\.", "layers.", ours)
        out[re.sub(r"^patch_embed\.", "stem.", ours)] = tensor
    if not any(_LAYER.match(key) for key in out):
        raise WeightsError(
            f"{name} holds no pre-trained backbone: none of its {len(tensors)} tensors is called "
            f"blocks.0.*; the first is {next(iter(tensors))}"
        )
    return out


def depth_of(weights: Mapping[str, Tensor]) -> int:
    """Layers of what `read_mae` answers."""
    return 1 + max(int(m[1]) for name in weights if (m := _LAYER.match(name)))


def init_backbone(
    model: Network, weights: Mapping[str, Tensor], layers: str = "first", source: str = "checkpoint"
) -> MaeReport:
    """Let a network's backbone begin with pre-trained weights; its heads stay as they are.

    Position embeddings are fixed and belong to the crop's size, so they are not taken.

    Args:
        model: A network of ours; its stem and layers are set.
        weights: Of `read_mae`.
        layers: Which layers where the network has fewer, as `choose_layers` takes it.
        source: What to call the weights in messages.

    Raises:
        WeightsError: weights of another width, patch size, stem or MLP ratio.
        ConfigError: layers that are not there.

    Example:
        >>> from mixformerv2.models import create
        >>> big = create("mixvit_t", depth=4).backbone.state_dict()
        >>> init_backbone(create("mixformerv2_t", depth=2), big, "skip").layers
        (1, 3)
    """
    chosen, depth, taken = match_backbone(model, weights, layers, source)
    state = model.backbone.state_dict()
    for ours, theirs in taken.items():
        if state[ours].is_floating_point():  # a batch norm counts batches too
            refuse_values(weights[theirs], theirs, source)
    model.backbone.load_state_dict(
        {ours: weights[theirs].to(state[ours].dtype) for ours, theirs in taken.items()},
        strict=False,
    )
    known = re.compile(rf"stem\.|layers\.\d+\.({'|'.join(map(re.escape, _PARTS))})\.")
    ignored = tuple(name for name in weights if not known.match(name))
    _logger.info("%s: layers %s of %d; ignored %d tensors", source, chosen, depth, len(ignored))
    return MaeReport(chosen, depth, tuple(taken), ignored)


def match_backbone(
    model: Network, weights: Mapping[str, Tensor], layers: str = "first", source: str = "checkpoint"
) -> tuple[tuple[int, ...], int, dict[str, str]]:
    """What `init_backbone` takes, by names and shapes alone; the network may have no values.

    Returns the layers that are taken, of how many, and our names with theirs.

    Raises:
        WeightsError: weights of another width, patch size, stem or MLP ratio.
        ConfigError: layers that are not there.
    """
    depth = depth_of(weights)
    chosen = choose_layers(depth, model.config.depth, layers)
    state = model.backbone.state_dict()
    taken: dict[str, str] = {}
    for name in state:
        if name.startswith("stem."):
            taken[name] = name
        elif found := _LAYER.match(name):
            taken[name] = f"layers.{chosen[int(found[1])]}.{name[found.end() :]}"
    for ours, theirs in taken.items():
        if theirs not in weights:
            raise WeightsError(
                f"{source} lacks {theirs}; its stem or its layers are of another kind"
            )
        if weights[theirs].shape != state[ours].shape:
            raise WeightsError(
                f"{source}: {theirs} has shape {tuple(weights[theirs].shape)}, the network's is "
                f"{tuple(state[ours].shape)}; width, patches, stem and MLP ratio must be the same"
            )
    return chosen, depth, taken
