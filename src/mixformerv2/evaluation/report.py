"""What an evaluation found, as a value: per sequence, per attribute, in the mean."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .longterm import LongTerm, f_score
from .metrics import Convention, Counting, Errors, Figures, figures_of
from .results import Run

__all__ = ["Report", "SequenceReport", "Speed", "Summary", "plain"]

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SequenceReport:
    """One sequence's figures.

    Attributes:
        updates: Frames that were tracked, the first left out.
        seconds: Time spent in `update`, decoding left out.
        error: Why the tracker stopped, or None. A failed sequence counts with zeros.
        attributes: Short names of what makes it hard.
        category: What its target is.
        errors: Of each counted frame.
        run: Boxes, scores and times.
        visible: `[N]`, the labels do not say that the target is away.
    """

    name: str
    figures: Figures
    updates: int
    seconds: float
    error: str | None = None
    attributes: frozenset[str] = frozenset()
    category: str | None = None
    errors: Errors | None = field(default=None, repr=False, compare=False)
    run: Run | None = field(default=None, repr=False, compare=False)
    visible: NDArray[np.bool_] | None = field(default=None, repr=False, compare=False)

    @property
    def counts(self) -> bool:
        """Whether it is in the means; where no frame counts there is nothing to say, only NaN."""
        return math.isfinite(self.figures.auc)

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
    """Means over sequences (over frames where `Report.pooled`), and updates a second."""

    auc: float
    precision: float
    normalized_precision: float
    fps: float
    sequences: int
    auc_101: float = math.nan
    normalized_at_20: float = math.nan
    overlap: float = math.nan
    sr_50: float = math.nan
    sr_75: float = math.nan


@dataclass(frozen=True, slots=True)
class Speed:
    """Milliseconds a frame over all frames but the given ones; NaN where unknown.

    Attributes:
        fps: Frames a second: frames divided by the sum of their times.
    """

    fps: float
    mean: float
    median: float
    p95: float

    @classmethod
    def of(cls, seconds: Iterable[Values]) -> Speed:
        """From the times of frames."""
        arrays = [one[np.isfinite(one)] for one in seconds]
        times = np.concatenate([*arrays, np.zeros(0)])
        if not times.size or times.sum() <= 0:
            return cls(math.nan, math.nan, math.nan, math.nan)
        mean, median, p95 = times.mean(), np.median(times), np.percentile(times, 95)
        return cls(float(1 / mean), *(1000 * float(v) for v in (mean, median, p95)))


@dataclass(frozen=True, slots=True)
class Report:
    """One tracker on one benchmark.

    Attributes:
        counting: Which frames counted, and as what.
        max_frames: How many frames of each sequence were used at most, or None for all.
        benchmark: Its title.
        pooled: Means are over all frames of all sequences.
        origin: How its files call the first pixel, and who says so.
        remarks: What else has to be said.
    """

    tracker: str
    counting: Counting
    max_frames: int | None
    sequences: tuple[SequenceReport, ...]
    benchmark: str = "your own folder"
    pooled: bool = False
    origin: str = "0"
    remarks: tuple[str, ...] = ()

    @property
    def convention(self) -> Convention:
        """Which labelled frames count."""
        return self.counting.convention

    @property
    def protocol(self) -> str:
        """How it was measured, in a sentence."""
        length = "all frames" if self.max_frames is None else f"first {self.max_frames} frames"
        over = "over all frames together" if self.pooled else "over sequences"
        return f"one pass, {length}, counting {self.counting.sentence}; means {over}"

    @property
    def mean(self) -> Summary:
        """Over all sequences."""
        return self.summary(self.sequences)

    def summary(self, sequences: Iterable[SequenceReport]) -> Summary:
        """Over some of them."""
        counted = [one for one in sequences if one.counts]
        seconds = sum(one.seconds for one in counted)
        updates = sum(one.updates for one in counted if one.seconds > 0)
        names = [name for name in Summary.__slots__ if name not in ("fps", "sequences")]
        means = _pooled(counted) if self.pooled else None
        if means is None:
            means = {name: _mean(counted, name) for name in names}
        fps = updates / seconds if seconds > 0 else math.nan
        return Summary(**means, fps=fps, sequences=len(counted))

    @property
    def families(self) -> dict[str, Summary]:
        """For each family its own means."""
        names = sorted({one.family for one in self.sequences})
        return {
            name: self.summary([one for one in self.sequences if one.family == name])
            for name in names
        }

    @property
    def attributes(self) -> dict[str, Summary]:
        """For each attribute the means over the sequences that have it, the most frequent first."""
        counts: dict[str, int] = {}
        for one in self.sequences:
            for name in one.attributes:
                counts[name] = counts.get(name, 0) + 1
        return {
            name: self.summary([one for one in self.sequences if name in one.attributes])
            for name in sorted(counts, key=lambda name: (-counts[name], name))
        }

    @property
    def failed(self) -> tuple[SequenceReport, ...]:
        """The sequences in which the tracker raised an error."""
        return tuple(one for one in self.sequences if one.error is not None)

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence on each of them."""
        return tuple(
            f"{self.tracker} failed in {one.name}"
            f"{', which counts with zeros' if one.counts else ''}: {one.error}"
            for one in self.failed
        )

    def curve(self, name: str) -> Values:
        """`success` `[101]`, `precision` `[51]` or `normalized_precision` `[51]`: the mean."""
        counted = [one for one in self.sequences if one.counts]
        weights = [float(one.figures.frames) if self.pooled else 1.0 for one in counted]
        length = 101 if name == "success" else 51
        rows = [
            np.zeros(length) if one.errors is None else np.asarray(getattr(one.errors, name))
            for one in counted
        ]
        if not rows or sum(weights) <= 0:
            return np.full(length, np.nan)
        return np.asarray(np.average(rows, axis=0, weights=weights))

    @property
    def speed(self) -> Speed:
        """Of updates alone."""
        return Speed.of(one.run.seconds[1:] for one in self.sequences if one.run is not None)

    @property
    def speed_with_decoding(self) -> Speed:
        """Of reading a frame and its update."""
        return Speed.of(
            one.run.seconds[1:] + one.run.decode[1:]
            for one in self.sequences
            if one.run is not None
        )

    @property
    def long_term(self) -> LongTerm | None:
        """F-score, where there are scores and frames without the target.

        Over all sequences, those in which the target is never away too; a failed one is answers
        that never touch it. Frames that nobody labelled are left out.
        """
        rows = [row for row in map(_long_term, self.sequences) if row is not None and len(row[0])]
        if all(visible.all() for _, _, visible in rows):
            return None
        if all(one.run is None for one in self.sequences) or any(
            np.isnan(scores).any() for _, scores, _ in rows
        ):
            return None
        overlaps, scores, visible = zip(*rows, strict=True)
        return f_score(overlaps, scores, visible)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file; NaN becomes None."""
        speeds = {"update": self.speed, "with_decoding": self.speed_with_decoding}
        long_term = self.long_term
        return {
            "tracker": self.tracker,
            "benchmark": self.benchmark,
            "convention": self.convention,
            "protocol": self.protocol,
            "origin": self.origin,
            "remarks": list(self.remarks),
            "max_frames": self.max_frames,
            "mean": plain(asdict(self.mean)),
            "speed_ms": {name: plain(asdict(one)) for name, one in speeds.items()},
            "long_term": None if long_term is None else plain(asdict(long_term)),
            "families": {name: plain(asdict(one)) for name, one in self.families.items()},
            "attributes": {name: plain(asdict(one)) for name, one in self.attributes.items()},
            "sequences": [
                plain(
                    {
                        "name": one.name,
                        **asdict(one.figures),
                        "fps": one.fps,
                        "error": one.error,
                        "attributes": sorted(one.attributes),
                    }
                )
                for one in self.sequences
            ],
        }


def _long_term(one: SequenceReport) -> tuple[Values, Values, NDArray[np.bool_]] | None:
    """`[M]` IoU, score and visibility of the frames whose truth is known, without the given one."""
    if one.errors is None or one.visible is None:
        return None
    overlaps, known = np.zeros(len(one.visible)), ~one.visible
    overlaps[one.errors.frames] = np.maximum(one.errors.overlaps, 0.0)
    known[one.errors.frames] = True
    known[0] = False
    scores = np.full(len(known), np.inf) if one.run is None else one.run.scores
    return overlaps[known], scores[known], one.visible[known]


def _mean(sequences: Sequence[SequenceReport], name: str) -> float:
    values = [float(getattr(one.figures, name)) for one in sequences]
    return sum(values) / len(values) if values else math.nan


def _pooled(sequences: Sequence[SequenceReport]) -> dict[str, float] | None:
    """Means over all frames together; frames of a failed sequence are not known."""
    errors = [one.errors for one in sequences if one.errors is not None]
    if not errors:
        return None
    joined = Errors(
        *(
            np.concatenate([getattr(one, name) for one in errors])
            for name in ("overlaps", "pixels", "normalized", "frames")
        )
    )
    figures = asdict(figures_of(joined))
    figures.pop("frames")
    return figures


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """The same with None for numbers that JSON does not have."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }
