"""The stage that everything else builds on: boxes from the truth."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from .learner import Learner
from .losses import Predictions, total_loss
from .stage import Batch, Stage

__all__ = ["BoxStage"]


class BoxStage(Stage):
    """Everything is trained from true boxes (the first two terms of eq. 10, and fact 10)."""

    def build(self) -> nn.Module:
        """The network and its dense head."""
        return Learner(self.config.network, self.config.loss.has_dense)

    def losses(self, learner: nn.Module, batch: Batch, count: Tensor) -> tuple[Tensor, Batch]:
        """The weighted sum of the terms of `LossConfig` that need no teacher."""
        out = cast(Predictions, learner(*self.inputs(batch)))
        return total_loss(out, batch["box"], batch["present"].float(), self.config.loss, count)

    def plan(self) -> list[str]:
        """One line."""
        return ["all weights learn from true boxes"]
