"""What the score of a bundle means: thresholds of its states, delays, and a plot.

    python scripts/make_validation.py && python scripts/make_absences.py      # once
    python scripts/calibrate.py t --out build/calibration
    python scripts/calibrate.py t --as-is             # judge the thresholds that the bundle has
    python scripts/calibrate.py t --entropy           # what if states went by entropy instead

The bundle tracks the validation set, its covered and cut forms, and the real exits that were marked
by hand (`tests/data/exits.csv`). `evaluation/calibration.py` says how thresholds follow from the
scores. Nothing is written into the bundle; `scripts/make_bundle.py` does that.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mixformerv2.box import XYWH
from mixformerv2.errors import DataError, MixFormerError
from mixformerv2.evaluation.benchmarks import read_sequences
from mixformerv2.evaluation.calibration import Calibration, Trace, calibrate, trace
from mixformerv2.evaluation.metrics import roc_auc
from mixformerv2.evaluation.trackers import Factory
from mixformerv2.explain.distributions import entropy as entropy_of
from mixformerv2.explain.frame import Recorder
from mixformerv2.runtime.base import Engine
from mixformerv2.runtime.select import load_engine
from mixformerv2.tracking.result import TrackResult
from mixformerv2.tracking.tracker import Tracker
from mixformerv2.weights.bundle import BundleConfig

PROJECT = Path(__file__).resolve().parents[1]
ABSENCES = PROJECT / ".work" / "absences"
VALIDATION = PROJECT / ".work" / "validation"
THRESHOLDS = ("lost_below", "lost_until", "uncertain_below", "uncertain_until")
MAX_FRAMES = 300


def main() -> int:
    """Calibrate, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("bundle")
    parser.add_argument("--validation", type=Path, default=VALIDATION)
    parser.add_argument("--absences", type=Path, default=ABSENCES)
    parser.add_argument("--out", type=Path, help="folder for calibration.json and calibration.png")
    parser.add_argument("--as-is", action="store_true", help="judge the bundle's own thresholds")
    parser.add_argument("--entropy", action="store_true", help="take entropy for the score")
    args = parser.parse_args()
    try:
        found = of_bundle(
            args.bundle, args.validation, args.absences, as_is=args.as_is, entropy=args.entropy
        )
    except MixFormerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(tables(found)))
    off = roc_auc(found.kinds["good"], found.kinds["off"])
    print(f"good against off frames, area under the ROC curve: {off:.3f}")
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "calibration.json").write_text(json.dumps(found.as_dict(), indent=1) + "\n")
        draw(found, args.out / "calibration.png")
    return 0


class ByEntropy:
    """A tracker whose score is what the entropy of the widest side leaves to 1."""

    def __init__(self, engine: Engine, config: BundleConfig) -> None:
        self._recorder = Recorder(engine)
        self._tracker = Tracker.with_engine(self._recorder, config)

    def init(self, frame: NDArray[np.uint8], box: XYWH) -> None:
        self._tracker.init(frame, box)

    def update(self, frame: NDArray[np.uint8]) -> TrackResult:
        result = self._tracker.update(frame)
        return replace(result, score=1 - float(entropy_of(self._recorder.out.probs[0]).max()))


def of_bundle(
    bundle: str | Path,
    validation: Path,
    absences: Path,
    *,
    as_is: bool = False,
    entropy: bool = False,
) -> Calibration:
    """Track everything with a bundle and calibrate its score, or one minus the entropy.

    Raises:
        DataError: the clips with absences were not made yet.
    """
    roots = [absences / "exits", absences / "validation", validation]
    for root in roots:
        if not root.is_dir():
            raise DataError(
                f"{root} is not there; run scripts/make_validation.py and scripts/make_absences.py"
            )
    engine, config = load_engine(bundle, "onnx")
    make: Factory = partial(ByEntropy if entropy else Tracker.with_engine, engine, config)
    traces: list[Trace] = []
    for root in roots:
        traces += [trace(make, one.first(MAX_FRAMES)) for one in read_sequences(root)]
    given = {name: getattr(config.tracker, name) for name in THRESHOLDS} if as_is else None
    return calibrate(traces, config.tracker, thresholds=given)


def tables(found: Calibration) -> list[str]:
    """Markdown: thresholds, kinds of frames, tenths of the score, absences."""
    lines = ["thresholds: " + ", ".join(f"{k} {v:g}" for k, v in found.thresholds.items())]
    lines.append(f"good against absent frames, area under the ROC curve: {found.presence_auc:.3f}")
    lines += ["", "| frames | number | tracked | uncertain | lost |", "|---|---|---|---|---|"]
    for kind, shares in found.called.items():
        cells = " | ".join(f"{100 * share:.1f} %" for share in shares.values())
        lines.append(f"| {kind} | {len(found.kinds[kind])} | {cells} |")
    lines += ["", "| score | frames | mean IoU | target absent |", "|---|---|---|---|"]
    for low, count, overlap, absent in found.bins:
        if count:
            lines.append(
                f"| {low:.1f} to {low + 0.1:.1f} | {count} | {overlap:.2f} | {100 * absent:.0f} % |"
            )
    lines += ["", "| target leaves | frames away | delay to lost | lost while away | lost before |"]
    lines.append("|---|---|---|---|---|")
    for one in found.exits:
        delay = "never" if one.delay is None else f"{one.delay}"
        lines.append(
            f"| {one.name} | {one.frames} | {delay} | {100 * one.lost:.0f} % | "
            f"{100 * one.false_lost:.1f} % |"
        )
    noticed = [one for one in found.exits if one.delay is not None]
    lines.append("")
    lines.append(
        f"{len(noticed)} of {len(found.exits)} absences noticed; median delay "
        f"{found.median_delay:g} frames"
    )
    return lines


def draw(found: Calibration, file: Path) -> None:
    """Score against overlap, score against absence, and the delays, as one picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        1, 3, figsize=(13, 4), width_ratios=(1, 1, 1.2), layout="constrained"
    )
    bins = [one for one in found.bins if one[1]]
    middles = [one[0] + 0.05 for one in bins]
    axes[0].bar(middles, [one[3] for one in bins], 0.09, color="#d9a3a3", label="target absent")
    axes[0].plot(middles, [one[2] for one in bins], "o-", color="#1f5a8a", label="mean IoU")
    axes[0].set(xlabel="score", ylabel="share of frames, mean IoU", xlim=(0, 1), ylim=(0, 1.02))
    axes[0].legend(loc="upper center")
    colours = {"good": "#1f5a8a", "poor": "#7aa6c2", "absent": "#b33a3a", "twin": "#e0a458"}
    for kind, colour in colours.items():
        scores = np.sort(found.kinds[kind])
        if scores.size:
            share = np.arange(1, len(scores) + 1) / len(scores)
            label = f"{kind} ({len(scores)})"
            axes[1].step([0, *scores, 1], [0, *share, 1], where="post", color=colour, label=label)
    for name, style in (("lost_below", "--"), ("uncertain_below", ":")):
        axes[1].axvline(found.thresholds[name], color="#555555", ls=style, lw=1, label=name)
    axes[1].set(xlabel="score", ylabel="share of frames up to this score", xlim=(0, 1), ylim=(0, 1))
    axes[1].legend(loc="center right", fontsize=8)
    _draw_exits(axes[2], found)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=80)
    plt.close(figure)


def _draw_exits(axis: object, found: Calibration) -> None:
    """How long each target was away, and which part of that the state was "lost"."""
    exits: Sequence = found.exits[::-1]
    names = [one.name for one in exits]
    axis.barh(names, [one.frames for one in exits], color="#e3e3e3", label="away")
    lost = [one.lost * one.frames for one in exits]
    axis.barh(names, lost, color="#b33a3a", height=0.5, label='"lost"')
    axis.set(xlabel="frames")
    axis.tick_params(axis="y", labelsize=7)
    axis.legend(loc="lower right")


if __name__ == "__main__":
    raise SystemExit(main())
