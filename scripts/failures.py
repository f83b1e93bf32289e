"""Where a bundle fails: its three worst sequences in words and as curves, without their pictures.

For their pictures: `mixformerv2 eval BUNDLE --root ../shared/data/sequences --report report`
draws film strips, which stay on this machine.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mixformerv2.evaluation.benchmarks import Sequence, read_sequences
from mixformerv2.evaluation.report import Report, SequenceReport

LOST = 0.1


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


def draw(report: Report, file: Path) -> None:
    """IoU and score of the worst sequences, frame by frame."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    chosen = worst(report)
    size = (13, 3)
    figure, axes = plt.subplots(1, len(chosen), figsize=size, squeeze=False, layout="constrained")
    for axis, one in zip(axes[0], chosen, strict=True):
        assert one.run is not None
        assert one.errors is not None
        axis.plot(one.run.scores[1:], color="#e0a458", lw=1, label="score")
        axis.plot(one.errors.frames, one.errors.overlaps, ".-", ms=3, color="#1f5a8a", label="IoU")
        axis.set(title=one.name, xlabel="frame", ylim=(0, 1.02))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].legend(loc="lower left", fontsize=8)
    figure.savefig(file, dpi=80)
    plt.close(figure)
