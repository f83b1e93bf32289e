"""MLP reduction (end of section 3.2): weights cut as w[:d1', :d2'], then trained under the teacher.

Two natural extensions beside it: fewer channels altogether, and the choice of the kept units by
their importance instead of their place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..models.config import HEAD_WIDTH, ModelConfig, stem_channels
from .config import Pairs
from .distill import DistillStage

__all__ = ["Cut", "MlpReductionStage", "choose_units", "cut_state"]

Units = Literal["first", "important"]

_LAYER = re.compile(r"\blayers\.(\d+)\.(.+)$")
# Heads have as many hidden units as the tokens have channels; the first of them stay.
_OF_TOKENS = re.compile(r"\.(fc1|direct\.0|sides|inside)\.weight$")
_ON_TOKENS = re.compile(r"\.(convs\.0|join\.\d)\.0\.weight$")
_READS_TOKENS = re.compile(r"\.[kv]\.\d\.weight$")
_OF_HIDDEN = re.compile(r"\.(fc2|direct\.2)\.weight$")
_TO_HIDDEN = re.compile(r"\.(fc1|norm1|direct\.0)\.(weight|bias)$")


class MlpReductionStage(DistillStage):
    """A student with smaller MLPs, or of smaller width, than its teacher."""

    def default_pairs(self, student: ModelConfig, teacher: ModelConfig) -> Pairs:
        """Every layer: each MLP is to do what the heavy one did."""
        return tuple((layer, layer) for layer in range(student.depth))

    def check_fit(self, student: ModelConfig, teacher: ModelConfig) -> None:
        """As deep as the teacher, and nowhere larger."""
        if student.depth != teacher.depth:
            raise ConfigError(
                f"MLP reduction keeps the depth: the teacher has {teacher.depth} layers, the "
                f"student {student.depth}; set model.depth={teacher.depth}"
            )
        for name in ("width", "hidden"):
            small, large = getattr(student, name), getattr(teacher, name)
            if small > large:
                raise ConfigError(
                    f"MLP reduction cannot add: the teacher's {name} is {large}, the student's "
                    f"{small}; lower model.{'width' if name == 'width' else 'mlp_ratio'}"
                )
        super().check_fit(student, teacher)

    def check_start(self, teacher: ModelConfig) -> None:
        """A wider teacher is cut to size."""

    def start_from_teacher(self, learner: nn.Module) -> None:
        """Cut the teacher's weights to the student's shapes."""
        state = cut_state(
            self.teacher.outcome.state,
            self.teacher.network,
            self.config.network,
            self.config.prune.units,
        )
        self.copy_fitting(learner, state)

    def plan(self) -> list[str]:
        """What is cut."""
        network = self.config.network
        cut = f"MLPs of {network.hidden} units at width {network.width}"
        return [f"{cut}, the {self.config.prune.units} ones of the teacher", *super().plan()]


@dataclass(frozen=True)
class Cut:
    """Which units of a larger network stay.

    Attributes:
        channels: Of the tokens, `[C']`.
        heads: Of each layer's attention.
        hidden: Of each layer's MLP.
    """

    channels: Tensor
    heads: list[Tensor]
    hidden: list[Tensor]


def choose_units(
    state: Mapping[str, Tensor], old: ModelConfig, new: ModelConfig, units: Units = "first"
) -> Cut:
    """Choose what stays.

    A hidden unit is as important as the product of the norms of what it reads and what it writes;
    a head, by what it writes; a channel, by all that is read from it. Kept units stay in order.

    Args:
        state: The larger network's tensors, under a learner's names.
        old: Its architecture.
        new: The smaller one.
        units: "first" or "important".
    """

    def pick(importance: Tensor, count: int) -> Tensor:
        if units == "first":
            return torch.arange(count)
        return importance.topk(count).indices.sort().values

    c, hidden = old.width, new.hidden
    heads, kept, read = [], [], torch.zeros(c)
    for i in range(old.depth):
        layer = f"net.backbone.layers.{i}."
        fc1, fc2 = state[layer + "mlp.fc1.weight"].float(), state[layer + "mlp.fc2.weight"].float()
        kept.append(pick(fc1.norm(dim=1) * fc2.norm(dim=0), hidden))
        written = state[layer + "attn.proj.weight"].float().view(c, old.heads, HEAD_WIDTH)
        heads.append(pick(written.norm(dim=(0, 2)), new.heads))
        read += state[layer + "attn.qkv.weight"].float().square().sum(0) + fc1.square().sum(0)
    return Cut(pick(read, new.width), heads, kept)


def cut_state(
    state: Mapping[str, Tensor], old: ModelConfig, new: ModelConfig, units: Units = "first"
) -> dict[str, Tensor]:
    """A smaller network's tensors out of a larger one's: w' = w[:d1', :d2'].

    Args:
        state: The larger network's tensors, under a learner's names.
        old: Its architecture.
        new: The smaller one, of the same depth.
        units: Which units stay.

    Example:
        >>> from mixformerv2.training.learner import Learner
        >>> small = {"width": 64, "depth": 1, "template_size": 32, "search_size": 64, "bins": 32}
        >>> old, new = ModelConfig(**small), ModelConfig(**small, mlp_ratio=1.0)
        >>> state = cut_state(Learner(old).state_dict(), old, new)
        >>> state["net.backbone.layers.0.mlp.fc1.weight"].shape
        torch.Size([64, 64])
    """
    cut = choose_units(state, old, new, units)
    return {name: _cut(name, tensor, cut, old, new) for name, tensor in state.items()}


def _cut(name: str, tensor: Tensor, cut: Cut, old: ModelConfig, new: ModelConfig) -> Tensor:
    found = _LAYER.search(name)
    if found is None:
        return _cut_outside(name, tensor, cut, old, new)
    number, part = int(found[1]), found[2]
    channels, hidden, heads = cut.channels, cut.hidden[number], cut.heads[number]
    inner = (heads[:, None] * HEAD_WIDTH + torch.arange(HEAD_WIDTH)).flatten()  # of one of q, k, v
    qkv = torch.cat([inner + block * old.width for block in range(3)])
    rows, columns = {
        "attn.qkv": (qkv, channels),
        "attn.proj": (channels, inner),
        "mlp.fc1": (hidden, channels),
        "mlp.fc2": (channels, hidden),
    }.get(part.rpartition(".")[0], (channels, channels))
    out = tensor.index_select(0, rows)
    return out.index_select(1, columns) if tensor.ndim == 2 else out


def _cut_outside(name: str, tensor: Tensor, cut: Cut, old: ModelConfig, new: ModelConfig) -> Tensor:
    """Stem, tokens and heads: channels where they meet the tokens, else the first ones."""
    if old.width == new.width:
        return tensor
    if "prediction" in name:
        return tensor.index_select(-1, cut.channels)
    if "stem.proj" in name:
        out = tensor.index_select(0, cut.channels)
        if tensor.ndim == 4 and new.stem == "conv":
            return out[:, : stem_channels(new.width, new.patch_size)[-1]]
        return out
    if "stem.convs" in name:
        return _cut_stem(name, tensor, new)
    if name.startswith("dense.norm"):
        return tensor.index_select(0, cut.channels)
    if old.corner_head and name.startswith("net.score_head."):
        return _cut_score_module(name, tensor, cut, new)
    if tensor.ndim == 4:  # of a corner head; later ones have channels of their own
        return tensor.index_select(1, cut.channels) if _ON_TOKENS.search(name) else tensor
    if tensor.ndim == 2 and _OF_TOKENS.search(name):
        tensor = tensor.index_select(1, cut.channels)
    elif tensor.ndim == 2 and _OF_HIDDEN.search(name):
        tensor = tensor[:, : new.width]
    return tensor[: new.width] if _TO_HIDDEN.search(name) else tensor


def _cut_score_module(name: str, tensor: Tensor, cut: Cut, new: ModelConfig) -> Tensor:
    """The first units of a MixViT's score module; its keys and values read the tokens."""
    if _READS_TOKENS.search(name):
        tensor = tensor.index_select(1, cut.channels)
    elif tensor.ndim > 1:
        tensor = tensor[..., : new.width]
    return tensor if "token" in name or tensor.shape[0] == 1 else tensor[: new.width]


def _cut_stem(name: str, tensor: Tensor, new: ModelConfig) -> Tensor:
    """The first channels of a convolution of the stem, or of the batch norm after it."""
    if tensor.ndim == 0:
        return tensor  # batches that a norm has seen
    number = int(name.split(".convs.")[1].split(".")[0]) // 3  # convolution, norm, ReLU
    channels = (3, *stem_channels(new.width, new.patch_size))
    out = tensor[: channels[number + 1]]
    return out[:, : channels[number]] if tensor.ndim == 4 else out
