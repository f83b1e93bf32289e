"""The pages of the site: docs/ as it is, with the model card and the figures of real runs.

    python scripts/make_docs.py out/docs

What is made here is in no repository: the model card lies with the weights, and figures in the JSON
that the commands that measured them wrote. Needs nothing but Python's own library.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUNDLE = ROOT / "src" / "mixformerv2" / "assets" / "t"
RUNS = ROOT / "benchmarks" / "reports"
"""Reports of `make bench`, kept as they were written."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, all others are figures."""
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows])


def accuracy(figures: dict[str, Any]) -> str:
    """AUC and its kin of the shipped model, from the figures that `make bundle` wrote."""
    parts = []
    for name, title in (
        ("sequences", "Sequences that it never saw"),
        ("validation", "Validation set, where choices are made"),
    ):
        report = figures[name]
        keys = ("auc", "precision", "normalized_precision")

        def row(label: str, values: dict[str, Any], keys: Sequence[str] = keys) -> list[str]:
            return [label, *(f"{values[key]:.3f}" for key in keys)]

        rows = [row(f"**mean of {report['mean']['sequences']}**", report["mean"])]
        rows += [
            row(f"*{family}, mean of {mean['sequences']}*", mean)
            for family, mean in report["families"].items()
        ]
        rows += [row(sequence["name"], sequence) for sequence in report["sequences"]]
        update = report["speed_ms"]["update"]
        parts += [
            f"### {title}",
            f"{report['tracker'].upper()}, {figures['engine']} engine; {report['protocol']}.",
            table(("sequence", "AUC", "precision at 20 px", "normalized precision"), rows),
            f"An update took {update['median']:.1f} ms in the middle, "
            f"{update['p95']:.1f} ms in one of twenty.",
        ]
    return "\n\n".join(parts)


def speed(path: Path) -> str:
    """One report of `make bench` as a table."""
    report = json.loads(path.read_text(encoding="utf-8"))
    machine = report["machine"]
    clock = "processor's time" if report["clock"] == "processor" else "wall clock"
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    rows = [
        [
            f"{row['model'].upper()}, {row['way']}",
            row["precision"],
            f"{row['milliseconds']:.1f}",
            f"{row['times_published']:.2f}" if "times_published" in row else "",
        ]
        for row in report["rows"]
    ]
    return "\n\n".join(
        (
            f"### {clock.capitalize()}, {machine['threads']} thread(s), {report['rounds']} rounds",
            f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']:.1f} from "
            f"other programs; Python {machine['python']}, {packages}.",
            table(("whole update", "precision", "ms", "times the published way"), rows),
        )
    )


def benchmarks() -> str:
    """The page of figures, each table from the JSON of one run."""
    figures = json.loads((BUNDLE / "figures.json").read_text(encoding="utf-8"))
    reports = sorted(RUNS.glob("*.json"), reverse=True)
    return "\n\n".join(
        (
            "# Benchmarks",
            "Made from the JSON that the runs wrote, when this site was built: no figure on this "
            "page was typed.",
            "## Accuracy of the shipped model",
            "Written by `make bundle`; [how it is measured](evaluate.md).",
            accuracy(figures),
            "## Speed",
            "Written by `make bench`, newest first; [what is timed](bench.md). Contestants take "
            "turns within one run: ratios hold while other programs run, milliseconds do not. "
            "S and B have random weights, for speed does not depend on values.",
            *(speed(path) for path in reports),
        )
    )


def main() -> None:
    """Write all pages to the folder given."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(ROOT / "docs", out)
    (out / "benchmarks.md").write_text(benchmarks() + "\n", encoding="utf-8")
    shutil.copy(BUNDLE / "MODEL_CARD.md", out / "model-card.md")
    for picture in BUNDLE.glob("*.png"):
        shutil.copy(picture, out)


if __name__ == "__main__":
    main()
