"""Does a bundle say when its target is away? Precision, recall and F-score of "it is there".

    python scripts/make_absences.py      # once
    python scripts/presence.py t --root .work/absences/exits

For sequences in which it is known of each frame whether the target is in view, but not where: the
real exits that were marked by hand. A frame counts as answered where the state is not "lost".
Short-term tracking and `--long-term` stand side by side; clips in which something that looks the
same stays in view (`twin_*`) have a row of their own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mixformerv2.errors import DataError, MixFormerError
from mixformerv2.evaluation.benchmarks import Sequence, read_sequences
from mixformerv2.runtime.base import Engine
from mixformerv2.runtime.select import load_engine
from mixformerv2.tracking.tracker import Tracker
from mixformerv2.weights.bundle import BundleConfig

PROJECT = Path(__file__).resolve().parents[1]


@dataclass
class Presence:
    """Counts of frames.

    Attributes:
        both: Target in view, and answered.
        answered: Answered.
        there: In view.
    """

    both: int = 0
    answered: int = 0
    there: int = 0

    def add(self, answered: Iterable[bool], there: Iterable[bool]) -> None:
        """Count the frames of a sequence."""
        for one, other in zip(answered, there, strict=True):
            self.both += one and other
            self.answered += one
            self.there += other

    @property
    def row(self) -> str:
        """Precision, recall and F-score."""
        precision = self.both / max(1, self.answered)
        recall = self.both / max(1, self.there)
        f_score = 2 * precision * recall / max(1e-9, precision + recall)
        return f"{f_score:.3f} | {precision:.3f} | {recall:.3f}"


def answered(engine: Engine, config: BundleConfig, video: Sequence, long_term: bool) -> list[bool]:
    """Of each frame but the first, whether the target was said to be there."""
    tracker = Tracker.with_engine(engine, config, settings={"long_term": long_term})
    frames = video.frames()
    tracker.init(next(frames), tuple(video.truth[0]))
    return [tracker.update(frame).state != "lost" for frame in frames]


def in_view(video: Sequence) -> list[bool]:
    """Of each frame but the first, whether its target is in view."""
    if video.absent is None or not video.absent[1:].any():
        raise DataError(f"{video.name} marks no frame as absent; see scripts/make_absences.py")
    return [not one for one in video.absent[1:]]


def main() -> int:
    """Track the clips both ways and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("bundle")
    parser.add_argument("--root", type=Path, default=PROJECT / ".work" / "absences" / "exits")
    options = parser.parse_args()
    try:
        report(*load_engine(options.bundle, "onnx"), read_sequences(options.root))
    except MixFormerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def report(engine: Engine, config: BundleConfig, videos: list[Sequence]) -> None:
    """Print the table, and what was answered in each clip without its target."""
    print("| clips | | F | precision | recall |\n|---|---|---|---|---|")
    for twins in (False, True):
        chosen = [one for one in videos if one.name.startswith("twin_") == twins]
        for long_term in (False, True):
            found = Presence()
            for video in chosen:
                said, there = answered(engine, config, video, long_term), in_view(video)
                found.add(said, there)
                wrong = np.mean([one for one, other in zip(said, there, strict=True) if not other])
                print(f"{video.name}: answered in {wrong:.0%} without target", file=sys.stderr)
            kind = f"{len(chosen)} with a look-alike" if twins else f"{len(chosen)} real exits"
            print(f"| {kind} | {'`--long-term`' if long_term else 'without'} | {found.row} |")


if __name__ == "__main__":
    raise SystemExit(main())
