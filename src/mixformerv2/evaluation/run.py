"""One pass over the sequences of a benchmark: results as they end, resumed where they stopped.

With an output folder each sequence leaves `NAME.txt` (boxes), `NAME_score.txt`, `NAME_time.txt`
(seconds of each update), floats as they were, one line a frame. A sequence in which the tracker
raises leaves `NAME_error.txt` and counts with zeros; the rest goes on, and a second run tries it
again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError, MixFormerError, OutputError
from .benchmarks import Sequence, read_sequences, read_truth, write_truth
from .metrics import Convention, Figures, check_convention, score_boxes
from .report import Report, SequenceReport
from .trackers import Factory, TrackerSpec

__all__ = ["Run", "evaluate", "follow", "results_folder"]

log = logging.getLogger(__name__)

Progress = Callable[[SequenceReport], None]


@dataclass(frozen=True, eq=False)
class Run:
    """What one tracker answered over one sequence.

    Attributes:
        boxes: `[N, 4]` x, y, w, h; the first is the given one.
        scores: `[N]`; the first is 1.
        seconds: `[N]` time of each update; the first is that of `init`.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    seconds: NDArray[np.float64]


def evaluate(
    tracker: Factory,
    root: str | Path,
    *,
    max_frames: int | None = 300,
    names: Iterable[str] | None = None,
    out: str | Path | None = None,
    jobs: int = 1,
    convention: Convention = "size",
    label: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Run a tracker over a folder of sequences and compare it with the truth.

    Args:
        tracker: Makes a tracker with `init(frame, box)` and `update(frame)`; called for each
            sequence. A `TrackerSpec`, or any function.
        root: Folder of sequences; see `benchmarks`.
        max_frames: Use at most so many frames of each; None for all.
        names: Only these sequences.
        out: Folder for the results of this very tracker; sequences already in it are not run again.
        jobs: Processes; with more than one the tracker must be a `TrackerSpec` or picklable, and
            speeds are those of processes that share the machine.
        convention: Which labelled frames count.
        label: Name in the report.
        progress: Called with each sequence's report as it ends.

    Raises:
        DataError: the folder is not laid out as it should be.

    Example:
        >>> evaluate(TrackerSpec("still"), "sequences").mean.auc      # doctest: +SKIP
        0.336
    """
    if max_frames is not None and max_frames < 2:
        raise ConfigError(f"max_frames must be at least 2, got {max_frames}")
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1, got {jobs}")
    check_convention(convention)
    sequences = [one.first(max_frames) for one in read_sequences(root, names)]
    folder = None if out is None else _make_folder(Path(out))
    reports: dict[str, SequenceReport] = {}
    for name, result in _results(tracker, sequences, folder, jobs):
        reports[name] = _report(sequences, name, result, convention)
        if progress is not None:
            progress(reports[name])
    if label is None:
        label = tracker.label if isinstance(tracker, TrackerSpec) else "tracker"
    return Report(label, convention, max_frames, tuple(reports[one.name] for one in sequences))


def follow(tracker: Factory, sequence: Sequence) -> Run:
    """Run a fresh tracker over one sequence; decoding is not timed."""
    count = len(sequence)
    boxes, scores, seconds = np.zeros((count, 4)), np.ones(count), np.zeros(count)
    follower = tracker()
    for index, frame in enumerate(sequence.frames()):
        begin = time.perf_counter()
        if index == 0:
            follower.init(frame, sequence.box.xywh)
            seconds[0] = time.perf_counter() - begin
            boxes[0] = sequence.box
        else:
            answer = follower.update(frame)
            seconds[index] = time.perf_counter() - begin
            boxes[index], scores[index] = answer.box, answer.score
    return Run(boxes, scores, seconds)


def results_folder(out: Path, spec: TrackerSpec, root: Path, max_frames: int | None) -> Path:
    """The folder of `out` for this very tracker on these sequences, made with its `run.json`.

    Its name ends in a hash of all that decides the boxes, so that a new bundle of the same name,
    another engine or another protocol never continues the old results.
    """
    identity = {**spec.identity(), "root": str(root.resolve()), "max_frames": max_frames}
    text = json.dumps(identity, indent=2, sort_keys=True)
    folder = _make_folder(out / f"{spec.label}-{hashlib.sha256(text.encode()).hexdigest()[:8]}")
    _write(folder / "run.json", text + "\n")
    return folder


def _results(
    tracker: Factory, sequences: list[Sequence], folder: Path | None, jobs: int
) -> Iterator[tuple[str, Run | str]]:
    """Each sequence's run, or why it failed, as it ends; those on disk first."""
    missing = []
    for sequence in sequences:
        done = None if folder is None else _load(folder, sequence)
        if done is None:
            missing.append(sequence)
        else:
            log.info("%s: results are there, not run again", sequence.name)
            yield sequence.name, done
    if jobs == 1:
        for sequence in missing:
            yield sequence.name, _attempt(tracker, sequence, folder)
        return
    # Spawned, not forked: a fork of a process with an engine's threads can hang.
    workers = min(jobs, max(len(missing), 1))
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        futures = {
            pool.submit(_attempt, tracker, sequence, folder): sequence.name for sequence in missing
        }
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except BrokenProcessPool:
                yield futures[future], "a worker process died; run again for what is missing"


def _attempt(tracker: Factory, sequence: Sequence, folder: Path | None) -> Run | str:
    """One sequence, saved; a tracker's error comes back as its text instead of ending the run."""
    try:
        run = follow(tracker, sequence)
    except DataError:
        raise  # the sequence is at fault, not the tracker
    except Exception as error:
        log.warning("%s failed: %s", sequence.name, error)
        if folder is not None:
            _write(folder / f"{sequence.name}_error.txt", traceback.format_exc())
        text = str(error) if isinstance(error, MixFormerError) else repr(error)
        return text or type(error).__name__
    if folder is not None:
        _save(folder, sequence.name, run)
    return run


def _report(
    sequences: list[Sequence], name: str, result: Run | str, convention: Convention
) -> SequenceReport:
    truth = next(one.truth for one in sequences if one.name == name)
    if isinstance(result, str):
        return SequenceReport(name, Figures(0.0, 0.0, 0.0, 0), 0, 0.0, error=result)
    figures = score_boxes(truth, result.boxes, convention)
    return SequenceReport(name, figures, len(truth) - 1, float(result.seconds[1:].sum()))


def _files(folder: Path, name: str) -> dict[str, Path]:
    return {
        "boxes": folder / f"{name}.txt",
        "scores": folder / f"{name}_score.txt",
        "seconds": folder / f"{name}_time.txt",
    }


def _save(folder: Path, name: str, run: Run) -> None:
    files = _files(folder, name)
    for kind, values in (("scores", run.scores), ("seconds", run.seconds)):
        _write(files[kind], "".join(f"{float(value)!r}\n" for value in values))
    # The boxes come last and whole: their file says that the sequence is done.
    part = files["boxes"].with_suffix(".part")
    try:
        write_truth(part, run.boxes)
        os.replace(part, files["boxes"])
    except OSError as error:
        raise OutputError(f"results cannot be written to {files['boxes']}: {error}") from error
    (folder / f"{name}_error.txt").unlink(missing_ok=True)


def _load(folder: Path, sequence: Sequence) -> Run | None:
    files = _files(folder, sequence.name)
    if not files["boxes"].is_file():
        return None
    try:
        boxes = read_truth(files["boxes"])
        scores, seconds = (np.loadtxt(files[kind], ndmin=1) for kind in ("scores", "seconds"))
    except (DataError, OSError, ValueError) as error:
        log.warning("%s: old results cannot be read (%s), run again", sequence.name, error)
        return None
    if not len(boxes) == len(scores) == len(seconds) == len(sequence):
        log.warning("%s: old results have another length, run again", sequence.name)
        return None
    return Run(boxes, scores, seconds)


def _make_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error}") from error
    return folder


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"results cannot be written to {file}: {error}") from error
