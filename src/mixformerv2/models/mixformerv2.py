"""MixFormerV2: backbone and heads as one network (section 3.1, figure 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .attention import MixedAttention
from .backbone import Backbone
from .config import ModelConfig
from .heads import BoxHead, ScoreHead

__all__ = ["Features", "MixFormerV2", "Output"]


@dataclass(frozen=True, slots=True)
class Output:
    """One forward pass.

    Attributes:
        probs: `[B, 4, bins]`, sides left, top, right, bottom.
        boxes: `[B, 4]`, x1, y1, x2, y2 in the search crop, 0 to 1.
        score: `[B]` logit of "the target is here", or None without a score head.
    """

    probs: Tensor
    boxes: Tensor
    score: Tensor | None


@dataclass(frozen=True, slots=True)
class Features:
    """Tokens after each layer, for losses and for looking inside.

    Attributes:
        templates: Per layer `[B, Nt, C]`.
        search: Per layer `[B, Ns, C]`.
        prediction: Per layer `[B, P, C]`.
    """

    templates: list[Tensor]
    search: list[Tensor]
    prediction: list[Tensor]


class MixFormerV2(nn.Module):
    """The tracker's network.

    Example:
        >>> import torch
        >>> model = MixFormerV2(ModelConfig(width=64, depth=2, template_size=64, search_size=128))
        >>> t, s = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 128, 128)
        >>> model(t, t, s).boxes.shape
        torch.Size([1, 4])
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.box_head = BoxHead(config)
        self.score_head = ScoreHead(config.width) if config.score_head else None
        self.apply(_init)

    def features(self, templates: tuple[Tensor, ...], search: Tensor) -> Features:
        """All tokens after each layer, from one pass over templates and search crop."""
        encoded = self.backbone.encode(templates)
        looked = self.backbone.look(search, [(k, v) for k, v, _ in encoded])
        n = self.config.search_grid**2
        return Features(
            [t for _, _, t in encoded], [x[:, :n] for x in looked], [x[:, n:] for x in looked]
        )

    def read(self, tokens: Tensor) -> Output:
        """The heads on the last layer's prediction tokens `[B, P, C]`."""
        probs, sides = self.box_head(tokens)
        score = None if self.score_head is None else self.score_head(tokens)
        return Output(probs, sides, score)

    def forward(self, template: Tensor, online_template: Tensor, search: Tensor) -> Output:
        """Find the target.

        Args:
            template: `[B, 3, T, T]`, ImageNet-normalised RGB.
            online_template: `[B, 3, T, T]`.
            search: `[B, 3, S, S]`.
        """
        return self.read(self.features((template, online_template), search).prediction[-1])

    def encode_templates(self, *templates: Tensor) -> Tensor:
        """Keys and values that `step` needs of any number of templates, each `[B, 3, T, T]`.

        Returns `[L, 2, B, h, Nt, d]`. They stay the same until a template changes.
        """
        encoded = self.backbone.encode(templates)
        return torch.stack([torch.stack([k, v]) for k, v, _ in encoded])

    def step(self, search: Tensor, memory: Tensor) -> Output:
        """Find the target in search crops `[B, 3, S, S]`; the same numbers as `forward`."""
        pairs = [(layer[0], layer[1]) for layer in memory.unbind(0)]
        return self.read(self.backbone.ask(search, pairs))


def _init(module: nn.Module) -> None:
    """Truncated normals for linear layers; queries and keys equal and small (fact 10)."""
    if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
        return  # `assemble` brings the values
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, Backbone):
        nn.init.trunc_normal_(module.prediction_tokens, std=0.02)
        nn.init.trunc_normal_(module.pos_prediction, std=0.02)
        for child in module.modules():
            if isinstance(child, MixedAttention):
                _match_queries_to_keys(child)


def _match_queries_to_keys(attention: MixedAttention) -> None:
    """Let like tokens attend to like from the start: each head's query and key weights are one
    slice of an orthogonal matrix, scaled to 0.8."""
    width = attention.proj.in_features
    d = width // attention.heads
    with torch.no_grad():
        basis = torch.empty(width, width)
        nn.init.orthogonal_(basis, gain=0.8)
        for head in range(attention.heads):
            rows = slice(head * d, (head + 1) * d)
            attention.qkv.weight[rows] = basis[rows]
            attention.qkv.weight[width + head * d : width + (head + 1) * d] = basis[rows]
