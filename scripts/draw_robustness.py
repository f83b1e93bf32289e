"""Draw the robustness curves of a report, for docs/evaluate.md: what `make robustness` ends with.

python scripts/draw_robustness.py out/robustness/report.json docs/images/robustness.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mixformerv2.evaluation.robustness import KINDS


def draw(report: dict[str, Any], picture: Path) -> None:
    """One plot for each kind, one line for each tracker."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    trackers: dict[str, list[dict[str, Any]]] = report["robustness"]
    kinds = [curve["kind"] for curve in next(iter(trackers.values()))]
    rows = -(-len(kinds) // 3)
    figure, places = pyplot.subplots(rows, 3, figsize=(10, 3 * rows), sharey=True, squeeze=False)
    for place, name in zip(places.flat, kinds, strict=False):
        kind = KINDS[name]
        for tracker, curves in trackers.items():
            curve = next(one for one in curves if one["kind"] == name)
            place.plot(range(len(curve["levels"])), curve["values"], marker="o", label=tracker)
        place.set_xticks(range(len(kind.levels)), [f"{level:g}" for level in kind.levels])
        place.set(title=kind.title, xlabel=kind.unit, ylim=(0, 1))
        place.grid(alpha=0.3)
    for place in places.flat[len(kinds) :]:
        place.remove()
    for row in places:
        row[0].set_ylabel("AUC")
    places[0][0].legend(loc="lower left")
    figure.tight_layout()
    figure.savefig(picture, dpi=90)


def main() -> None:
    """Read, draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("report", type=Path, help="report.json of `mixformerv2 eval --robustness`")
    parser.add_argument("picture", type=Path)
    given = parser.parse_args()
    report = json.loads(given.report.read_text(encoding="utf-8"))
    if not report.get("robustness"):
        raise SystemExit(f"{given.report} has no robustness curves; run eval with --robustness all")
    draw(report, given.picture)


if __name__ == "__main__":
    main()
