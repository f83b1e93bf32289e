"""MixFormerV2: backbone and heads as one network (section 3.1, figure 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from .config import ModelConfig
from .heads import BoxHead, ScoreHead
from .network import Features, Network, Output, initialise

__all__ = ["Features", "MixFormerV2", "Output", "chosen"]


def chosen(sure: Tensor, early: Tensor, late: Tensor) -> Tensor:
    """Of two answers `[B, ...]` the early one for those that are sure `[B]`, the late one for the
    others: what a target gets depends on nothing else in its batch."""
    return torch.where(sure.view(-1, *[1] * (early.dim() - 1)), early, late)


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
        # The last layer's tokens are others then.
        if self.config.keep_tokens or self.config.exit_after:
            return self.step(search, self.encode_templates(template, online_template))
        return self.read(self.features((template, online_template), search).prediction[-1])

    def step(self, search: Tensor, memory: Tensor) -> Output:
        """Find the target in search crops `[B, 3, S, S]`; the same numbers as `forward`."""
        pairs = [(layer[0], layer[1]) for layer in memory.unbind(0)]
        after = self.config.exit_after
        if not after:
            return self.read(self.backbone.ask(search, pairs))
        x = self.backbone.look_until(after, search, pairs)
        early = self.read(x[:, -self.config.prediction_tokens :])
        assert early.score is not None
        sure = early.score.sigmoid() >= self.config.exit_score
        if bool(sure.all()):
            return early
        late = self.read(self.backbone.ask_on(x, pairs, after))
        assert late.score is not None
        return Output(
            chosen(sure, early.probs, late.probs),
            chosen(sure, early.boxes, late.boxes),
            chosen(sure, early.score, late.score),
        )
