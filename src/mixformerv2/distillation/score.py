"""The score head as a stage of its own, after the boxes are learnt (end of section 3.3)."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import cast

from torch import Tensor, nn

from ..errors import ConfigError
from ..training.config import LossConfig, TrainConfig
from ..training.learner import Learner
from ..training.losses import Predictions, total_loss
from ..training.stage import Batch
from ..training.stages import BoxStage

__all__ = ["ScoreStage"]


_FROZEN = {f.name: 0.0 for f in fields(LossConfig) if f.name not in ("score", "label_sigma")}
"""Weights of the terms of what does not learn."""


class ScoreStage(BoxStage):
    """The score head alone (fact 6): everything else stays as it is.

    Half of the search crops should not show the target: `data.absent: 0.5`.

    Raises:
        ConfigError: the score does not count in the loss, or all samples have the same answer, so
            that nothing would be learnt.
    """

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        if not config.loss.score:
            raise ConfigError(
                "the score stage learns from the score alone, but loss.score is 0; set it above 0"
            )
        if not 0 < config.data.absent < 1:
            raise ConfigError(
                "the score stage learns from searches with and without the target, but data.absent "
                f"is {config.data.absent:g}; set it to 0.5"
            )

    def freeze(self, learner: nn.Module) -> None:
        """Leave the score head its gradients."""
        if not isinstance(learner, Learner) or learner.net.score_head is None:
            raise ConfigError("the score stage needs a network with score_head: true")
        learner.requires_grad_(False)
        learner.net.score_head.requires_grad_(True)

    def train_mode(self, learner: nn.Module) -> None:
        """Batch norms keep what the box stage learnt."""
        learner.eval()

    def losses(self, learner: nn.Module, batch: Batch, count: Tensor) -> tuple[Tensor, Batch]:
        """The score's term; the others, which nobody can lower here, are in the log alone."""
        out = cast(Predictions, learner(*self.inputs(batch)))
        weights = replace(self.config.loss, **_FROZEN)
        return total_loss(out, batch["box"], batch["present"].float(), weights, count)

    def plan(self) -> list[str]:
        """One line."""
        return ["the score head alone learns; all else is frozen"]
