"""Does the entropy of the side distributions tell a coming loss earlier than the score does?

    python scripts/entropy_signal.py --root .work/validation ../shared/data/sequences \
        --out docs/images/doubt.png --json benchmarks/reports/doubt/t.json

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
from typing import Any

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
SIGNALS = {"score": "#1c7ed6", "entropy": "#e8590c", "both": "#2f9e44"}
"""Colours; "both" is the score times what entropy leaves to 1."""


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


def doubts_of(run: Run) -> dict[str, Array]:
    """The signals of each frame, higher for more doubt."""
    _, scores, entropies = run
    return {
        "score": 1 - scores,
        "entropy": entropies,
        "both": 1 - scores * (1 - entropies),
    }


def study(runs: list[Run]) -> dict[str, Any]:
    """ROC areas by frames ahead, warnings at one false alarm in a hundred, rank correlations."""
    ahead: dict[str, dict[int, list[float]]] = {name: {k: [] for k in AHEAD} for name in SIGNALS}
    calm: dict[str, list[float]] = {name: [] for name in SIGNALS}
    before: list[dict[str, Array]] = []  # the frames up to each loss
    for run in runs:
        iou, signals = run[0], doubts_of(run)
        lost = loss_of(iou)
        kept = np.arange(len(iou)) < (len(iou) if lost is None else lost - FAR)
        kept &= iou > 0.5
        for name, values in signals.items():
            calm[name] += values[kept].tolist()
            for k in AHEAD if lost is not None else ():
                if lost is not None and lost >= k:
                    ahead[name][k].append(values[lost - k])
        if lost is not None:
            span = slice(max(0, lost - FAR), lost + 1)
            before.append({name: values[span] for name, values in signals.items()})
    iou, all_signals = _all(runs)
    known = np.isfinite(iou)
    return {
        "runs": len(runs),
        "losses": len(before),
        "good_frames": len(calm["score"]),
        "ahead": {
            name: {k: float(roc_auc(values, calm[name])) for k, values in table.items() if values}
            for name, table in ahead.items()
        },
        "warnings": {
            name: _warnings([one[name] for one in before], float(np.quantile(calm[name], 0.99)))
            for name in SIGNALS
        },
        "rank_correlation_with_iou": {
            name: _spearman(-values[known], iou[known]) for name, values in all_signals.items()
        },
    }


def _warnings(before: list[Array], threshold: float) -> dict[str, Any]:
    """How many losses were told, and how early, where one good frame in a hundred alarms too.

    A warning is the first frame from which doubt stays above the threshold in two frames of three.
    """
    leads = []
    for values in before:
        doubt = values > threshold
        stays = [doubt[i] and doubt[i : i + 3].mean() > 0.6 for i in range(len(doubt))]
        if any(stays):
            leads.append(len(doubt) - 1 - stays.index(True))
    early = sorted(leads)
    return {
        "threshold": threshold,
        "told_by_the_loss": len(leads) / max(1, len(before)),
        "told_3_frames_ahead": sum(lead >= 3 for lead in leads) / max(1, len(before)),
        "told_10_frames_ahead": sum(lead >= 10 for lead in leads) / max(1, len(before)),
        "median_lead": early[len(early) // 2] if early else None,
    }


def _all(runs: list[Run]) -> tuple[Array, dict[str, Array]]:
    """IoU and signals of all frames of all runs."""
    signals = [doubts_of(run) for run in runs]
    joined = {name: np.concatenate([one[name] for one in signals]) for name in SIGNALS}
    return np.concatenate([run[0] for run in runs]), joined


def _spearman(a: Array, b: Array) -> float:
    ranks = [np.argsort(np.argsort(v)) for v in (a, b)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def draw(found: dict[str, Any], runs: list[Run], path: Path) -> None:
    """ROC area by frames ahead, and IoU against each signal."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, colour in SIGNALS.items():
        table = found["ahead"][name]
        left.plot(list(table), list(table.values()), "o-", color=colour, label=name)
    left.axhline(0.5, color="grey", lw=0.8, ls=":")
    left.set(
        xlabel="frames before the loss",
        ylabel="ROC area against good frames",
        title=f"{found['losses']} losses in {found['runs']} runs",
        ylim=(0.4, 1.02),
    )
    left.invert_xaxis()
    left.legend()
    iou, signals = _all(runs)
    for name, colour in SIGNALS.items():
        values = signals[name]
        cuts = np.quantile(values, np.linspace(0, 1, 13))
        places = np.clip(np.searchsorted(cuts, values, "right") - 1, 0, 11)
        mean = [np.nanmean(iou[places == i]) if (places == i).any() else np.nan for i in range(12)]
        right.plot(np.arange(1, 13), mean, "o-", color=colour, label=name)
    right.set(
        xlabel="twelfth of all frames, from least to most doubt", ylabel="mean IoU", ylim=(0, 1)
    )
    right.legend()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, nargs="+", required=True)
    parser.add_argument("--model", default="t")
    parser.add_argument("--limit", type=int, default=300)
    parser.add_argument("--out", type=Path, help="the plot")
    parser.add_argument("--json", type=Path, help="the figures")
    args = parser.parse_args()
    engine, config = load_engine(args.model, "onnx", 1)
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
    text = json.dumps({"model": config.name, **found}, indent=1)
    print(text)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(text + "\n")
    if args.out:
        draw(found, runs, args.out)


if __name__ == "__main__":
    main()
