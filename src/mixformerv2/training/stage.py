"""What a kind of training is. The loop knows stages by this face alone.

```
stage = make_stage(config)
learner = stage.build()                     random weights, in the network's own names
stage.start(learner, source)                weights that a fresh run begins with
stage.freeze(learner)                       what stays as it is
stage.place(device)                         teachers
for step, batches in ...:
    stage.before_step((learner, average), step)             fading layers
    loss, terms = stage.losses(learner, batch, count)       once per batch of a step
stage.network(step), stage.removed(step)    what the next stage takes
```
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from .losses import Predictions

if TYPE_CHECKING:
    from ..models.config import ModelConfig
    from .config import TrainConfig

__all__ = ["STAGES", "Batch", "Stage", "make_stage"]

Batch = dict[str, Tensor]

STAGES: dict[str, tuple[str, str]] = {
    "mae": ("mixformerv2.training.mae", "MaeStage"),
    "box": ("mixformerv2.training.stages", "BoxStage"),
    "score": ("mixformerv2.distillation.score", "ScoreStage"),
    "dense_to_sparse": ("mixformerv2.distillation.dense_to_sparse", "DenseToSparseStage"),
    "distill": ("mixformerv2.distillation.distill", "DistillStage"),
    "depth_pruning": ("mixformerv2.distillation.depth_pruning", "DepthPruningStage"),
    "mlp_reduction": ("mixformerv2.distillation.mlp_reduction", "MlpReductionStage"),
}
"""Name in the settings to module and class, imported when the stage is used."""


class Stage:
    """One kind of training: what is learnt, from what, and what comes out of it.

    A stage that trains something else than a tracker (masked pictures, say) overrides `build`,
    `losses` and `predict`; one that trains a tracker in another way mostly `losses`.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config

    def build(self) -> nn.Module:
        """What is trained, with random weights; heads that are dropped later included.

        Its `forward` takes what `inputs` picks of a batch. All that needs a gradient happens in
        there, for that is what devices divide among them.
        """
        raise NotImplementedError

    def start(self, learner: nn.Module, source: str | Path | None) -> None:
        """Bring in the weights that a fresh run begins with.

        Args:
            learner: What `build` made.
            source: What `--init` names: a run, a bundle, or nothing.

        Raises:
            WeightsError: the source does not fit.
        """
        if source is not None:
            from .transfer import start_from

            start_from(learner, source, self.layers_of(source))

    def layers_of(self, source: str | Path) -> str:
        """Which layers of a pre-trained backbone are taken, as `start_from` wants it."""
        return self.config.init_layers

    def begins_with(self, source: str | Path | None) -> str | Path | None:
        """The run or bundle that `start` takes weights of; None where they are random."""
        return source

    def freeze(self, learner: nn.Module) -> None:
        """Switch off the gradients of what this stage leaves as it is."""

    def place(self, device: torch.device) -> None:
        """Move what the stage holds beside the learner, its teachers, to a device."""

    def compile(self) -> None:
        """Compile what the stage holds beside the learner."""

    def teachers(self) -> tuple[nn.Module, ...]:
        """Networks that teach and do not learn."""
        return ()

    def train_mode(self, learner: nn.Module) -> None:
        """Set the modes of modules before a step."""
        learner.train()

    def before_step(self, learners: Sequence[nn.Module], step: int) -> None:
        """Set what changes with the step alone, in the learner and its average alike.

        A resumed run calls it with its own next step, so it may not count calls.
        """

    def inputs(self, batch: Batch) -> tuple[Tensor, ...]:
        """What of a batch the learner takes."""
        return batch["template"], batch["online"], batch["search"]

    def losses(self, learner: nn.Module, batch: Batch, count: Tensor) -> tuple[Tensor, Batch]:
        """The loss of one batch, and what the log shows of it.

        Args:
            learner: What `build` made, perhaps wrapped for its device.
            batch: On the learner's device.
            count: Samples that show their target, in the mean over all batches of the step. Means
                over such samples divide by it; so a step of several batches, or on several
                devices, has the gradient of the joint batch.

        Returns:
            The loss with its gradient, and detached terms by name, "loss" not among them.
        """
        raise NotImplementedError

    def predict(self, learner: nn.Module, batch: Batch) -> Predictions | None:
        """Boxes for the contact sheet, or None where there are none to draw."""
        return cast(Predictions, learner(*self.inputs(batch)))

    def describe(self) -> dict[str, Any]:
        """Plain values for the checkpoint: a run goes on only where they are equal."""
        return {"network": self.config.network.to_dict(), "stage": self.config.stage}

    def network(self, step: int) -> ModelConfig | None:
        """The tracker that the learner is at a step, fading layers with their gain.

        None where no tracker is trained: there is then no bundle and no evaluation.
        """
        return self.config.network

    def removed(self, step: int) -> tuple[int, ...]:
        """Layers that are the identity from this step on, and no part of what comes out."""
        return ()

    def plan(self) -> list[str]:
        """Lines for people: what is learnt from what."""
        return []


def make_stage(config: TrainConfig) -> Stage:
    """The stage that a run's settings name."""
    module, name = STAGES[config.stage]
    made: Stage = getattr(import_module(module), name)(config)
    return made
