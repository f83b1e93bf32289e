"""What is trained: the network with its dense head, and the moving average that is kept."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..models.config import ModelConfig
from ..models.corners import corner_log_marginals
from ..models.heads import DenseHead
from ..models.mixformerv2 import MixFormerV2
from ..models.mixvit import MixViT
from ..models.registry import build
from .losses import Predictions
from .shards import whole_state

__all__ = [
    "MEAN",
    "STD",
    "Learner",
    "moving_average",
    "normalise",
    "parameter_groups",
]

_LAYER = re.compile(r"\blayers\.(\d+)\.")

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

    The dense head sits on the search tokens of the last layer and is dropped at export. A network
    with a corner head has none, for that is dense itself.

    Args:
        config: The network.
        dense: Whether prediction tokens are helped by a dense head.

    Attributes:
        keep: Layers whose tokens `forward` answers too, for feature matching.
    """

    def __init__(self, config: ModelConfig, dense: bool = True) -> None:
        super().__init__()
        self.keep: tuple[int, ...] = ()
        self.net = build(config)
        self.dense: DenseHead | None = None
        if dense and config.prediction_tokens:
            self.dense = DenseHead(config)
            nn.init.trunc_normal_(self.dense.sides.weight, std=0.02)
            nn.init.zeros_(self.dense.sides.bias)

    def forward(self, template: Tensor, online: Tensor, search: Tensor) -> Predictions:
        """BGR crops of 8 bits, `[B, T, T, 3]` twice and `[B, S, S, 3]`, to all predictions."""
        net = self.net
        found = net.features((normalise(template), normalise(online)), normalise(search))
        kept = tuple(
            torch.cat([found.templates[i], found.search[i], found.prediction[i]], dim=1)
            for i in self.keep
        )
        if isinstance(net, MixViT):
            out = net.read(found.search[-1])
            assert out.corners is not None
            # The softmax of log probabilities are the probabilities: logs are logits too.
            sides = corner_log_marginals(out.corners)
            score = None
            if net.score_head is not None:
                # In float32 under bf16 autocast too: bf16 would move what is pooled.
                with torch.autocast(search.device.type, enabled=False):
                    first = found.templates[-1][:, : net.config.template_grid**2].float()
                    score = net.score_head(
                        found.search[-1].float(),
                        out.boxes.detach().float(),
                        net.score_head.remember(first),
                    )
            return Predictions(sides, out.boxes, score, corners=out.corners, features=kept)
        assert isinstance(net, MixFormerV2)
        # In float32 under bf16 autocast too: bf16 would move a side by a tenth of a bin.
        with torch.autocast(search.device.type, enabled=False):
            tokens = found.prediction[-1].float()
            direct = net.config.box_head == "one_token_direct"
            logits = None if direct else net.box_head.logits(tokens)
            _, boxes = net.box_head(tokens)
            score = None if net.score_head is None else net.score_head(tokens)
        if self.dense is None:
            return Predictions(logits, boxes, score, features=kept)
        dense, inside = self.dense(found.search[-1])
        return Predictions(logits, boxes, score, dense, inside, features=kept)


def parameter_groups(
    model: nn.Module, weight_decay: float, layer_decay: float = 1.0, backbone: float = 1.0
) -> list[dict[str, Any]]:
    """Parameters by weight decay and by learning rate.

    Weights of two and more dimensions decay; biases, norms and tokens do not.

    Args:
        model: Anything whose layers are called `layers.N` and whose backbone is `backbone`.
        weight_decay: Of the weights that decay.
        layer_decay: Each layer learns at so many times the rate of the one after it, the stem at
            that of a layer before the first.
        backbone: Rate of the backbone's last layer over that of the heads.

    Returns:
        Groups for an optimizer; "scale" is the factor on the learning rate.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    numbers = [int(found[1]) for name, _ in named if (found := _LAYER.search(name))]
    depth = 1 + max(numbers, default=-1)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, p in named:
        decays = p.ndim >= 2 and "prediction" not in name
        scale = 1.0
        if "backbone." in name:
            found = _LAYER.search(name)
            scale = backbone * layer_decay ** (depth - (int(found[1]) + 1 if found else 0))
        groups.setdefault((scale, decays), []).append(p)
    if not groups:
        raise ConfigError("nothing is left to train: every parameter is frozen")
    return [
        {"params": found, "weight_decay": weight_decay * decays, "scale": scale}
        for (scale, decays), found in sorted(groups.items(), key=lambda item: item[0])
    ]


@torch.no_grad()
def moving_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move `average` towards `model`; early steps move faster, so that the start is forgotten."""
    decay = min(decay, (1 + step) / (10 + step))
    ours, theirs = average.state_dict(), whole_state(model)
    floats = [k for k, v in ours.items() if v.is_floating_point()]
    torch._foreach_lerp_([ours[k] for k in floats], [theirs[k] for k in floats], 1 - decay)
    for key, value in ours.items():
        if not value.is_floating_point():
            value.copy_(theirs[key])
