"""Our bundles beside OpenCV's trackers, on the same sequences in one run: what `make peers` prints.

    make peers PEERS_ARGS="--root FOLDER --nano BACKBONE.onnx HEAD.onnx --report out"

CSRT and KCF are in OpenCV's contrib wheel alone, and two OpenCV wheels in one environment overwrite
each other; so they run in an environment of their own (`--peers-python`), as a process that is told
which sequence is next. All contestants take turns sequence by sequence, each with its process idle
while another's runs, so that a busy machine slows all of them alike: ratios of speed say more than
frames a second.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from mixformerv2.errors import MixFormerError  # noqa: E402
from mixformerv2.evaluation.benchmarks import Sequence, read_sequences  # noqa: E402
from mixformerv2.evaluation.results import save_run  # noqa: E402
from mixformerv2.evaluation.run import follow, measure  # noqa: E402
from mixformerv2.evaluation.study import Study  # noqa: E402
from mixformerv2.evaluation.tables import number  # noqa: E402
from mixformerv2.evaluation.trackers import TrackerSpec  # noqa: E402
from mixformerv2.evaluation.writing import write_report  # noqa: E402

SEQUENCES = ROOT.parent / "shared" / "data" / "sequences"
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
CLASSIC = ("opencv:csrt", "opencv:kcf", "opencv:mil")


class Contestant:
    """A tracker in a process of its own, which answers `ready`, then once for each sequence."""

    def __init__(self, spec: str, python: Path, args: argparse.Namespace, out: Path) -> None:
        self.spec, self.folder = spec, out
        out.mkdir(parents=True)
        words = [str(python), __file__, "--serve", spec, "--serve-out", str(out)]
        words += ["--root", str(args.root), "--max-frames", str(args.max_frames)]
        words += ["--threads", str(args.threads), "--engine", args.engine, "--names", args.names]
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        answer = self._read()
        if answer != "ready":
            raise SystemExit(f"{spec} does not start: {answer}")

    def run(self, name: str) -> str:
        """One sequence: `done`, or why not."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{name}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: there is nothing to read either
        return self._read()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else "its process ended"

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # what it was asked after its end
            self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


def serve(args: argparse.Namespace) -> None:
    """What runs in a contestant's process."""
    spec = TrackerSpec(args.serve, engine=args.engine, threads=args.threads)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a tracker prints is no answer
    by_name = {one.name: one for one in _sequences(args)}

    def say(text: str) -> None:
        answers.write(json.dumps(text) + "\n")
        answers.flush()

    try:
        spec.identity()
    except MixFormerError as error:
        say(str(error))
        return
    say("ready")
    for line in sys.stdin:
        sequence = by_name[line.strip()]
        try:
            save_run(Path(args.serve_out), sequence, follow(spec, sequence))
        except Exception as error:
            say(repr(error))
        else:
            say("done")


def _sequences(args: argparse.Namespace) -> list[Sequence]:
    names = [name for name in args.names.split(",") if name] or None
    return [one.first(args.max_frames or None) for one in read_sequences(args.root, names)]


def compete(args: argparse.Namespace, out: Path) -> Study:
    """All contestants in turns; their reports."""
    sequences = _sequences(args)
    with ExitStack() as stack:
        contestants: dict[str, Contestant] = {}
        for label, (spec, python) in _entrants(args).items():
            contestants[label] = Contestant(spec, python, args, out / label)
            stack.callback(contestants[label].close)
        for count, sequence in enumerate(sequences, 1):
            for label, one in contestants.items():
                answer = one.run(sequence.name)
                if answer != "done":
                    print(f"{label} failed in {sequence.name}: {answer}", file=sys.stderr)
            print(f"{count}/{len(sequences)} {sequence.name}", file=sys.stderr, flush=True)
    reports = [
        measure(
            TrackerSpec(f"results:{one.folder}"),
            sequences,
            max_frames=args.max_frames or None,
            label=label,
        )
        for label, one in contestants.items()
    ]
    return Study(tuple(reports), tuple(sequences))


def _entrants(args: argparse.Namespace) -> dict[str, tuple[str, Path]]:
    """Label to text of the tracker and the Python that runs it."""
    here = Path(sys.executable)
    found: dict[str, tuple[str, Path]] = {}
    for name in args.models:
        label = TrackerSpec(name).label
        if label in found:
            raise SystemExit(f"two models are called {label}; name one: --models mine={name}")
        found[label] = (name, here)
    if args.peers_python.is_file():
        found |= {spec.partition(":")[2].upper(): (spec, args.peers_python) for spec in CLASSIC}
    else:
        print(f"{args.peers_python} is not there: without CSRT, KCF, MIL", file=sys.stderr)
    if args.nano:
        folder = Path(tempfile.mkdtemp())
        for part, file in zip(("backbone", "head"), args.nano, strict=True):
            (folder / f"{part}.onnx").symlink_to(Path(file).resolve(strict=True))
        found["NanoTrack"] = (f"opencv:nano:{folder}", here)
    if args.still:
        found["still"] = ("still", here)
    return found


def table(study: Study) -> str:
    """Markdown: figures as shares, speed, and speed as a multiple of the first one's."""
    rows = ["| tracker | AUC | precision | norm. precision | fps | median ms | 95 % ms | speed |"]
    rows.append("|---|---:|---:|---:|---:|---:|---:|---:|")
    first = study.reports[0].speed.median
    for report in sorted(study.reports, key=lambda one: -one.mean.auc):
        mean, speed = report.mean, report.speed
        shares = (mean.auc, mean.precision, mean.normalized_precision)
        cells = [number(value, 3) for value in shares]
        cells += [number(speed.fps, 0), number(speed.median, 1), number(speed.p95, 1)]
        cells.append(f"{number(first / speed.median, 2)}x")
        rows.append(f"| {report.tracker} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Run, print, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=SEQUENCES, help="folder of sequences")
    parser.add_argument("--models", nargs="*", default=["t"], help="bundles, by name or folder")
    parser.add_argument("--nano", nargs=2, metavar=("BACKBONE", "HEAD"), help="NanoTrack's files")
    parser.add_argument("--peers-python", type=Path, default=PEERS_PYTHON)
    parser.add_argument("--names", default="", help="only these sequences, parted by commas")
    parser.add_argument("--max-frames", type=int, default=300)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--engine", default="auto", help="of our bundles")
    parser.add_argument("--still", action="store_true", help="a box that never moves, too")
    parser.add_argument("--report", type=Path, help="write report.html and others here")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--serve-out", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args)
        return
    if not args.root.is_dir():
        raise SystemExit(f"{args.root} is not there; give --root a folder of sequences")
    if args.json and not args.json.absolute().parent.is_dir():
        raise SystemExit(f"--json {args.json} cannot be written: its folder is not there")
    with tempfile.TemporaryDirectory() as folder:
        study = compete(args, Path(folder))
        report = study.reports[0]
        print(f"{len(study.sequences)} sequences, {report.protocol}; {_machine(args)}\n")
        print(table(study))
        if args.report:
            print(f"\nreport: {write_report(study, args.report)}")
        if args.json:
            _write(args.json, study, args)


def _machine(args: argparse.Namespace) -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, {args.threads} threads"


def _write(file: Path, study: Study, args: argparse.Namespace) -> None:
    content: dict[str, Any] = study.as_dict() | {"machine": _machine(args)}
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except MixFormerError as problem:
        raise SystemExit(str(problem)) from None
