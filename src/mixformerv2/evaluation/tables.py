"""A study as Markdown and as LaTeX: the summary in the paper's form, and what explains it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .report import Report, Speed
from .robustness import KINDS
from .study import FIGURES, Study

__all__ = ["latex", "markdown", "speed_cells"]


def markdown(study: Study) -> str:
    """The whole report but plots and film strips."""
    report = study.reports[0]
    lines = [f"# {study.title}", "", f"Protocol: {report.protocol}.", ""]
    lines += [f"First pixel in the benchmark's files: {report.origin}.", ""]
    lines += [f"- {one}" for one in dict.fromkeys(_remarks(study))]
    if lines[-1]:
        lines.append("")
    names = [FIGURES[key][0] for key in study.columns]
    rows = [
        [one.tracker, *_values(study, one), number(one.speed.fps, 0), str(one.mean.sequences)]
        for one in study.reports
    ]
    lines += _table(["tracker", *names, "fps", "sequences"], rows)
    if study.published:
        lines += ["", "As published in the paper:", ""]
        columns = study.benchmark.columns
        cells = [
            [f"{row.tracker} (table {row.table})"]
            + [study.text(row.values.get(key, math.nan)) for key in columns]
            for row in study.published
        ]
        lines += _table(["tracker", *(FIGURES[key][0] for key in columns)], cells)
    lines += _differences(study)
    for title, groups in study.groups.items():
        lines += ["", f"## {title}: {FIGURES[study.main][0]}", ""]
        rows = [
            [key, str(means[0].sequences), *(study.text(getattr(m, study.main)) for m in means)]
            for key, means in groups
        ]
        lines += _table(["", "sequences", *(one.tracker for one in study.reports)], rows)
    lines += ["", "## Speed, milliseconds a frame", ""]
    rows = [[one.tracker, *speed_cells(one.speed)] for one in study.reports]
    rows += [
        [f"{one.tracker}, with decoding", *speed_cells(one.speed_with_decoding)]
        for one in study.reports
    ]
    lines += _table(["tracker", "mean", "median", "95th percentile", "fps"], rows)
    lines += _robustness(study)
    lines += _sequences(study)
    return "\n".join(lines) + "\n"


def latex(study: Study) -> str:
    """The summary as a table for a paper (needs the package booktabs)."""
    columns = study.benchmark.columns
    rows = [(one.tracker, [getattr(one.mean, key) for key in columns]) for one in study.reports]
    rows += [
        (row.tracker, [row.values.get(key, math.nan) for key in columns]) for row in study.published
    ]
    best = [
        max((values[i] for _, values in rows if math.isfinite(values[i])), default=math.nan)
        for i in range(len(columns))
    ]
    lines = [
        f"% {study.reports[0].protocol}",
        r"\begin{tabular}{l" + "r" * len(columns) + "}",
        r"\toprule",
        f"Tracker & {' & '.join(_latex_name(key) for key in columns)} \\\\",
        r"\midrule",
    ]
    for number, (tracker, values) in enumerate(rows):
        cells = []
        for value, top in zip(values, best, strict=True):
            text = study.text(value)
            cells.append(rf"\textbf{{{text}}}" if text != "-" and value == top else text)
        if number == len(study.reports):
            lines.append(r"\midrule")
        lines.append(f"{_escaped(tracker)} & {' & '.join(cells)} \\\\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def speed_cells(speed: Speed) -> list[str]:
    """Mean, median, 95th percentile in milliseconds, frames a second."""
    return [
        number(speed.mean, 2),
        number(speed.median, 2),
        number(speed.p95, 2),
        number(speed.fps, 1),
    ]


def share(value: float) -> str:
    """Percent with one decimal, or a dash where there is none."""
    return f"{100 * value:.1f} %" if math.isfinite(value) else "-"


def number(value: float, digits: int) -> str:
    """A number, or a dash where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def _remarks(study: Study) -> Iterable[str]:
    for report in study.reports:
        yield from report.remarks
        yield from report.failures
        if report.long_term is not None:
            found = report.long_term
            yield (
                f"{report.tracker}, long-term: F-score {study.text(found.f_score)} (precision "
                f"{study.text(found.precision)}, recall {study.text(found.recall)}, answers with "
                f"a score from {found.threshold:.3f})"
            )


def _values(study: Study, report: Report) -> list[str]:
    return [study.text(getattr(report.mean, key)) for key in study.columns]


def _differences(study: Study) -> list[str]:
    if not study.differences:
        return []
    lines = ["", "## Differences: paired bootstrap over sequences", ""]
    rows = [
        [
            f"{one.first} - {one.second}",
            FIGURES[one.figure][0],
            study.text(one.mean),
            study.interval(one),
            share(one.better),
            one.verdict,
        ]
        for one in study.differences
    ]
    return lines + _table(["", "in", "difference", "95 % interval", "better in", "verdict"], rows)


def _robustness(study: Study) -> list[str]:
    lines: list[str] = []
    for report, curves in zip(study.reports, study.robustness, strict=False):
        lines += ["", f"## Robustness of {report.tracker}: {FIGURES[study.main][0]}", ""]
        width = max(len(curve.levels) for curve in curves)
        rows = []
        for curve in curves:
            kind = KINDS[curve.kind]
            pairs = zip(curve.levels, curve.values, strict=True)
            cells = [f"{level:g}: {study.text(value)}" for level, value in pairs]
            kept = f"{100 * curve.kept:.0f} %" if curve.values[0] > 0 else "-"
            rows.append([f"{kind.title} ({kind.unit})", *cells, *[""] * (width - len(cells)), kept])
        lines += _table(["", *["level: value"] * width, "kept"], rows)
    return lines


def _sequences(study: Study) -> list[str]:
    lines = ["", f"## Sequences: {FIGURES[study.main][0]}", ""]
    by_name = [{one.name: one for one in report.sequences} for report in study.reports]
    rows = []
    for one in study.reports[0].sequences:
        cells = []
        for table in by_name:
            other = table.get(one.name)
            value = math.nan if other is None else float(getattr(other.figures, study.main))
            cells.append(study.text(value))
        rows.append([one.name, str(one.figures.frames), *cells])
    return lines + _table(["", "frames", *(report.tracker for report in study.reports)], rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (heads, *rows)]
    marks = ["---", *["---:"] * (len(heads) - 1)]
    return [f"| {' | '.join(row)} |" for row in (cells[0], marks, *cells[1:])]


def _latex_name(key: str) -> str:
    names = {"normalized_at_20": "$P_{Norm}$", "normalized_precision": "$P_{Norm}$"}
    names |= {"precision": "$P$", "sr_50": "$SR_{0.5}$", "sr_75": "$SR_{0.75}$"}
    return names.get(key, FIGURES[key][0])


def _escaped(text: str) -> str:
    table = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(table.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text)
