"""Everything a report shows, as one value: trackers side by side on one benchmark."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

from ..errors import DataError
from .benchmarks import Sequence
from .catalog import BENCHMARKS, Benchmark
from .compare import Difference, paired_bootstrap
from .published import PublishedRow, of_challenge, published_rows
from .report import Report, Summary, plain
from .robustness import Curve

__all__ = ["FIGURES", "Study", "figure_text"]

FIGURES = {
    "auc": ("AUC", "mean of the success curve at 21 thresholds, 0 to 1"),
    "auc_101": ("AUC 101", "mean of the success curve at 101 thresholds"),
    "precision": ("P", "share of frames with the centre within 20 px"),
    "normalized_at_20": ("P Norm", "share with a normalized centre error within 0.2"),
    "normalized_precision": ("P Norm AUC", "mean over 51 normalized thresholds, 0 to 0.5"),
    "overlap": ("AO", "mean overlap"),
    "sr_50": ("SR 0.5", "share of frames with overlap above 0.5"),
    "sr_75": ("SR 0.75", "share of frames with overlap above 0.75"),
}
"""Key of a figure to its name in tables and what it is."""


@dataclass(frozen=True)
class Study:
    """Reports on the same sequences by the same rules.

    Attributes:
        reports: One a tracker, in the order of the command line.
        sequences: With their frames, for the film strips.
        benchmark: Whose protocol it is.
        robustness: For each tracker its curves.
        paper: Show the paper's rows of this benchmark beside it.
    """

    reports: tuple[Report, ...]
    sequences: tuple[Sequence, ...] = field(repr=False)
    benchmark: Benchmark = BENCHMARKS["own"]
    robustness: tuple[tuple[Curve, ...], ...] = ()
    paper: bool = True

    @property
    def title(self) -> str:
        """Trackers and benchmark."""
        return f"{' · '.join(one.tracker for one in self.reports)} on {self.benchmark.title}"

    @property
    def main(self) -> str:
        """The figure that sequences are ranked by and differences told of."""
        return self.benchmark.columns[0]

    @property
    def columns(self) -> tuple[str, ...]:
        """Figures in the paper's form of the table first, then all others."""
        return (*self.benchmark.columns, *self.others)

    @property
    def others(self) -> tuple[str, ...]:
        """Figures that the paper's form does not have."""
        return tuple(name for name in FIGURES if name not in self.benchmark.columns)

    @property
    def with_truth(self) -> bool:
        """Whether any frame could be compared."""
        return any(report.mean.sequences for report in self.reports)

    @property
    def published(self) -> list[PublishedRow]:
        """The paper's rows, those that one pass gives the same figures of."""
        rows = published_rows(self.benchmark.name) if self.paper else []
        return [row for row in rows if not of_challenge(row)]

    @cached_property
    def differences(self) -> list[Difference]:
        """Each pair of trackers, the one first that is better in the main figure, which is told of
        first; then the other figures of the benchmark's table.
        """
        pairs = []
        for first, second in combinations(self.reports, 2):
            with suppress(DataError):  # nothing that both could be measured on
                if paired_bootstrap(first, second, self.main, draws=1).mean < 0:
                    first, second = second, first
                pairs += [paired_bootstrap(first, second, f) for f in self.benchmark.columns]
        return pairs

    @property
    def groups(self) -> dict[str, list[tuple[str, list[Summary]]]]:
        """Title to rows of a group's name and each tracker's means: attributes, families."""
        found = {}
        for title, name in (("Attributes", "attributes"), ("Families", "families")):
            tables = [getattr(report, name) for report in self.reports]
            names = list(dict.fromkeys(key for table in tables for key in table))
            own = self.benchmark.layout is None
            if not names or (name == "families" and (not own or not 1 < len(names) <= 20)):
                continue
            found[title] = [
                (key, [table[key] for table in tables if key in table]) for key in names
            ]
        return found

    def text(self, value: float) -> str:
        """A figure as the benchmark's tables print it."""
        return figure_text(value, percent=self.benchmark.percent)

    def interval(self, difference: Difference) -> str:
        """The 95 % interval as reports print it; a dash where there is none."""
        low, high = self.text(difference.low), self.text(difference.high)
        return "-" if low == high == "-" else f"{low} to {high}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file; NaN becomes None."""
        return {
            "benchmark": self.benchmark.name,
            "trackers": [report.as_dict() for report in self.reports],
            "differences": [plain(asdict(one)) for one in self.differences],
            "robustness": {
                report.tracker: [curve.as_dict() for curve in curves]
                for report, curves in zip(self.reports, self.robustness, strict=False)
            },
            "published": [asdict(row) for row in self.published],
        }


def figure_text(value: float, *, percent: bool) -> str:
    """One decimal of percent, or three of a share; a dash where there is none."""
    if not math.isfinite(value):
        return "-"
    return f"{100 * value:.1f}" if percent else f"{value:.3f}"
