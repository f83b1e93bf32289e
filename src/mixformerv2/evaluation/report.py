"""What an evaluation found, as a value: per sequence, per family, in the mean."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from .metrics import Convention, Figures

__all__ = ["Report", "SequenceReport", "Summary"]


@dataclass(frozen=True, slots=True)
class SequenceReport:
    """One sequence's figures.

    Attributes:
        updates: Frames that were tracked, the first left out.
        seconds: Time spent in `update`, decoding left out.
        error: Why the tracker stopped, or None. A failed sequence counts with zeros.
    """

    name: str
    figures: Figures
    updates: int
    seconds: float
    error: str | None = None

    @property
    def family(self) -> str:
        """The part of the name before the first `_`."""
        return self.name.split("_", 1)[0]

    @property
    def fps(self) -> float:
        """Updates a second."""
        return self.updates / self.seconds if self.seconds > 0 else math.nan


@dataclass(frozen=True, slots=True)
class Summary:
    """Means over sequences (not over frames), and updates a second over all of them."""

    auc: float
    precision: float
    normalized_precision: float
    fps: float
    sequences: int


@dataclass(frozen=True, slots=True)
class Report:
    """One tracker on one benchmark.

    Attributes:
        convention: Which labelled frames counted; see `metrics.Convention`.
        max_frames: How many frames of each sequence were used at most, or None for all.
    """

    tracker: str
    convention: Convention
    max_frames: int | None
    sequences: tuple[SequenceReport, ...]

    @property
    def mean(self) -> Summary:
        """Over all sequences."""
        return _summary(self.sequences)

    @property
    def families(self) -> dict[str, Summary]:
        """For each family its own means."""
        names = sorted({one.family for one in self.sequences})
        return {
            name: _summary([one for one in self.sequences if one.family == name]) for name in names
        }

    @property
    def failed(self) -> tuple[SequenceReport, ...]:
        """The sequences in which the tracker raised an error."""
        return tuple(one for one in self.sequences if one.error is not None)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file; NaN becomes None."""
        return {
            "tracker": self.tracker,
            "convention": self.convention,
            "max_frames": self.max_frames,
            "mean": _plain(asdict(self.mean)),
            "families": {name: _plain(asdict(one)) for name, one in self.families.items()},
            "sequences": [
                _plain(
                    {"name": one.name, **asdict(one.figures), "fps": one.fps, "error": one.error}
                )
                for one in self.sequences
            ],
        }


def _summary(sequences: Iterable[SequenceReport]) -> Summary:
    # A sequence with no labelled frame after the first has nothing to say, and NaN figures.
    counted = [one for one in sequences if one.figures.frames or one.error]
    seconds = sum(one.seconds for one in counted)
    updates = sum(one.updates for one in counted)

    def mean(name: str) -> float:
        values = [float(getattr(one.figures, name)) for one in counted]
        return sum(values) / len(values) if values else math.nan

    return Summary(
        auc=mean("auc"),
        precision=mean("precision"),
        normalized_precision=mean("normalized_precision"),
        fps=updates / seconds if seconds > 0 else math.nan,
        sequences=len(counted),
    )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }
