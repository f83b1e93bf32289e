"""Where a bundle fails: its three worst sequences in words, curves and boxes, without pictures.

For their pictures: `mixformerv2 eval BUNDLE --root ../shared/data/sequences --report report`
draws film strips, which stay on this machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mixformerv2.evaluation.benchmarks import Sequence, read_sequences
from mixformerv2.evaluation.report import Report, SequenceReport
from mixformerv2.evaluation.strips import frames_to_show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOST = 0.1
MOMENTS = 6
TRUTH, OURS = "#2f9e44", "#1f5a8a"


def worst(report: Report, count: int = 3) -> list[SequenceReport]:
    """The sequences with the least AUC."""
    tried = [one for one in report.sequences if one.run is not None and one.errors is not None]
    return sorted(tried, key=lambda one: one.figures.auc)[:count]


def sentences(report: Report, root: Path) -> list[str]:
    """What goes wrong in each of them, as a list in Markdown."""
    chosen = worst(report)
    videos = {one.name: one for one in read_sequences(root, [one.name for one in chosen])}
    return [f"- {_sentence(one, videos[one.name])}" for one in chosen]


def _sentence(one: SequenceReport, video: Sequence) -> str:
    assert one.run is not None
    assert one.errors is not None
    overlaps, frames = one.errors.overlaps, one.errors.frames
    lost = overlaps <= LOST
    boxes, truth = one.run.boxes[frames], video.truth[frames]
    parts = [f"**{one.name}** (AUC {one.figures.auc:.3f})"]
    if lost.any():
        last = len(lost) - int(np.argmin(lost[::-1])) if not lost.all() else 0
        share = f"on something else in {100 * lost.mean():.0f} % of {len(lost)} frames"
        ending = f", from frame {frames[last]} on for good" if last < len(lost) else ""
        parts.append(share + ending)
    else:
        parts.append(f"never lost in {len(lost)} frames")
    on = ~lost
    if on.any():
        wide, high = np.median(boxes[on, 2:] / truth[on, 2:], axis=0)
        parts.append(
            f"while on the target, mean IoU {overlaps[on].mean():.2f}, the box {wide:.2f} times as "
            f"wide and {high:.2f} times as high as it (medians)"
        )
    shift = np.linalg.norm(np.diff(truth[:, :2] + truth[:, 2:] / 2, axis=0), axis=1)
    size = np.sqrt(truth[1:, 2:].prod(axis=1))
    size_change = truth[:, 2:].prod(axis=1).max() / truth[:, 2:].prod(axis=1).min()
    parts.append(
        f"the target moves {np.median(shift / size):.2f} of its size a frame (median; "
        f"{np.max(shift / size):.2f} at most) and its area changes {size_change:.1f}-fold"
    )
    return "; ".join(parts) + "."


def draw(report: Report, root: Path, file: Path) -> None:
    """IoU and score of the worst sequences, frame by frame, and the boxes of six frames of each.

    Pictures of the sequences stay where they are: boxes are drawn over none.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    chosen = worst(report)
    videos = {one.name: one for one in read_sequences(root, [one.name for one in chosen])}
    rows = [["curve", *map(str, range(MOMENTS))] for _ in chosen]
    names = [[f"{one.name} {cell}" for cell in row] for one, row in zip(chosen, rows, strict=True)]
    figure, axes = plt.subplot_mosaic(
        names, figsize=(14, 2.3 * len(chosen)), width_ratios=[3, *[1] * MOMENTS],
        layout="constrained",
    )  # fmt: skip
    for one, cells in zip(chosen, names, strict=True):
        _curve(axes[cells[0]], one)
        _moments([axes[cell] for cell in cells[1:]], one, videos[one.name])
    axes[names[0][0]].legend(loc="lower left", fontsize=8)
    axes[names[0][1]].legend(loc="lower left", fontsize=7)
    figure.savefig(file, dpi=80)
    plt.close(figure)


def _curve(axis: Axes, one: SequenceReport) -> None:
    assert one.run is not None
    assert one.errors is not None
    axis.plot(one.run.scores[1:], color="#e0a458", lw=1, label="score")
    axis.plot(one.errors.frames, one.errors.overlaps, ".-", ms=3, color=OURS, label="IoU")
    axis.set(title=one.name, xlabel="frame", ylim=(0, 1.02))
    axis.spines[["top", "right"]].set_visible(False)


def _moments(axes: list[Axes], one: SequenceReport, video: Sequence) -> None:
    """Where the target is and where the box, in the frames that tell the story."""
    assert one.run is not None
    assert one.errors is not None
    overlaps = np.full(len(one.run.boxes), np.nan)
    overlaps[one.errors.frames] = one.errors.overlaps
    shown, _ = frames_to_show(overlaps, MOMENTS)
    for axis in axes:
        axis.set(xticks=[], yticks=[], aspect="equal")
    for axis, frame in zip(axes, shown, strict=False):
        boxes = (video.truth[frame], one.run.boxes[frame])
        for box, colour, label in zip(boxes, (TRUTH, OURS), ("truth", "box"), strict=True):
            if np.isfinite(box).all():
                x, y, w, h = box
                axis.plot([x, x + w, x + w, x, x], [y, y, y + h, y + h, y], color=colour, lw=2,
                          label=label)  # fmt: skip
        axis.margins(0.3)
        axis.invert_yaxis()
        title = f"frame {frame}"
        if np.isfinite(overlaps[frame]):
            title += f": IoU {overlaps[frame]:.2f}"
        axis.set_title(title, fontsize=8)
