"""MixFormerV2: backbone and heads as one network (section 3.1, figure 2)."""

from __future__ import annotations

from torch import Tensor

from .config import ModelConfig
from .heads import BoxHead, ScoreHead
from .network import Features, Network, Output, initialise

__all__ = ["Features", "MixFormerV2", "Output"]


class MixFormerV2(Network):
    """The tracker's network.

    Example:
        >>> import torch
        >>> model = MixFormerV2(ModelConfig(width=64, depth=2, template_size=64, search_size=128))
        >>> t, s = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 128, 128)
        >>> model(t, t, s).boxes.shape
        torch.Size([1, 4])
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.box_head = BoxHead(config)
        self.score_head = ScoreHead(config.width) if config.score_head else None
        self.apply(initialise)

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
        if self.config.keep_tokens:  # the last layer's tokens are others then
            return self.step(search, self.encode_templates(template, online_template))
        return self.read(self.features((template, online_template), search).prediction[-1])

    def step(self, search: Tensor, memory: Tensor) -> Output:
        """Find the target in search crops `[B, 3, S, S]`; the same numbers as `forward`."""
        pairs = [(layer[0], layer[1]) for layer in memory.unbind(0)]
        return self.read(self.backbone.ask(search, pairs))
