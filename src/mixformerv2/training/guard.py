"""A run never trains on after its loss has gone."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from ..errors import TrainingError
from .stage import Batch

__all__ = ["LossGuard"]

_MEMORY = 0.98
_FIRST = 20


class LossGuard:
    """Watches the loss of each step, before the weights are changed by it.

    Attributes:
        mean: Running mean of the loss; part of the checkpoint.
        seen: Steps in it.
    """

    def __init__(self, folder: Path, explode: float, rank: int = 0) -> None:
        self.folder = folder
        self.explode = explode
        self.rank = rank
        self.mean = 0.0
        self.seen = 0

    def check(
        self, step: int, loss: float, norm: float, terms: dict[str, float], batches: list[Batch]
    ) -> None:
        """Let a good step pass.

        Args:
            step: The step in hand.
            loss: Of all batches and processes together.
            norm: Of the gradient.
            terms: For the message.
            batches: Of this step; saved where the step is bad.

        Raises:
            TrainingError: loss or gradient is not finite, or the loss is `explode` times its
                running mean.
        """
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._stop(step, "the loss or its gradient is not finite", terms, batches)
        if self.seen >= _FIRST and loss > self.explode * max(self.mean, 1e-6):
            what = f"the loss exploded to {loss:.4g}, its running mean being {self.mean:.4g},"
            self._stop(step, what, terms, batches)
        self.seen += 1
        share = max(1 - _MEMORY, 1 / self.seen)
        self.mean += share * (loss - self.mean)

    def _stop(self, step: int, what: str, terms: dict[str, float], batches: list[Batch]) -> None:
        name = f"bad_batch_{step}.pt" if self.rank == 0 else f"bad_batch_{step}_{self.rank}.pt"
        path = self.folder / name
        joint = {k: torch.cat([one[k] for one in batches]).cpu() for k in batches[0]}
        try:
            torch.save(joint, path)
            where = f"the batch is in {path}"
        except (OSError, RuntimeError) as error:
            where = f"the batch could not be saved ({error})"
        values = ", ".join(f"{name} {value:.4g}" for name, value in terms.items())
        raise TrainingError(
            f"{what} at step {step} ({values}); {where}, the last checkpoint is untouched. "
            "Lower optim.lr and start again."
        )
