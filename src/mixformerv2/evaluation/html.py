"""A study as one page that needs nothing else: no server, no network, no other file.

The same result files give the same bytes: there is no date in it, and nothing random that is not
seeded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from .attributes import NAMES
from .compare import ENOUGH
from .metrics import FINE_THRESHOLDS, NORMALIZED_THRESHOLDS, PIXEL_THRESHOLDS
from .report import Report
from .robustness import KINDS
from .stories import Story, tell_stories
from .study import FIGURES, Study
from .svg import Line, line_plot, spark
from .tables import number, share, speed_cells

__all__ = ["html"]

_SORT = """
for (const head of document.querySelectorAll("th[data-sort]")) head.onclick = () => {
  const body = head.closest("table").tBodies[0], at = head.cellIndex;
  const up = head.getAttribute("aria-sort") !== "ascending";
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const value = row => row.cells[at].dataset.value ?? row.cells[at].textContent;
  const order = (a, b) => { const x = value(a), y = value(b), d = x - y;
    return (Number.isNaN(d) ? x.localeCompare(y) : d) * (up ? 1 : -1); };
  body.append(...[...body.rows].sort(order));
};
"""


def html(study: Study, *, pictures: bool = True) -> str:
    """The page.

    Args:
        study: What it shows.
        pictures: With film strips, which hold frames of the data set.
    """
    style = files(__package__).joinpath("page.css").read_text("utf-8")
    sections = [
        ("summary", "Summary", _summary(study)),
        ("curves", "Curves", _curves(study) if study.with_truth else ""),
        ("differences", "Differences", _differences(study)),
        ("robustness", "Robustness", _robustness(study)),
        *(
            (title.lower(), title, _groups(study, title, rows))
            for title, rows in study.groups.items()
        ),
        ("speed", "Speed", _speed(study)),
        *_stories(study, pictures),
        ("sequences", "Sequences", _sequences(study)),
    ]
    shown = [(key, title, body) for key, title, body in sections if body]
    links = "".join(f'<a href="#{key}">{escape(title)}</a>' for key, title, _ in shown)
    parts = [f'<section id="{key}"><h2>{escape(t)}</h2>{body}</section>' for key, t, body in shown]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(study.title)}</title><style>{style}</style></head><body>"
        f"<h1>{escape(study.title)}</h1>{_protocol(study)}<nav>{links}</nav>"
        + "\n".join(parts)
        + f"<script>{_SORT}</script></body></html>\n"
    )


def _protocol(study: Study) -> str:
    report = study.reports[0]
    notes = [f"<p>{escape(report.protocol[0].upper() + report.protocol[1:])}.</p>"]
    notes.append(
        f'<p class="dim">First pixel in the files of the benchmark: {escape(report.origin)}.</p>'
    )
    remarks = dict.fromkeys(one for each in study.reports for one in each.remarks)
    notes += [f'<p class="bad">{escape(one)}.</p>' for one in remarks]
    for each in study.reports:
        notes += [f'<p class="bad">{escape(one)}</p>' for one in each.failures]
    return "".join(notes)


def _key(colour: int) -> str:
    return f'<span class="key b{colour % 8}"></span>'


def _name(study: Study, report: Report) -> str:
    return f"{_key(study.reports.index(report))}{escape(report.tracker)}"


def _table(
    heads: Iterable[str], rows: Iterable[tuple[str, Sequence[str]]], *, sortable: bool = False
) -> str:
    """Cells are HTML: a whole `<td>` or what goes into one; each row has a class."""
    mark = ' data-sort scope="col"' if sortable else ' scope="col"'
    head = "".join(f"<th{mark}>{one}</th>" for one in heads)
    body = []
    for kind, cells in rows:
        inside = "".join(c if c.startswith("<td") else f"<td>{c}</td>" for c in cells)
        body.append(f'<tr class="{kind}">{inside}</tr>' if kind else f"<tr>{inside}</tr>")
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _best(values: Sequence[float]) -> float:
    return max((value for value in values if math.isfinite(value)), default=math.nan)


def _summary(study: Study) -> str:
    columns = study.columns
    means = [report.mean for report in study.reports]
    best = {key: _best([getattr(mean, key) for mean in means]) for key in columns}
    several = len(means) > 1
    rows = []
    for report, mean in zip(study.reports, means, strict=True):
        cells = [_name(study, report)]
        for key in columns:
            value = float(getattr(mean, key))
            text = study.text(value)
            bold = several and value == best[key]
            cells.append(f'<td class="best">{text}</td>' if bold else text)
        cells += [number(report.speed.fps, 0), str(mean.sequences)]
        rows.append(("", cells))
    for index, row in enumerate(study.published):
        cells = [f"{escape(row.tracker)} (paper, table {row.table})"]
        cells += [study.text(row.values.get(key, math.nan)) for key in columns]
        rows.append(("published" + (" rule" if not index else ""), [*cells, "", ""]))
    heads = ["tracker", *(FIGURES[key][0] for key in columns), "fps", "sequences"]
    unit = "percent" if study.benchmark.percent else "shares"
    meaning = "; ".join(f"{FIGURES[key][0]}: {FIGURES[key][1]}" for key in columns)
    text = f'<p class="dim">In {unit}. {escape(meaning)}.</p>'
    return _table(heads, rows) + text + _long_term(study)


def _long_term(study: Study) -> str:
    rows = []
    for report in study.reports:
        found = report.long_term
        if found is not None:
            cells = [study.text(v) for v in (found.f_score, found.precision, found.recall)]
            rows.append(("", [_name(study, report), *cells, f"{found.threshold:.3f}"]))
    if not rows:
        return ""
    heads = ["long-term", "F-score", "precision", "recall", "score from"]
    return _table(heads, rows)


def _curves(study: Study) -> str:
    plots = (
        ("success", "Success", "overlap threshold", FINE_THRESHOLDS, "auc", None),
        ("precision", "Precision", "distance of centres, px", PIXEL_THRESHOLDS, "precision", 20.0),
        (
            "normalized_precision",
            "Normalized precision",
            "normalized distance of centres",
            NORMALIZED_THRESHOLDS,
            "normalized_at_20",
            0.2,
        ),
    )
    parts = []
    for name, title, label, thresholds, figure, mark in plots:
        lines, entries = [], []
        for index, report in enumerate(study.reports):
            lines.append(Line(thresholds, report.curve(name), index % 8))
            value = float(getattr(report.mean, figure))
            entries.append((value, f"{_name(study, report)}", study.text(value)))
        entries.sort(key=lambda one: -one[0] if math.isfinite(one[0]) else math.inf)
        legend = "".join(f"<div><span>{a}</span><b>{b}</b></div>" for _, a, b in entries)
        plot = line_plot(
            lines,
            x_label=label,
            y_label="share of frames",
            x_range=(0.0, float(thresholds[-1])),
            mark=mark,
            title=title,
        )
        parts.append(f"<figure><h3>{title}</h3>{plot}<figcaption>{legend}</figcaption></figure>")
    return f'<div class="plots">{"".join(parts)}</div>'


def _differences(study: Study) -> str:
    rows = []
    for one in study.differences:
        verdict = f'<span class="good">{one.verdict}</span>' if one.certain else one.verdict
        cells = [
            f"{escape(one.first)} better than {escape(one.second)}",
            FIGURES[one.figure][0],
            f"{'' if one.mean < 0 else '+'}{study.text(one.mean)}",
            study.interval(one),
            share(one.better),
            verdict,
        ]
        rows.append(("", cells))
    if not rows:
        return ""
    note = (
        '<p class="dim">Paired bootstrap over the sequences, 10,000 '
        f"draws: certain where there are at least {ENOUGH} and zero lies outside the 95 % "
        "interval.</p>"
    )
    heads = ["", "in", "difference", "95 % interval", "better in", "verdict"]
    return _table(heads, rows) + note


def _robustness(study: Study) -> str:
    if not any(study.robustness):
        return ""
    plots, rows = [], []
    kinds = [curve.kind for curve in study.robustness[0]]
    for at, name in enumerate(kinds):
        kind, lines = KINDS[name], []
        ticks = [(float(i), f"{level:g}") for i, level in enumerate(kind.levels)]
        for index, curves in enumerate(study.robustness):
            xs = np.arange(len(kind.levels), dtype=np.float64)
            lines.append(Line(xs, np.asarray(curves[at].values), index % 8, dots=True))
            kept = f"{100 * curves[at].kept:.0f} %" if curves[at].values[0] > 0 else "-"
            cells = [
                f"{_key(index)}{escape(study.reports[index].tracker)}",
                f'<td class="word">{escape(kind.title)}</td>',
                *(study.text(value) for value in curves[at].values),
                kept,
            ]
            rows.append(("", cells))
        plot = line_plot(
            lines,
            x_label=f"{kind.title}: {kind.unit}",
            y_label=FIGURES[study.main][0],
            x_range=(0.0, len(kind.levels) - 1.0),
            x_ticks=ticks,
            title=kind.title,
        )
        plots.append(f"<figure>{plot}</figure>")
    heads = ["tracker", "what gets worse", "as it is", "1", "2", "3", "4", "kept"]
    note = (
        f'<p class="dim">{FIGURES[study.main][0]} at each level; kept: the mean over the worse '
        "levels as a share of the first.</p>"
    )
    return f'<div class="plots">{"".join(plots)}</div>{_table(heads, rows)}{note}'


def _groups(study: Study, title: str, rows: Sequence[tuple[str, Sequence[object]]]) -> str:
    out = []
    for key, means in rows:
        values = [float(getattr(mean, study.main)) for mean in means]
        best = _best(values)
        cells = [f'<td title="{escape(NAMES.get(key, key))}">{escape(_spelt(key))}</td>']
        cells.append(str(getattr(means[0], "sequences", "")))
        cells += [
            _bar(study, v, i, bold=len(values) > 1 and v == best) for i, v in enumerate(values)
        ]
        out.append(("", cells))
    heads = [title.lower(), "sequences", *(escape(one.tracker) for one in study.reports)]
    note = f'<p class="dim">{FIGURES[study.main][0]}; a click on a head sorts.</p>'
    return note + _table(heads, out, sortable=True)


def _spelt(key: str) -> str:
    return f"{NAMES[key]} ({key})" if key in NAMES else key


def _bar(study: Study, value: float, colour: int, *, bold: bool = False) -> str:
    kind = "bar best" if bold else "bar"
    if not math.isfinite(value):
        return f'<td class="{kind}" data-value="-1">-</td>'
    bar = f'<i class="b{colour % 8}" style="width:{100 * max(value, 0):.1f}%"></i>'
    return f'<td class="{kind}" data-value="{value:.6f}">{study.text(value)}{bar}</td>'


def _speed(study: Study) -> str:
    rows = [("", [_name(study, one), *speed_cells(one.speed)]) for one in study.reports]
    for index, report in enumerate(study.reports):
        cells = [f"{_name(study, report)}, with decoding"]
        kind = "rule" if not index else ""
        rows.append((kind, [*cells, *speed_cells(report.speed_with_decoding)]))
    heads = ["milliseconds a frame", "mean", "median", "95th percentile", "fps"]
    note = (
        '<p class="dim">Over all frames but the given ones, as the run measured them on its '
        "machine; fps is frames divided by the sum of their times.</p>"
    )
    return _table(heads, rows) + note


def _stories(study: Study, pictures: bool) -> Iterable[tuple[str, str, str]]:
    if not pictures or not study.with_truth:
        return
    keys = "".join(f"{_name(study, report)}&ensp;" for report in study.reports)
    legend = f'<p><span class="key btruth"></span>truth&ensp;{keys}</p>'
    for key, title, stories in tell_stories(study):
        yield key, title, legend + "".join(_story(study, story) for story in stories)


def _story(study: Study, story: Story) -> str:
    strip = []
    for one in story.pictures:
        kind = ' class="lost"' if one.lost else ""
        word = f"{one.frame} lost" if one.lost else str(one.frame)
        strip.append(
            f'<figure{kind}><img src="{one.data}" alt="frame {one.frame} of '
            f'{escape(story.name)}" loading="lazy"><figcaption>{word}</figcaption></figure>'
        )
    figures = ", ".join(
        f"{escape(study.reports[index].tracker)} {study.text(value)}"
        for index, value in story.values
    )
    lines = [
        Line(np.arange(len(overlaps), dtype=np.float64), _filled(overlaps), index % 8)
        for index, overlaps in story.overlaps
    ]
    marks = [one.frame for one in story.pictures]
    plot = spark(lines, len(story.overlaps[0][1]), marks)
    return (
        f'<div class="story"><h3>{escape(story.name)} <span class="dim">{figures}</span></h3>'
        f'<div class="strip">{"".join(strip)}</div>{plot}</div>'
    )


def _filled(overlaps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Only the given frame has no value: it is one."""
    out = overlaps.copy()
    if len(out) and not np.isfinite(out[0]):
        out[0] = 1.0
    return out


def _sequences(study: Study) -> str:
    tables = [{one.name: one for one in report.sequences} for report in study.reports]
    rows = []
    for one in study.reports[0].sequences:
        found = [table.get(one.name) for table in tables]
        values = [
            math.nan if each is None else float(getattr(each.figures, study.main)) for each in found
        ]
        best = _best(values)
        cells = [f"<td>{escape(one.name)}</td>", str(one.figures.frames)]
        for index, (each, value) in enumerate(zip(found, values, strict=True)):
            if each is not None and each.error is not None:
                cells.append(
                    f'<td class="bad" data-value="-1" title="{escape(each.error)}">failed</td>'
                )
            else:
                bold = len(values) > 1 and value == best
                cells.append(_bar(study, value, index, bold=bold))
        cells.append(f"<td>{escape(', '.join(sorted(one.attributes)))}</td>")
        rows.append(("", cells))
    heads = ["sequence", "frames", *(escape(one.tracker) for one in study.reports), "attributes"]
    if not any(one.attributes for one in study.reports[0].sequences):
        heads, rows = heads[:-1], [(kind, cells[:-1]) for kind, cells in rows]
    note = f'<p class="dim">{FIGURES[study.main][0]}; a click on a head sorts.</p>'
    return note + _table(heads, rows, sortable=True)
