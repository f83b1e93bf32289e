"""MixViT: the teacher family. The same backbone without prediction tokens, and dense heads."""

from __future__ import annotations

import torch
from torch import Tensor

from .config import ModelConfig
from .corners import CornerHead, corner_maps, corner_marginals
from .heads import expectation
from .network import Network, Output, initialise
from .spm import ScoreModule

__all__ = ["MixViT"]


class MixViT(Network):
    """Slimming mixed attention and a corner head, plain or pyramidal.

    Templates attend to templates alone, the search tokens to all: eq. 1 without prediction
    tokens. It is called like `MixFormerV2` and answers in the same form, its `probs` being the
    marginals of the corner maps.

    Example:
        >>> config = ModelConfig(
        ...     width=64, depth=2, template_size=64, search_size=128, box_head="corner_pyramid"
        ... )
        >>> model = MixViT(config)
        >>> t, s = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 128, 128)
        >>> model.corner_maps(t, t, s).shape
        torch.Size([1, 2, 32, 32])
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.box_head = CornerHead(config)
        self.score_head = (
            ScoreModule(config.width, config.search_grid) if config.score_head else None
        )
        self.apply(initialise)

    def corner_maps(self, template: Tensor, online_template: Tensor, search: Tensor) -> Tensor:
        """Distributions of the top left and bottom right corner, `[B, 2, K, K]`, rows first."""
        logits = self(template, online_template, search).corners
        return corner_maps(logits)

    def read(self, tokens: Tensor, remembered: tuple[Tensor, Tensor] | None = None) -> Output:
        """The heads on the last layer's search tokens `[B, Ns, C]`.

        Args:
            tokens: All search tokens.
            remembered: Keys and values for the score module; no score where they are None.
        """
        logits = self.box_head(tokens)
        probs = corner_marginals(corner_maps(logits))
        boxes = expectation(probs)
        score = None
        if self.score_head is not None and remembered is not None:
            # The box is no way for the score's gradient: it is scored as it is.
            score = self.score_head(tokens, boxes.detach(), remembered)
        return Output(probs, boxes, score, logits)

    def forward(self, template: Tensor, online_template: Tensor, search: Tensor) -> Output:
        """Find the target.

        Args:
            template: `[B, 3, T, T]`, ImageNet-normalised RGB.
            online_template: `[B, 3, T, T]`.
            search: `[B, 3, S, S]`.
        """
        found = self.features((template, online_template), search)
        return self.read(found.search[-1], self._for_score(found.templates[-1]))

    def remember(self, tokens: Tensor) -> Tensor:
        """What `step` needs of the templates, from the stem's tokens of all of them `[B, Nt, C]`.

        Returns `[M, 2, B, h, Nt, 64]`: keys and values of each layer, then of the score module,
        which asks the first template alone but comes with all, to be of the same shape.
        """
        encoded = self.backbone.encode_tokens(tokens)
        pairs = [(k, v) for k, v, _ in encoded]
        if self.score_head is not None:
            pairs.append(self.score_head.remember(encoded[-1][2]))
        return torch.stack([torch.stack(pair) for pair in pairs])

    def step(self, search: Tensor, memory: Tensor) -> Output:
        """Find the target in search crops `[B, 3, S, S]`; the same numbers as `forward`."""
        pairs = [(layer[0], layer[1]) for layer in memory.unbind(0)]
        n = self.config.template_grid**2
        remembered = None
        if self.score_head is not None:
            k, v = pairs.pop()
            remembered = k[:, :, :n], v[:, :, :n]
        return self.read(self.backbone.look(search, pairs)[-1], remembered)

    def _for_score(self, templates: Tensor) -> tuple[Tensor, Tensor] | None:
        """Keys and values of the first template, from the last layer's tokens of all."""
        if self.score_head is None:
            return None
        return self.score_head.remember(templates[:, : self.config.template_grid**2])
