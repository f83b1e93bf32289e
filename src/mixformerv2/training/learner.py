"""What is trained: the network with its dense head, and the moving average that is kept."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..models.config import ModelConfig
from ..models.heads import DenseHead
from ..models.mixformerv2 import MixFormerV2
from .losses import Predictions

__all__ = ["MEAN", "STD", "Learner", "moving_average", "normalise", "parameter_groups"]

MEAN = (0.485, 0.456, 0.406)
"""ImageNet's mean of R, G, B, of pictures in 0..1."""
STD = (0.229, 0.224, 0.225)
"""ImageNet's standard deviation of R, G, B."""


def normalise(images: Tensor) -> Tensor:
    """BGR crops of 8 bits `[B, H, W, 3]` to ImageNet-normalised RGB `[B, 3, H, W]`."""
    x = images.flip(-1).permute(0, 3, 1, 2).float()
    mean = torch.tensor(MEAN, device=x.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(STD, device=x.device).view(1, 3, 1, 1) * 255
    return (x - mean) / std


class Learner(nn.Module):
    """A network and the dense head that teaches it (fact 10 of the design).

    The dense head sits on the search tokens of the last layer and is dropped at export.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.net = MixFormerV2(config)
        self.dense = DenseHead(config)
        nn.init.trunc_normal_(self.dense.sides.weight, std=0.02)
        nn.init.zeros_(self.dense.sides.bias)

    def forward(self, template: Tensor, online: Tensor, search: Tensor) -> Predictions:
        """BGR crops of 8 bits, `[B, T, T, 3]` twice and `[B, S, S, 3]`, to all predictions."""
        net = self.net
        templates = (normalise(template), normalise(online))
        features = net.features(templates, normalise(search))
        tokens = features.prediction[-1]
        logits = net.box_head.logits(tokens)
        _, boxes = net.box_head(tokens)
        score = None if net.score_head is None else net.score_head(tokens)
        dense, inside = self.dense(features.search[-1])
        return Predictions(logits, boxes, score, dense, inside)

    def freeze_all_but_score(self) -> None:
        """Train the score head alone (fact 6): everything else stays as it is."""
        if self.net.score_head is None:
            raise ValueError("the network has no score head to train")
        self.requires_grad_(False)
        self.net.score_head.requires_grad_(True)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weights of two and more dimensions decay; biases, norms and tokens do not."""
    decayed: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, p in model.named_parameters():
        if p.requires_grad:
            (decayed if p.ndim >= 2 and "prediction" not in name else rest).append(p)
    groups: list[dict[str, object]] = [{"params": rest, "weight_decay": 0.0}]
    if decayed:
        groups.append({"params": decayed, "weight_decay": weight_decay})
    return groups


@torch.no_grad()
def moving_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move `average` towards `model`; early steps move faster, so that the start is forgotten."""
    decay = min(decay, (1 + step) / (10 + step))
    ours, theirs = average.state_dict(), model.state_dict()
    floats = [k for k, v in ours.items() if v.is_floating_point()]
    torch._foreach_lerp_([ours[k] for k in floats], [theirs[k] for k in floats], 1 - decay)
    for key, value in ours.items():
        if not value.is_floating_point():
            value.copy_(theirs[key])


def to_tensors(batch: dict[str, NDArray[np.generic]]) -> Iterator[tuple[str, Tensor]]:
    """NumPy arrays of a batch as tensors, without copying."""
    for name, values in batch.items():
        yield name, torch.from_numpy(values)
