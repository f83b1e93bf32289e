"""Does the entropy of the side distributions tell a coming loss earlier than the score does?

    python scripts/entropy_signal.py --root .work/validation ../shared/data/sequences \
        --out docs/images/doubt.png

Every sequence is tracked forward and backward, from the true first box and from three that are
shifted and scaled by up to a fifth, so that there are losses to count. A frame is *good* where IoU
is above 0.5; it is *ahead of a loss by k* where the target is first lost (IoU below 0.1 for five
frames) k frames later. For each k, the area under the ROC curve says how well a signal tells such
frames from good frames of runs that are not lost within 30 frames; 0.5 tells nothing. Sequences
with unlabelled frames are left out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixformerv2.box import pairwise_iou
from mixformerv2.evaluation.benchmarks import read_sequences
from mixformerv2.evaluation.metrics import roc_auc
from mixformerv2.explain.distributions import entropy
from mixformerv2.explain.frame import Recorder
from mixformerv2.runtime.select import load_engine
from mixformerv2.tracking.tracker import Tracker

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]
Run = tuple[Array, Array, Array]
AHEAD = (0, 1, 2, 3, 5, 8, 12, 16)
FAR = 30


def starts(truth: Array, seed: int) -> list[Array]:
    """The true box and three jittered ones."""
    rng = np.random.default_rng(seed)
    x, y, w, h = truth
    out = [truth]
    for _ in range(3):
        dx, dy = rng.uniform(-0.2, 0.2, 2) * (w, h)
        sw, sh = np.exp(rng.uniform(-0.2, 0.2, 2))
        out.append(np.array([x + dx + w * (1 - sw) / 2, y + dy + h * (1 - sh) / 2, w * sw, h * sh]))
    return out


def follow(
    frames: list[Picture], truth: Array, box: Array, tracker: Tracker, recorder: Recorder
) -> Run:
    """IoU, score and largest entropy of the four sides, for each frame but the first."""
    boxes, scores, doubts = [], [], []
    tracker.init(frames[0], tuple(box))
    for frame in frames[1:]:
        result = tracker.update(frame)
        boxes.append(result.box)
        scores.append(result.score)
        doubts.append(float(entropy(recorder.out.probs[0]).max()))
    iou = pairwise_iou(np.array(boxes, float), truth[1:])
    return iou, np.array(scores), np.array(doubts)


def loss_of(iou: Array) -> int | None:
    """The first of five frames in a row without the target."""
    gone = np.nan_to_num(iou, nan=1.0) < 0.1
    runs = np.convolve(gone, np.ones(5), "valid") == 5
    return int(np.argmax(runs)) if runs.any() else None


def study(runs: list[Run]) -> dict[str, object]:
    """ROC areas by frames ahead, and rank correlations with IoU."""
    ahead: dict[int, list[tuple[float, float]]] = {k: [] for k in AHEAD}
    good: list[tuple[float, float]] = []
    losses = 0
    for iou, scores, doubts in runs:
        lost = loss_of(iou)
        losses += lost is not None
        end = len(iou) if lost is None else max(0, lost - FAR)
        good += [(scores[i], doubts[i]) for i in range(end) if iou[i] > 0.5]
        for k in AHEAD if lost is not None else ():
            if lost is not None and lost - k >= 0:
                ahead[k].append((scores[lost - k], doubts[lost - k]))
    calm = np.array(good)
    table = {}
    for k, pairs in ahead.items():
        signs = np.array(pairs)
        table[k] = {
            "score": float(roc_auc(-signs[:, 0], -calm[:, 0])),
            "entropy": float(roc_auc(signs[:, 1], calm[:, 1])),
        }
    iou, scores, doubts = (np.concatenate(column) for column in zip(*runs, strict=True))
    known = np.isfinite(iou)
    return {
        "losses": losses,
        "good_frames": len(good),
        "ahead": table,
        "rank_correlation_with_iou": {
            "score": _spearman(scores[known], iou[known]),
            "entropy": _spearman(-doubts[known], iou[known]),
        },
    }


def _spearman(a: Array, b: Array) -> float:
    ranks = [np.argsort(np.argsort(v)) for v in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def draw(found: dict[str, object], runs: list[Run], path: Path) -> None:
    """ROC area by frames ahead, and IoU against each signal."""
    from matplotlib.figure import Figure

    table = found["ahead"]
    assert isinstance(table, dict)
    figure = Figure(figsize=(9, 3.4), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, colour in (("score", "#1c7ed6"), ("entropy", "#e8590c")):
        left.plot(AHEAD, [table[k][name] for k in AHEAD], "o-", color=colour, label=name)
    left.axhline(0.5, color="grey", lw=0.8, ls=":")
    left.set(
        xlabel="frames before the loss",
        ylabel="ROC area against good frames",
        title=f"{found['losses']} losses",
        ylim=(0.3, 1.02),
    )
    left.invert_xaxis()
    left.legend()
    iou, scores, doubts = (np.concatenate(column) for column in zip(*runs, strict=True))
    for values, name, colour in ((scores, "score", "#1c7ed6"), (doubts, "entropy", "#e8590c")):
        cuts = np.quantile(values, np.linspace(0, 1, 13))
        places = np.clip(np.searchsorted(cuts, values, "right") - 1, 0, 11)
        mean = [np.nanmean(iou[places == i]) for i in range(12)]
        middle = [np.median(values[places == i]) for i in range(12)]
        right.plot(middle, mean, "o-", color=colour, label=name)
    right.set(xlabel="value (a twelfth of all frames each)", ylabel="mean IoU", xlim=(0, 1))
    right.legend()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, nargs="+", required=True)
    parser.add_argument("--model", default="t")
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    engine, config = load_engine(args.model, "onnx")
    recorder = Recorder(engine)
    runs: list[Run] = []
    for root in args.root:
        for sequence in read_sequences(root):
            if not np.isfinite(sequence.truth[: args.limit]).all():
                continue  # boxed now and then: the frame of a loss is not known
            frames, truth = list(sequence.first(args.limit).frames()), sequence.truth[: args.limit]
            for pictures, boxes in ((frames, truth), (frames[::-1], truth[::-1])):
                for box in starts(boxes[0], len(runs)):
                    tracker = Tracker.with_engine(recorder, config)
                    runs.append(follow(pictures, boxes, box, tracker, recorder))
    found = study(runs)
    print(json.dumps(found, indent=1))
    if args.out:
        draw(found, runs, args.out)


if __name__ == "__main__":
    main()
