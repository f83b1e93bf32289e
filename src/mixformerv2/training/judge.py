"""Track whole sequences with a run's weights, between two steps."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from ..errors import MixFormerError
from ..evaluation.benchmarks import read_sequences
from ..evaluation.run import evaluate
from ..evaluation.trackers import TrackerSpec
from .config import EvalConfig

__all__ = ["Judge", "spread"]

_logger = logging.getLogger(__name__)


def spread(names: list[str], limit: int) -> list[str]:
    """At most `limit` names, spread evenly over the list; 0 for all.

    Example:
        >>> spread(["a", "b", "c", "d", "e"], 3)
        ['a', 'c', 'e']
    """
    if not limit or limit >= len(names):
        return list(names)
    if limit == 1:
        return [names[len(names) // 2]]
    return [names[round(i * (len(names) - 1) / (limit - 1))] for i in range(limit)]


class Judge:
    """Evaluates the run's bundle when it is time.

    Args:
        config: Which sequences, and how often.

    Raises:
        DataError: the sequences cannot be read; asked before the first step.
    """

    def __init__(self, config: EvalConfig) -> None:
        self.config = config
        self._next = time.monotonic() + 60 * config.every_minutes
        self._names: list[str] = []
        if config.root is not None:
            found = sorted(sequence.name for sequence in read_sequences(config.root))
            self._names = spread(found, config.limit)

    @property
    def due(self) -> bool:
        """Whether the time has come."""
        return bool(self._names) and time.monotonic() >= self._next

    @property
    def wanted(self) -> bool:
        """Whether there is anything to evaluate on."""
        return bool(self._names)

    def postpone(self) -> None:
        """Not before the time between two evaluations has passed again."""
        self._next = time.monotonic() + 60 * self.config.every_minutes

    def figures(self, bundle: Path) -> dict[str, float]:
        """AUC, precision and normalized precision; empty where tracking failed.

        A failure is logged and the run goes on: it is the training that counts.
        """
        assert self.config.root is not None
        try:
            report = evaluate(
                TrackerSpec(str(bundle), engine="torch"),
                self.config.root,
                max_frames=self.config.max_frames,
                names=self._names,
            )
        except MixFormerError as error:
            _logger.warning("the evaluation failed: %s", error)
            return {}
        finally:
            self.postpone()
        mean = report.mean
        return {
            "auc": mean.auc,
            "precision": mean.precision,
            "normalized_precision": mean.normalized_precision,
        }
