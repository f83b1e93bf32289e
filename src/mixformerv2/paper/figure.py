"""Figure 1 with our points: AUC on LaSOT against speed, circles by multiply-adds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..evaluation.published import published_rows

__all__ = ["draw_figure"]

_PAPER, _OURS = "#667085", "#c2410c"
_RANGES = {"gpu": (8.0, 800.0), "cpu": (1.0, 800.0)}
_TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_SIDES = (
    (5, 4, "left"),
    (5, -11, "left"),
    (-5, 4, "right"),
    (-5, -11, "right"),
    (0, 10, "center"),
    (0, -18, "center"),
    (9, -4, "left"),
    (-9, -4, "right"),
    (0, 20, "center"),
    (0, -28, "center"),
    (20, 14, "left"),
    (-20, 14, "right"),
    (20, -20, "left"),
    (-20, -20, "right"),
)
"""Where a label may stand beside its point, in points, best first."""


def draw_figure(figures: dict[str, Any], path: Path) -> None:
    """Draw the paper's trackers, and ours at the speed measured here.

    Ours stand at the AUC that the paper prints for them, for it is a matter of weights and not of
    the machine; T, which has no figure on LaSOT, is a line at its speed. Multiply-adds of other
    trackers are not in the paper's tables: their circles are of one size, and hollow.

    Args:
        figures: Of `measure`.
        path: A PNG or SVG file.

    Raises:
        OutputError: the file cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 5), sharey=True)
    figure.subplots_adjust(left=0.055, right=0.985, bottom=0.1, top=0.93, wspace=0.04)
    for ax, kind in zip(axes, _RANGES, strict=True):
        _Panel(ax, kind).draw(figures)
    axes[0].set_ylabel("AUC on LaSOT, %")
    try:
        figure.savefig(path, dpi=100)
    except (OSError, ValueError) as error:
        raise OutputError(f"the figure cannot be written to {path}: {error}") from error
    finally:
        plt.close(figure)


class _Panel:
    """One half of the figure: GPU or CPU."""

    def __init__(self, ax: Any, kind: str) -> None:
        self.ax, self.kind = ax, kind
        self.taken: list[tuple[float, float, float, float]] = []  # boxes in points
        ax.set_xscale("log")
        ax.set(xlim=_RANGES[kind], ylim=(49, 75), xlabel=f"frames a second, {kind.upper()}")
        shown = [tick for tick in _TICKS if tick >= _RANGES[kind][0]]
        ax.set_xticks(shown, [str(tick) for tick in shown])
        ax.minorticks_off()
        ax.grid(alpha=0.25)

    def draw(self, figures: dict[str, Any]) -> None:
        """All points, then all labels, which keep clear of them."""
        machine = figures["machine"]
        threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
        here = machine["gpu"] if self.kind == "gpu" else f"{machine['cpu']}, {threads}"
        paper = "Quadro RTX 8000" if self.kind == "gpu" else "Xeon Gold 6230R"
        self.ax.set_title(
            f"paper: {paper}; here: {here or 'no GPU at hand'}", fontsize=9, loc="left"
        )
        auc = {r.tracker: 100 * r.values["auc"] for r in published_rows("lasot")}
        trackers = [row for row in figures["rows"] if row["table"] == 0]
        labels = [label for row in trackers for label in self._tracker(row, auc.get(row["row"]))]
        labels += self._others(auc, {row["row"] for row in trackers})
        for label in labels:
            self._label(*label)

    def _others(self, auc: dict[str, float], ours: set[str]) -> list[tuple[Any, ...]]:
        """The trackers of Tables 5 and 6."""
        labels = []
        for row in published_rows("speed"):
            speed = row.values.get(f"{self.kind}_fps")
            if speed is None or row.tracker not in auc or row.tracker in ours:
                continue
            x, y = 100 * speed, auc[row.tracker]  # read as a percentage, which a speed is not
            self._point(x, y, 6, mfc="none", mec=_PAPER)
            labels.append((row.tracker, x, y, _PAPER, 7))
        return labels

    def _tracker(self, row: dict[str, Any], auc: float | None) -> list[tuple[Any, ...]]:
        """B, S and T: where the paper has them, and where they are here."""
        size = 6 * math.sqrt(row["counted"]["gflops"])  # the area is as the multiply-adds
        here = row["fps"].get(f"{self.kind}_kept")
        if auc is None:
            if here is None:
                return []
            self.ax.axvline(here, color=_OURS, ls=":", lw=1)
            return [(f"{row['row']}, here: no LaSOT figure", here, 50, _OURS, 8)]
        labels = []
        printed = row["paper"].get(f"{self.kind}_fps")
        if printed is not None:
            self._point(printed, auc, size, color=_PAPER, alpha=0.5, mec="none")
            labels.append((row["row"], printed, auc, "black", 8))
        if here is not None:
            self._point(here, auc, size, color=_OURS, alpha=0.5, mec="none")
            labels.append((f"{row['row']}, here", here, auc, _OURS, 8))
        if printed is not None and here is not None:
            self.ax.plot([printed, here], [auc, auc], color=_OURS, lw=0.8, ls="--", alpha=0.6)
        return labels

    def _point(self, x: float, y: float, size: float, **style: Any) -> None:
        self.ax.plot(x, y, "o", ms=size, **style)
        px, py = self._points(x, y)
        half = min(size, 8) / 2
        self.taken.append((px - half, py - half, px + half, py + half))

    def _points(self, x: float, y: float) -> tuple[float, float]:
        px, py = self.ax.transData.transform((x, y)) * 72 / self.ax.figure.dpi
        return float(px), float(py)

    def _label(self, text: str, x: float, y: float, colour: str, size: int) -> None:
        """On the first side on which the text hides nothing; else on the first."""
        px, py = self._points(x, y)
        width, height = self._size(text, size)
        boxes = []
        for dx, dy, align in _SIDES:
            left = px + dx - width * {"left": 0.0, "center": 0.5, "right": 1.0}[align]
            boxes.append((left, py + dy, left + width, py + dy + height))
        free = [i for i, box in enumerate(boxes) if self._is_free(box)]
        chosen = free[0] if free else 0
        self.taken.append(boxes[chosen])
        dx, dy, align = _SIDES[chosen]
        self.ax.annotate(
            text,
            (x, y),
            xytext=(dx, dy),
            textcoords="offset points",
            fontsize=size,
            color=colour,
            ha=align,
        )

    def _size(self, text: str, size: int) -> tuple[float, float]:
        """Width and height of a label in points, as it will be drawn."""
        drawn = self.ax.text(0, 0, text, fontsize=size)
        extent, scale = drawn.get_window_extent(), 72 / self.ax.figure.dpi
        drawn.remove()
        return float(extent.width) * scale, float(extent.height) * scale

    def _is_free(self, box: tuple[float, float, float, float]) -> bool:
        bounds = self.ax.get_window_extent()
        scale = 72 / self.ax.figure.dpi
        inside = bounds.x0 * scale < box[0] and box[2] < bounds.x1 * scale
        return inside and not any(
            box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]
            for other in self.taken
        )
