"""What each way to less work a frame costs in accuracy and saves in time, in one table.

    python scripts/less_work.py t --root .work/validation
    python scripts/less_work.py t --root ../shared/data/sequences --forward

The ways are those of a YAML file: tracker settings, and search graphs that drop tokens or end
early, which are exported for it. All of them track every sequence in one pass over the frames, in
turns, so that a busy machine slows them alike; times are the processor's, of whole updates on one
thread. Choices are made on the validation set (`scripts/make_validation.py`).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from try_settings import BASE, PROJECT, Score, orders, print_table, row, run

from mixformerv2.errors import MixFormerError
from mixformerv2.evaluation.benchmarks import read_sequences
from mixformerv2.export import export_bundle, export_int8
from mixformerv2.runtime.select import load_engine
from mixformerv2.settings import read_yaml
from mixformerv2.tracking.tracker import Tracker


def main() -> int:
    """Run all ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("bundle")
    parser.add_argument("--ways", type=Path, default=PROJECT / "configs/tracking/less_work.yaml")
    parser.add_argument("--root", type=Path, default=PROJECT / ".work" / "validation")
    parser.add_argument("--only", action="append", help="a way's name; may be repeated")
    parser.add_argument("--forward", action="store_true", help="forward alone")
    parser.add_argument("--max-frames", type=int, default=300)
    parser.add_argument("--engine", default="onnx")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            rows = measure(args, Path(folder))
    except MixFormerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print_table(rows)
    if args.json is not None:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def measure(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """The table's rows, the bundle as it is first."""
    known = read_yaml(args.ways)
    ways = {name: way for name, way in known.items() if not args.only or name in args.only}
    trackers = {
        name: tracker(args.bundle, way, folder / str(number), args.engine)
        for number, (name, way) in enumerate({BASE: {}, **ways}.items())
    }
    scores = {name: Score() for name in trackers}
    for sequence in read_sequences(args.root):
        for order in orders(sequence.first(args.max_frames), forward=args.forward):
            run(sequence, order, trackers, scores)
        print(sequence.name, file=sys.stderr, flush=True)
    return [row(name, score, scores[BASE]) for name, score in scores.items()]


def tracker(bundle: str, way: Mapping[str, Any], folder: Path, engine: str) -> Tracker:
    """The bundle, exported anew in one of the ways."""
    settings = dict(way)
    keep, early = settings.pop("keep", None), settings.pop("exit", None)
    export_bundle(bundle, folder, keep and (keep[0], keep[1]), early and (early[0], early[1]))
    if engine.endswith("int8"):
        export_int8(folder)
    loaded, config = load_engine(folder, engine, threads=1)
    return Tracker.with_engine(loaded, config, settings=settings)


if __name__ == "__main__":
    raise SystemExit(main())
