"""Hold tracker settings against those of a bundle, on sequences with truth.

    python scripts/try_settings.py t --root .work/validation
    python scripts/try_settings.py t --root ../shared/data/sequences --forward --only ahead

Every candidate of a YAML file tracks every sequence, forward and backward (backward from the last
labelled frame on). All share one pass over the frames and one engine. The table has, for each, the
AUC (mean over runs), its difference to the bundle's own settings with the standard error of the
paired difference, the share of counted frames with IoU up to 0.1 (lost) and the mean IoU of the
others, and the time of an update as a multiple of that of the bundle's settings. Differences
below twice their error mean little.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixformerv2.errors import ConfigError, MixFormerError
from mixformerv2.evaluation.benchmarks import Sequence, read_sequences
from mixformerv2.evaluation.metrics import figures_of, frame_errors
from mixformerv2.runtime.select import load_engine
from mixformerv2.settings import read_yaml
from mixformerv2.tracking.tracker import Tracker

PROJECT = Path(__file__).resolve().parents[1]
BASE = "bundle's own"
LOST = 0.1


@dataclass
class Score:
    """What one candidate reached so far."""

    auc: list[float] = field(default_factory=list)
    overlaps: list[NDArray[np.float64]] = field(default_factory=list)
    seconds: float = 0.0


def main() -> int:
    """Run the candidates and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("bundle")
    parser.add_argument(
        "--candidates", type=Path, default=PROJECT / "configs/tracking/candidates.yaml"
    )
    parser.add_argument("--root", type=Path, default=PROJECT / ".work" / "validation")
    parser.add_argument("--only", action="append", help="a candidate's name; may be repeated")
    parser.add_argument("--forward", action="store_true", help="forward alone")
    parser.add_argument("--max-frames", type=int, default=300)
    parser.add_argument("--engine", default="onnx")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    try:
        rows = measure(args)
    except MixFormerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print_table(rows)
    if args.json is not None:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The table's rows, the bundle's own settings first."""
    chosen = {BASE: {}, **candidates(args.candidates, args.only)}
    engine, config = load_engine(args.bundle, args.engine, threads=1)
    trackers = {
        name: Tracker.with_engine(engine, config, settings=values)
        for name, values in chosen.items()
    }
    scores = {name: Score() for name in chosen}
    for sequence in read_sequences(args.root):
        for order in orders(sequence.first(args.max_frames), forward=args.forward):
            run(sequence, order, trackers, scores)
        print(sequence.name, file=sys.stderr, flush=True)
    base = scores[BASE]
    return [row(name, score, base) for name, score in scores.items()]


def candidates(file: Path, only: list[str] | None) -> dict[str, dict[str, Any]]:
    """The settings of the file, by name.

    Raises:
        ConfigError: a name that is not in it.
    """
    known = read_yaml(file)
    for name in only or ():
        if name not in known:
            raise ConfigError(f"{file} has no candidate {name!r}; it has {', '.join(known)}")
    return {name: values for name, values in known.items() if only is None or name in only}


def orders(sequence: Sequence, *, forward: bool) -> Iterator[list[int]]:
    """The frames forward, and from the last labelled one backward."""
    yield list(range(len(sequence)))
    if not forward:
        last = int(np.flatnonzero(np.isfinite(sequence.truth).all(1))[-1])
        yield list(range(last, -1, -1))


def run(
    sequence: Sequence, order: list[int], trackers: dict[str, Tracker], scores: dict[str, Score]
) -> None:
    """One pass over the frames with all trackers."""
    truth = sequence.truth[order]
    boxes = {name: [tuple(truth[0])] for name in trackers}
    for step, index in enumerate(order):
        frame = sequence.frame(index)
        for name, tracker in trackers.items():
            if step == 0:
                tracker.init(frame, truth[0])
                continue
            begin = time.process_time()
            boxes[name].append(tracker.update(frame).box)
            scores[name].seconds += time.process_time() - begin
    for name, found in boxes.items():
        errors = frame_errors(truth, np.array(found))
        if not errors.overlaps.size:
            continue  # nothing but the first frame is labelled
        scores[name].auc.append(figures_of(errors).auc)
        scores[name].overlaps.append(errors.overlaps)


def row(name: str, score: Score, base: Score) -> dict[str, Any]:
    """One candidate's figures."""
    difference = np.subtract(score.auc, base.auc)
    overlaps = np.concatenate(score.overlaps)
    return {
        "settings": name,
        "runs": len(score.auc),
        "auc": float(np.mean(score.auc)),
        "difference": float(difference.mean()),
        "error": float(difference.std(ddof=1) / np.sqrt(len(difference))),
        "lost": float(np.mean(overlaps <= LOST)),
        "overlap_on_target": float(overlaps[overlaps > LOST].mean()),
        "time": score.seconds / base.seconds,
        "auc_by_run": [round(float(v), 4) for v in score.auc],  # videos by name, each both ways
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    """The rows as Markdown."""
    print(f"\n{rows[0]['runs']} runs")
    print("| settings | AUC | difference | lost | IoU on target | time |")
    print("|---|---|---|---|---|---|")
    for one in rows:
        print(
            f"| {one['settings']} | {one['auc']:.3f} | {one['difference']:+.3f} ± "
            f"{one['error']:.3f} | {100 * one['lost']:.1f} % | {one['overlap_on_target']:.3f} | "
            f"{one['time']:.2f} |"
        )


if __name__ == "__main__":
    raise SystemExit(main())
