"""Look inside the network where it does well and where it fails, on labelled sequences.

    python scripts/draw_cases.py --root ../shared/data/sequences --out docs/images/cases.png \
        davis_blackswan:best davis_libby:loss

A case is a sequence and which of its frames: *best*, the one with the highest IoU after the first
thirty; *loss*, the first where IoU falls below 0.3, or the worst one where it never does. The
drawing holds no picture of the sequence: boxes, distributions and heat alone, so that it can be
shown where the pictures may not. `--crops DIR` also writes what `mixformerv2 explain` would.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixformerv2.box import pairwise_iou
from mixformerv2.evaluation.benchmarks import Sequence, read_sequences
from mixformerv2.explain import Insight, explain_frame, save_picture
from mixformerv2.explain.attention import SIDES
from mixformerv2.tracking.tracker import Tracker

SETTLED = 30  # frames, before which everything is easy
LOST = 0.3


def overlaps(sequence: Sequence, model: str, limit: int) -> NDArray[np.float64]:
    """IoU of each frame but the first."""
    tracker = Tracker(model, engine="onnx", threads=1)
    part = sequence.first(limit)
    boxes = []
    for index, image in enumerate(part.frames()):
        if index == 0:
            tracker.init(image, tuple(part.truth[0]))
        else:
            boxes.append(tracker.update(image).box)
    return np.asarray(pairwise_iou(np.array(boxes, float), part.truth[1:]))


def frame_of(iou: NDArray[np.float64], which: str) -> int:
    """The frame of a case."""
    if which == "best":
        late = min(SETTLED, len(iou) - 1)
        return 1 + late + int(np.nanargmax(iou[late:]))
    lost = np.flatnonzero(iou < LOST)
    return 1 + (int(lost[0]) if lost.size else int(np.nanargmin(iou)))


def look(root: Path, case: str, model: str, limit: int) -> tuple[str, Insight]:
    """One case: its title and what was seen."""
    name, _, which = case.partition(":")
    (sequence,) = (one for one in read_sequences(root) if one.name == name)
    iou = overlaps(sequence, model, limit)
    frame = frame_of(iou, which)
    truth = sequence.truth
    folder = root / name / "img"
    insight = explain_frame(
        str(folder),
        tuple(truth[0]),
        frame,
        model,
        truth=tuple(truth[frame]),
        name=name,
        engine="onnx",
        threads=1,
    )
    return f"{name}, frame {frame}\nIoU {iou[frame - 1]:.2f}", insight


def draw(cases: list[tuple[str, Insight]], path: Path) -> None:
    """A row for each case: boxes between the distributions, then the last layer of each token."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 2.35 * len(cases) + 0.3), dpi=90, layout="constrained")
    rows: Any = figure.subfigures(len(cases), 1, squeeze=False)[:, 0]
    for row, (title, insight) in zip(rows, cases, strict=True):
        grid = row.subplots(1, 6, width_ratios=[1, 1.5, 1, 1, 1, 1])
        _boxes(grid[0], insight, title)
        _distributions(grid[1], insight)
        for token, axes in enumerate(grid[2:]):
            heat = insight.attention.search[-1, :, token].mean(0)
            axes.imshow(heat, extent=(0, 1, 1, 0), cmap="inferno", interpolation="bicubic")
            _outline(axes, insight)
            axes.set_title(f"{SIDES[token]} token", fontsize=8)
            axes.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(1, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _outline(axes: Any, insight: Insight) -> None:
    answer = insight.answer or insight.box  # of which the title tells the IoU
    for box, colour, name in ((insight.truth, "#40c057", "truth"), (answer, "#fa5252", "box")):
        if box is not None:
            x1, y1, x2, y2 = box
            axes.plot([x1, x2, x2, x1, x1], [y1, y1, y2, y2, y1], color=colour, lw=1.4, label=name)


def _boxes(axes: Any, insight: Insight, title: str) -> None:
    _outline(axes, insight)
    axes.set_title(f"{title}, score {insight.result.score:.2f}", fontsize=8)
    axes.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(1, 0), aspect="equal")
    axes.legend(fontsize=7, loc="lower right")


def _distributions(axes: Any, insight: Insight) -> None:
    bins = insight.probs.shape[1]
    for side, name in enumerate(SIDES):
        label = f"{name} {insight.entropy[side]:.2f}"
        axes.plot(np.arange(bins) / bins, insight.probs[side], lw=1.2, label=label)
    axes.set_title("distributions of the sides, entropy", fontsize=8)
    axes.set(yticks=[], xlim=(0, 1))
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="+", metavar="NAME:best|loss")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--model", default="t")
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--crops", type=Path, help="also draw each case with its pictures, here")
    args = parser.parse_args()
    cases = []
    for case in args.cases:
        cases.append(look(args.root, case, args.model, args.limit))
        title, insight = cases[-1]
        sides = " ".join(f"{value:.2f}" for value in insight.entropy)
        print(f"{' '.join(title.split())}, score {insight.result.score:.2f}, entropy {sides}")
        if args.crops:
            args.crops.mkdir(parents=True, exist_ok=True)
            save_picture(insight, args.crops / f"{case.replace(':', '-')}.png")
    draw(cases, args.out)


if __name__ == "__main__":
    main()
