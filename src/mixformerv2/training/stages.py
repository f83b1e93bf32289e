"""The stages that need no teacher: box and score."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from ..errors import ConfigError
from .learner import Learner, make_learner
from .losses import Predictions, total_loss
from .stage import Batch, Stage

__all__ = ["BoxStage", "ScoreStage"]


class BoxStage(Stage):
    """Everything is trained from true boxes (the first two terms of eq. 10, and fact 10)."""

    def build(self) -> nn.Module:
        """The network and its dense head."""
        return make_learner(self.config.network)

    def losses(self, learner: nn.Module, batch: Batch, count: Tensor) -> tuple[Tensor, Batch]:
        """The weighted sum of the terms of `LossConfig` that need no teacher."""
        out = cast(Predictions, learner(*self.inputs(batch)))
        return total_loss(out, batch["box"], batch["present"].float(), self.config.loss, count)

    def plan(self) -> list[str]:
        """One line."""
        return ["all weights learn from true boxes"]


class ScoreStage(BoxStage):
    """The score head alone (fact 6): everything else stays as it is."""

    def freeze(self, learner: nn.Module) -> None:
        """Leave the score head its gradients."""
        if not isinstance(learner, Learner) or learner.net.score_head is None:
            raise ConfigError("the score stage needs a network with score_head: true")
        learner.requires_grad_(False)
        learner.net.score_head.requires_grad_(True)

    def train_mode(self, learner: nn.Module) -> None:
        """Batch norms keep what the box stage learnt."""
        learner.eval()

    def plan(self) -> list[str]:
        """One line."""
        return ["the score head alone learns; all else is frozen"]
