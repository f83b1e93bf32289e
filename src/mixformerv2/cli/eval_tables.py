"""What `mixformerv2 eval` prints."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..evaluation import Report, Study, TrackerSpec

__all__ = ["print_benchmarks", "print_losses", "print_study"]

_LOOKS = 3  # commands a tracker


def print_study(study: Study, folders: list[Path]) -> None:
    """Each tracker's sequences, then all trackers side by side."""
    from rich.console import Console

    console = Console(highlight=False)
    for report in study.reports:
        _sequences(console, study, report)
    if len(study.reports) > 1 or study.published:
        _summary(console, study)
    for one in study.differences:
        if one.figure != study.main:
            continue  # the report has them
        known = f"95 %: {study.interval(one)}; " if one.sequences > 1 else ""
        console.print(
            f"{one.first} is {study.text(one.mean)} better than {one.second} "
            f"({known}{one.verdict})",
            markup=False,
            soft_wrap=True,
        )
    _robustness(console, study)
    if study.benchmark.server is not None:
        console.print(
            f"Only {study.benchmark.server} has the truth: make its archive with "
            "`mixformerv2 submit`.",
            soft_wrap=True,
        )
    for folder in folders:
        console.print(f"boxes, scores and times: {folder}", markup=False, soft_wrap=True)


def print_losses(study: Study, specs: Sequence[TrackerSpec], root: Path) -> None:
    """For the worst sequences in which a bundle loses its target: the command that looks there."""
    from rich.console import Console

    console = Console(highlight=False)
    for spec, report in zip(specs, study.reports, strict=True):
        # `explain` takes a bundle as it is: with other settings another frame would be to blame.
        looks = [] if spec.settings or not spec.is_bundle else [*_looks(study, spec, report, root)]
        if looks:
            console.print(
                f"{report.tracker} loses its target here; to see what it saw there:",
                markup=False,
                soft_wrap=True,
            )
        for look in looks:
            console.print(f"  {look}", markup=False, soft_wrap=True)


def _looks(study: Study, spec: TrackerSpec, report: Report, root: Path) -> Iterator[str]:
    from ..evaluation.stories import first_losses

    for name, frame in islice(first_losses(study, report), _LOOKS):
        words = ["mixformerv2", "explain", str(root)]
        if study.benchmark.layout is not None:
            words.append(f"--benchmark={study.benchmark.name}")
        words += [f"--sequence={name}", f"--frame={frame}", f"--model={spec.what}"]
        if spec.engine != "auto":
            words.append(f"--engine={spec.engine}")
        words.append(f"--out={re.sub(r'[^0-9A-Za-z_-]+', '_', name)}-{frame}")
        yield shlex.join(words)


def _sequences(console, study: Study, report: Report) -> None:  # type: ignore[no-untyped-def]
    from rich.markup import escape
    from rich.table import Table

    from ..evaluation.study import FIGURES

    keys = study.benchmark.columns
    table = Table()
    table.add_column("sequence", overflow="fold")
    for column in ("frames", *(FIGURES[key][0] for key in keys), "fps"):
        table.add_column(column, justify="right")

    def row(name: str, frames: str, figures: object, fps: float, style: str = "") -> None:
        cells = [_share(float(getattr(figures, key))) for key in keys]
        table.add_row(escape(name), frames, *cells, _whole(fps), style=style or None)

    for one in report.sequences:
        if one.error is not None:
            row(one.name, "failed", one.figures, math.nan, "red")
        else:
            row(one.name, str(one.updates), one.figures, one.fps)
    for groups in study.groups.values():
        table.add_section()
        at = study.reports.index(report)
        for name, means in groups:
            row(f"{name} ({means[at].sequences})", "", means[at], means[at].fps)
    table.add_section()
    mean = report.mean
    row(f"mean of {mean.sequences}", "", mean, mean.fps, "bold")
    console.print(
        f"{report.tracker} on {report.benchmark}: {report.protocol}", markup=False, soft_wrap=True
    )
    for remark in report.remarks:
        console.print(remark, style="yellow", markup=False, soft_wrap=True)
    console.print(table)
    for one in report.failed:
        zeros = " and counts with zeros" if one.counts else ""
        console.print(
            f"{one.name} failed{zeros}: {one.error}",
            style="red",
            markup=False,
            soft_wrap=True,
        )


def _summary(console, study: Study) -> None:  # type: ignore[no-untyped-def]
    from rich.markup import escape
    from rich.table import Table

    from ..evaluation.study import FIGURES

    keys = study.benchmark.columns
    table = Table(title=study.benchmark.title)
    table.add_column("tracker", overflow="fold")  # in a pipe of 80 columns no figure is cut
    for column in (*(FIGURES[key][0] for key in keys), "fps", "median ms", "95 % ms"):
        table.add_column(column, justify="right")
    for report in study.reports:
        mean, speed = report.mean, report.speed
        cells = [study.text(float(getattr(mean, key))) for key in keys]
        times = [_whole(speed.fps), _two(speed.median), _two(speed.p95)]
        table.add_row(escape(report.tracker), *cells, *times, style="bold")
    for line in study.published:
        cells = [study.text(line.values.get(key, math.nan)) for key in keys]
        table.add_row(f"{line.tracker} (paper, table {line.table})", *cells, "", "", "")
    console.print(table)


def _robustness(console, study: Study) -> None:  # type: ignore[no-untyped-def]
    from rich.markup import escape
    from rich.table import Table

    from ..evaluation.robustness import KINDS

    for report, curves in zip(study.reports, study.robustness, strict=False):
        table = Table(title=f"robustness of {escape(report.tracker)}")
        for column in ("what gets worse", "as it is", "1", "2", "3", "4", "kept"):
            table.add_column(column, justify="right" if column != "what gets worse" else "left")
        for curve in curves:
            kind = KINDS[curve.kind]
            cells = [
                f"{study.text(value)}\n[dim]{level:g}[/dim]"
                for level, value in zip(curve.levels, curve.values, strict=True)
            ]
            kept = f"{100 * curve.kept:.0f} %" if curve.values[0] > 0 else "-"
            table.add_row(f"{kind.title}\n[dim]{kind.unit}[/dim]", *cells, kept)
        console.print(table)


def print_benchmarks() -> None:
    """Every benchmark: sequences, which frames count, first pixel."""
    from rich.console import Console
    from rich.table import Table

    from ..data.datasets import LAYOUTS
    from ..evaluation.catalog import BENCHMARKS

    table = Table(show_lines=True)
    table.add_column("benchmark", no_wrap=True, style="bold")
    table.add_column("what lies where", overflow="fold")
    table.add_column("first pixel in its files")
    table.add_column("which frames count")
    for one in BENCHMARKS.values():
        form = "any layout of `mixformerv2 data layouts`"
        if one.layout is not None:
            form = LAYOUTS[one.layout].form
        count = f"{one.count} sequences" if one.count else "sequences as they are"
        counting = "over all frames together" if one.pooled else "means over sequences"
        table.add_row(
            one.name,
            f"{one.title}, {count}\n[dim]{form}[/dim]",
            one.origin,
            f"{one.counting.sentence}; {counting}",
        )
    Console(highlight=False).print(table)


def _share(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"


def _whole(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else ""


def _two(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"
