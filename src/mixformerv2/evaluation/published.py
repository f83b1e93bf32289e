"""The paper's tables 4 to 7, to stand beside a user's own run.

The numbers are data files, `paper/table4.json` to `table7.json`, as they are printed in
"MixFormerV2: Efficient Fully Transformer Tracking" (2023) and its supplement.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

__all__ = ["PublishedRow", "published_rows"]

TABLES = (4, 5, 6, 7)
_CHALLENGE = ("eao", "accuracy", "robustness")


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A tracker's line for one benchmark.

    Attributes:
        values: Figure to value, 0 to 1; only what is printed. The figures are those of
            `metrics.Figures`, and `eao`, `accuracy`, `robustness` for the VOT challenges.
    """

    tracker: str
    table: int
    values: dict[str, float]


def published_rows(benchmark: str) -> list[PublishedRow]:
    """Every line of the paper's tables that has a value on a benchmark, best first.

    Args:
        benchmark: A name of `catalog.BENCHMARKS`.

    Example:
        >>> published_rows("lasot")[0]
        PublishedRow(tracker='MixFormerV2-B', table=5, values={'auc': 0.706, \
'normalized_at_20': 0.808, 'precision': 0.762})
    """
    rows = []
    for number in TABLES:
        text = files(__package__).joinpath("paper", f"table{number}.json").read_text("utf-8")
        table = json.loads(text)
        scale = 100 if table["percent"] else 1
        for tracker, cells in table["rows"].items():
            values = {
                column["figure"]: round(cell / scale, 4)
                for column, cell in zip(table["columns"], cells, strict=True)
                if column["benchmark"] == benchmark and cell is not None
            }
            if values:
                rows.append(PublishedRow(tracker, number, values))
    return sorted(rows, key=lambda row: -next(iter(row.values.values())))


def of_challenge(row: PublishedRow) -> bool:
    """Whether its figures are those of the VOT challenge, which one pass does not give."""
    return any(name in _CHALLENGE for name in row.values)
