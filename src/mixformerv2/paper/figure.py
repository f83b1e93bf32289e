"""Figure 1 with our points: AUC on LaSOT against speed, circles by multiply-adds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..evaluation.published import published_rows

__all__ = ["draw_figure"]

_PAPER, _OURS = "#8a94a6", "#c2410c"
_TITLES = {"gpu": "GPU", "cpu": "CPU"}


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

    auc = {row.tracker: 100 * row.values["auc"] for row in published_rows("lasot") if _has(row)}
    trackers = [row for row in figures["rows"] if row["table"] == 0]
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained", sharey=True)
    for ax, kind in zip(axes, _TITLES, strict=True):
        _others(ax, kind, auc, {row["row"] for row in trackers})
        for row in trackers:
            _tracker(ax, kind, row, auc.get(row["row"]))
        ax.set_xscale("log")
        ax.set_xlabel(f"frames a second, {_TITLES[kind]}")
        ax.set_title(_title(kind, figures), fontsize=9, loc="left")
        ax.set_xticks([10, 20, 50, 100, 200, 500], ["10", "20", "50", "100", "200", "500"])
        ax.minorticks_off()
        ax.grid(alpha=0.25)
        ax.margins(x=0.12, y=0.1)
    axes[0].set_ylabel("AUC on LaSOT, %")
    try:
        figure.savefig(path, dpi=100)
    except (OSError, ValueError) as error:
        raise OutputError(f"the figure cannot be written to {path}: {error}") from error
    finally:
        plt.close(figure)


def _has(row: Any) -> bool:
    return "auc" in row.values


def _title(kind: str, figures: dict[str, Any]) -> str:
    machine = figures["machine"]
    ours = machine["gpu"] if kind == "gpu" else f"{machine['cpu']}, {machine['threads']} threads"
    paper = "Quadro RTX 8000" if kind == "gpu" else "Xeon Gold 6230R"
    return f"paper: {paper}; here: {ours or 'no GPU at hand'}"


def _others(ax: Any, kind: str, auc: dict[str, float], ours: set[str]) -> None:
    """The trackers of Tables 5 and 6."""
    for row in published_rows("speed"):
        speed = row.values.get(f"{kind}_fps")
        if speed is None or row.tracker not in auc or row.tracker in ours:
            continue
        # The tables are read as percentages, which speeds are not.
        ax.plot(100 * speed, auc[row.tracker], "o", ms=7, mfc="none", mec=_PAPER)
        _label(ax, row.tracker, 100 * speed, auc[row.tracker], _PAPER, 7)


def _tracker(ax: Any, kind: str, row: dict[str, Any], auc: float | None) -> None:
    """B, S and T: where the paper has them, and where they are here."""
    gflops = row["counted"]["gflops"]
    size = 9 * math.sqrt(gflops)  # so that the area is as the multiply-adds
    here = row["fps"].get(f"{kind}_kept")
    if auc is None:
        if here is not None:
            ax.axvline(here, color=_OURS, ls=":", lw=1)
            _label(ax, f"{row['row']}:\nno LaSOT figure", here, 52, _OURS, 7)
        return
    printed = row["paper"].get(f"{kind}_fps")
    if printed is not None:
        ax.plot(printed, auc, "o", ms=size, color=_PAPER, alpha=0.5, mec="none")
        _label(ax, row["row"], printed, auc, "black", 8)
    if here is not None:
        ax.plot(here, auc, "o", ms=size, color=_OURS, alpha=0.5, mec="none")
        _label(ax, f"{row['row']}, here", here, auc, _OURS, 8)
    if printed is not None and here is not None:
        ax.plot([printed, here], [auc, auc], color=_OURS, lw=0.8, ls="--", alpha=0.6)


def _label(ax: Any, text: str, x: float, y: float, colour: str, size: int) -> None:
    ax.annotate(
        text, (x, y), xytext=(5, 5), textcoords="offset points", fontsize=size, color=colour
    )
