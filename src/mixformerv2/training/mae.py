"""The pre-training stage: a backbone learns to restore hidden parts of pictures (Table 3e).

Its run is a source for `init` of any later run; `init_layers` says which layers it gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from ..models.config import ModelConfig
from ..models.mae import MaskedAutoencoder
from .learner import normalise
from .losses import Predictions
from .stage import Batch, Stage

if TYPE_CHECKING:
    from .config import TrainConfig

__all__ = ["MaeLearner", "MaeStage"]


class MaeLearner(nn.Module):
    """A masked autoencoder on pictures as the stream of samples has them."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        mae = config.mae
        self.net = MaskedAutoencoder(
            config.network, mae.share, mae.decoder_width, mae.decoder_depth
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """BGR pictures of 8 bits `[B, S, S, 3]` to the loss."""
        loss: Tensor = self.net(normalise(pictures)).loss
        return loss


class MaeStage(Stage):
    """Masked-autoencoder pre-training on the search crops; no tracker comes out of it yet."""

    def build(self) -> nn.Module:
        """The tracker's backbone and a decoder."""
        return MaeLearner(self.config)

    def inputs(self, batch: Batch) -> tuple[Tensor, ...]:
        """The search crops."""
        return (batch["search"],)

    def losses(self, learner: nn.Module, batch: Batch, count: Tensor) -> tuple[Tensor, Batch]:
        """Mean squared error of the hidden tokens' pixels."""
        loss: Tensor = learner(*self.inputs(batch))
        return loss, {"mae": loss.detach()}

    def predict(self, learner: nn.Module, batch: Batch) -> Predictions | None:
        """There are no boxes."""
        return None

    def network(self, step: int) -> ModelConfig | None:
        """There is no tracker."""
        return None

    def plan(self) -> list[str]:
        """One line."""
        share = self.config.mae.share
        return [f"the backbone learns to restore the hidden {share:.0%} of search crops"]
