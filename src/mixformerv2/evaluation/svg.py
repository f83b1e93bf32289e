"""Plots as SVG text: no library, the same bytes for the same numbers, sharp at any width.

Colours come from CSS variables `--c0` to `--c7` of the page around them, so that a plot follows
its light or dark mode.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

__all__ = ["Line", "line_plot", "spark"]

WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 40


@dataclass(frozen=True, eq=False)
class Line:
    """One curve.

    Attributes:
        xs: `[K]`.
        ys: `[K]`; NaN breaks it.
        colour: Number of its colour.
        dots: Draw a dot on each value.
    """

    xs: NDArray[np.float64]
    ys: NDArray[np.float64]
    colour: int
    dots: bool = False


def line_plot(
    lines: Iterable[Line],
    *,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float] = (0.0, 1.0),
    x_ticks: Sequence[tuple[float, str]] | None = None,
    mark: float | None = None,
    title: str = "",
) -> str:
    """A plot with axes and a grid; its legend is the page's.

    Args:
        lines: The curves.
        x_label: Under it.
        y_label: Beside it.
        x_range: Least and greatest x.
        y_range: Least and greatest y.
        x_ticks: Places and words; six even ones where not given.
        mark: A dashed line at this x.
        title: What a screen reader says.
    """
    if x_ticks is None:
        x_ticks = [(float(v), f"{v:g}") for v in np.linspace(*x_range, 6)]
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title or y_label)}">'
    ]

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_range[0]) / (x_range[1] - x_range[0])
        up = (y - y_range[0]) / (y_range[1] - y_range[0])
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (
            HEIGHT - TOP - BOTTOM
        )

    for value in np.linspace(*y_range, 6):
        (x1, y), (x2, _) = place(x_range[0], value), place(x_range[1], value)
        parts.append(f'<path class="grid" d="M{x1:.1f} {y:.1f}H{x2:.1f}"/>')
        parts.append(f'<text x="{x1 - 6:.1f}" y="{y + 4:.1f}" class="end">{value:.2g}</text>')
    for value, word in x_ticks:
        (x, y1), (_, y2) = place(value, y_range[0]), place(value, y_range[1])
        parts.append(f'<path class="grid" d="M{x:.1f} {y1:.1f}V{y2:.1f}"/>')
        parts.append(f'<text x="{x:.1f}" y="{y1 + 15:.1f}" class="mid">{escape(word)}</text>')
    if mark is not None:
        (x, y1), (_, y2) = place(mark, y_range[0]), place(mark, y_range[1])
        parts.append(f'<path class="mark" d="M{x:.1f} {y1:.1f}V{y2:.1f}"/>')
    for line in lines:
        points = [place(float(x), float(y)) for x, y in zip(line.xs, line.ys, strict=True)]
        parts.append(f'<path class="line c{line.colour}" d="{_path(points)}"/>')
        if line.dots:
            parts += [
                f'<circle class="dot c{line.colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'
                for x, y in points
                if np.isfinite(y)
            ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 6}" class="mid">{escape(x_label)}</text>')
    parts.append(
        f'<text class="mid" transform="translate(11 {(HEIGHT - BOTTOM + TOP) / 2:.0f}) '
        f'rotate(-90)">{escape(y_label)}</text></svg>'
    )
    return "".join(parts)


def spark(lines: Iterable[Line], count: int, marks: Iterable[int] = ()) -> str:
    """IoU over the frames of a sequence, as wide as its place, without axes.

    Args:
        lines: Curves with x from 0 to `count - 1` and y from 0 to 1.
        count: Frames.
        marks: Frames to mark, those of the film strip.
    """
    width, height = 600, 56
    scale = width / max(count - 1, 1)
    parts = [
        f'<svg class="spark" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        'aria-label="overlap over time">'
    ]
    parts.append(f'<path class="grid" d="M0 {height / 2:.0f}H{width}"/>')
    parts += [f'<path class="mark" d="M{frame * scale:.1f} 0V{height}"/>' for frame in marks]
    for line in lines:
        points = [
            (float(x) * scale, height - 1 - float(y) * (height - 2))
            for x, y in zip(line.xs, line.ys, strict=True)
        ]
        parts.append(f'<path class="line thin c{line.colour}" d="{_path(points)}"/>')
    return "".join([*parts, "</svg>"])


def _path(points: list[tuple[float, float]]) -> str:
    """Moves and lines; a point that is not finite breaks it."""
    words, move = [], True
    for x, y in points:
        if not np.isfinite(y):
            move = True
            continue
        words.append(f"{'M' if move else 'L'}{x:.1f} {y:.1f}")
        move = False
    return "".join(words)
