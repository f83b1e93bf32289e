"""What both families share: a backbone, heads on its tokens, and one way of being called."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .attention import MixedAttention
from .backbone import Backbone
from .config import ModelConfig

__all__ = ["Features", "Network", "Output", "initialise"]


@dataclass(frozen=True, slots=True)
class Output:
    """One forward pass.

    Attributes:
        probs: `[B, 4, bins]`, sides left, top, right, bottom.
        boxes: `[B, 4]`, x1, y1, x2, y2 in the search crop, 0 to 1.
        score: `[B]` logit of "the target is here", or None without a score head.
        corners: Of a corner head, logits of its two maps `[B, 2, bins, bins]`, top left and bottom
            right, rows first; `probs` are their marginals (eq. 4). None for MixFormerV2.
    """

    probs: Tensor
    boxes: Tensor
    score: Tensor | None
    corners: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Features:
    """Tokens after each layer, for losses and for looking inside.

    Attributes:
        templates: Per layer `[B, Nt, C]`.
        search: Per layer `[B, Ns, C]`.
        prediction: Per layer `[B, P, C]`; P is 0 for a corner head.
    """

    templates: list[Tensor]
    search: list[Tensor]
    prediction: list[Tensor]


class Network(nn.Module):
    """A tracker's network: `MixFormerV2` or its teacher `MixViT`.

    One call finds the target; `encode_templates` and `step` do the same in two, so that what
    depends on the templates alone is computed once for many frames.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)

    def features(self, templates: tuple[Tensor, ...], search: Tensor) -> Features:
        """All tokens after each layer, from one pass over templates and search crop."""
        encoded = self.backbone.encode(templates)
        looked = self.backbone.look(search, [(k, v) for k, v, _ in encoded])
        # From behind: a smaller search crop, the middle of a whole one, has fewer tokens.
        n = looked[0].shape[1] - self.config.prediction_tokens
        return Features(
            [t for _, _, t in encoded], [x[:, :n] for x in looked], [x[:, n:] for x in looked]
        )

    def remember(self, tokens: Tensor) -> Tensor:
        """What `step` needs of the templates, from the stem's tokens of all of them `[B, Nt, C]`.

        Returns `[M, 2, B, h, Nt, 64]`: keys and values of each layer.
        """
        encoded = self.backbone.encode_tokens(tokens)
        return torch.stack([torch.stack([k, v]) for k, v, _ in encoded])

    def encode_templates(self, *templates: Tensor) -> Tensor:
        """Keys and values that `step` needs of any number of templates, each `[B, 3, T, T]`.

        Returns `[M, 2, B, h, Nt, d]`, M the layers and, where a MixViT has a score module, one
        more for it. They stay the same until a template changes.
        """
        return self.remember(self.backbone.template_tokens(templates))

    def forward(self, template: Tensor, online_template: Tensor, search: Tensor) -> Output:
        """Find the target.

        Args:
            template: `[B, 3, T, T]`, ImageNet-normalised RGB.
            online_template: `[B, 3, T, T]`.
            search: `[B, 3, S, S]`.
        """
        raise NotImplementedError

    def step(self, search: Tensor, memory: Tensor) -> Output:
        """Find the target in search crops `[B, 3, S, S]`; the same numbers as `forward`."""
        raise NotImplementedError


def initialise(module: nn.Module) -> None:
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
        if module.config.prediction_tokens:
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
