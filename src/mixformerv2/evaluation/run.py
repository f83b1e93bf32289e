"""One pass over the sequences of a benchmark: results as they end, resumed where they stopped.

With an output folder each sequence leaves the files of `results`. One in which the tracker raises,
or its process dies, leaves `NAME_error.txt` and counts with zeros; the rest goes on, and a second
run tries it again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ..batch.cluster import Cluster, Died, open_cluster
from ..errors import ConfigError, DataError, MixFormerError
from ..weights.files import make_folder
from .benchmarks import Sequence
from .catalog import BENCHMARKS, Benchmark, find_benchmark, read_benchmark
from .metrics import Convention, Counting, figures_of, frame_errors
from .report import Report, SequenceReport
from .results import Run, check_names, check_results, find_results, load_run, save_run, write_text
from .trackers import Factory, TrackerSpec

__all__ = ["Run", "evaluate", "follow", "measure", "results_folder"]

log = logging.getLogger(__name__)

Progress = Callable[[SequenceReport], None]
_Job = tuple[Factory, Sequence]

_TRIES = 2
"""A sequence on which so many workers died has failed."""
_AWAY = 5
"""So has one whose machines went away so often."""


class _Failed(NamedTuple):
    """Why a sequence failed: a sentence, and all that Python says."""

    text: str
    trace: str


def evaluate(
    tracker: Factory,
    root: str | Path,
    *,
    benchmark: str = "own",
    max_frames: int | Literal["benchmark"] | None = "benchmark",
    names: Iterable[str] | None = None,
    out: str | Path | None = None,
    jobs: int | None = 1,
    cluster: str = "local",
    address: str | None = None,
    convention: Convention | None = None,
    label: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Run a tracker over a benchmark and compare it with the truth.

    Args:
        tracker: Makes a tracker with `init(frame, box)` and `update(frame)`; called for each
            sequence. A `TrackerSpec`, or any function.
        root: Folder of sequences; see `benchmarks`.
        benchmark: A name of `catalog.BENCHMARKS`; `own` reads any layout.
        max_frames: Use at most so many frames of each, None for all; where it is not given as many
            as the benchmark has it: of `own` 300, of all others all.
        names: Only these sequences.
        out: Folder for the results of this very tracker; sequences already in it are not run again.
        jobs: Processes; with more than one the tracker must be a `TrackerSpec` or picklable, and
            speeds are those of processes that share the machine. All cores where None.
        cluster: "local", or "ray": its machines need the sequences and the tracker under the same
            paths; results are written here.
        address: Of the Ray cluster; one of this machine's own where None.
        convention: Which labelled frames count; the benchmark's own where not given.
        label: Name in the report.
        progress: Called with each sequence's report as it ends.

    Raises:
        DataError: the folder is not laid out as it should be.

    Example:
        >>> evaluate(TrackerSpec("still"), "sequences").mean.auc      # doctest: +SKIP
        0.336
    """
    if max_frames == "benchmark":
        max_frames = find_benchmark(benchmark).max_frames
    _check(max_frames, jobs)
    found = read_benchmark(benchmark, root, names)
    counting = found.benchmark.counting
    if convention is not None:
        counting = replace(counting, convention=convention)
    return measure(
        tracker,
        [one.first(max_frames) for one in found.sequences],
        benchmark=found.benchmark,
        counting=counting,
        max_frames=max_frames,
        out=out,
        jobs=jobs,
        cluster=cluster,
        address=address,
        label=label,
        remarks=found.remarks,
        progress=progress,
    )


def measure(
    tracker: Factory,
    sequences: list[Sequence],
    *,
    benchmark: Benchmark = BENCHMARKS["own"],
    counting: Counting | None = None,
    max_frames: int | None = None,
    out: str | Path | None = None,
    jobs: int | None = 1,
    cluster: str = "local",
    address: str | None = None,
    label: str | None = None,
    remarks: tuple[str, ...] = (),
    progress: Progress | None = None,
) -> Report:
    """`evaluate` for sequences that are already read, and cut to `max_frames`."""
    _check(max_frames, jobs)
    counting = counting or benchmark.counting
    if sequences:
        counting = replace(counting, origin=sequences[0].origin)
    folder = None if out is None else make_folder(Path(out))
    if folder is not None:
        check_names(one.name for one in sequences)
    by_name = {one.name: one for one in sequences}
    reports: dict[str, SequenceReport] = {}
    for name, result in _results(tracker, sequences, folder, jobs, cluster, address):
        reports[name] = _report(by_name[name], result, counting, benchmark.clipped)
        if progress is not None:
            progress(reports[name])
    if label is None:
        label = tracker.label if isinstance(tracker, TrackerSpec) else "tracker"
    if benchmark.name != "own" and any(one.uncut is not None for one in sequences):
        longest = max(len(one) for one in sequences)
        text = f"no more than the first {longest} frames of each sequence"
        remarks += (f"{text}: not to be called a result on {benchmark.title}",)
    is_run = not isinstance(tracker, TrackerSpec) or tracker.folder is None
    if is_run and (jobs != 1 or cluster != "local"):
        remarks += ("speeds are those of sequences that were tracked at once, on shared machines",)
    ordered = tuple(reports[one.name] for one in sequences)
    origin = sequences[0].origin_text if sequences else benchmark.origin
    return Report(
        label, counting, max_frames, ordered, benchmark.title, benchmark.pooled, origin, remarks
    )


def _check(max_frames: int | None, jobs: int | None) -> None:
    if max_frames is not None and max_frames < 2:
        raise ConfigError(f"max_frames must be at least 2, got {max_frames}")
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs must be at least 1, got {jobs}")


def follow(tracker: Factory, sequence: Sequence) -> Run:
    """Run a fresh tracker over one sequence; decoding is timed apart."""
    count = len(sequence)
    boxes, scores = np.zeros((count, 4)), np.ones(count)
    seconds, decode = np.zeros(count), np.zeros(count)
    follower = tracker()
    frames = iter(sequence.frames())
    for index in range(count):
        begin = time.perf_counter()
        frame = next(frames)
        decoded = time.perf_counter()
        if index == 0:
            follower.init(frame, sequence.box.xywh)
            boxes[0] = sequence.box
        else:
            answer = follower.update(frame)
            boxes[index], scores[index] = answer.box, answer.score
        seconds[index], decode[index] = time.perf_counter() - decoded, decoded - begin
    return Run(boxes, scores, seconds, decode)


def results_folder(
    out: Path, spec: TrackerSpec, root: Path, max_frames: int | None, **more: Any
) -> Path:
    """The folder of `out` for this very tracker on these sequences, made with its `run.json`.

    Its name ends in a hash of all that decides the boxes, so that a new bundle of the same name,
    another engine or another protocol never continues the old results. `more` is what else decides
    them: which benchmark the sequences of the root were read as, for one.
    """
    identity = {**spec.identity(), "root": str(root.resolve()), "max_frames": max_frames, **more}
    text = json.dumps(identity, indent=2, sort_keys=True)
    label = spec.label.replace(" ", "_")
    folder = make_folder(out / f"{label}-{hashlib.sha256(text.encode()).hexdigest()[:8]}")
    write_text(folder / "run.json", text + "\n")
    return folder


def _results(
    tracker: Factory,
    sequences: list[Sequence],
    folder: Path | None,
    jobs: int | None,
    cluster: str,
    address: str | None,
) -> Iterator[tuple[str, Run | str]]:
    """Each sequence's run, or why it failed, as it ends; those on disk first."""
    if isinstance(tracker, TrackerSpec) and tracker.folder is not None:
        check_results(tracker.folder, sequences)
        for sequence in sequences:
            yield sequence.name, _read(tracker.folder, sequence)
        return
    missing = []
    for sequence in sequences:
        done = None if folder is None else _load(folder, sequence)
        if done is None:
            missing.append(sequence)
        else:
            log.info("%s: results are there, not run again", sequence.name)
            yield sequence.name, done
    if cluster == "local" and jobs == 1:
        for sequence in missing:
            yield sequence.name, _kept(_attempt((tracker, sequence)), sequence, folder)
    elif missing:
        if isinstance(tracker, TrackerSpec):
            tracker = tracker.anywhere()
        workers = open_cluster(cluster, _attempt, jobs, address)
        try:
            yield from _by_workers(workers, tracker, missing, folder)
        finally:
            workers.close()


def _by_workers(
    workers: Cluster[_Job, Run | _Failed],
    tracker: Factory,
    sequences: list[Sequence],
    folder: Path | None,
) -> Iterator[tuple[str, Run | str]]:
    """Sequences as workers end them; one whose worker dies is given to another."""
    waiting = deque((tracker, sequence) for sequence in sequences)
    deaths: Counter[tuple[str, bool]] = Counter()
    running = 0
    while waiting or running:
        while waiting and workers.room > 0:
            workers.submit(waiting.popleft())
            running += 1
        if (ended := workers.next_done(1.0)) is None:
            continue
        running -= 1
        job, outcome = ended
        name = job[1].name
        if isinstance(outcome, Died):
            log.warning("%s: %s", name, outcome.why)
            deaths[name, outcome.blame] += 1
            if deaths[name, outcome.blame] < (_TRIES if outcome.blame else _AWAY):
                waiting.append(job)
                continue
            text = "the tracker ended its process; run it alone to see why"
            outcome = _Failed(text if outcome.blame else outcome.why, text)
        yield name, _kept(outcome, job[1], folder)


def _attempt(job: _Job) -> Run | _Failed:
    """One sequence; an error comes back as its text instead of ending the run."""
    tracker, sequence = job
    try:
        return follow(tracker, sequence).in_files_of(sequence)
    except Exception as error:
        text = str(error) if isinstance(error, MixFormerError) else repr(error)
        return _Failed(text or type(error).__name__, traceback.format_exc())


def _kept(outcome: Run | _Failed, sequence: Sequence, folder: Path | None) -> Run | str:
    """Write down what became of a sequence: here, so that workers need not see the folder."""
    if isinstance(outcome, _Failed):
        log.warning("%s failed: %s", sequence.name, outcome.text)
        if folder is not None:
            trace = outcome.trace.rstrip("\n")
            write_text(folder / f"{sequence.name}_error.txt", f"{trace}\n")
        return outcome.text
    if folder is not None:
        save_run(folder, sequence, outcome)
    return outcome


def _report(
    sequence: Sequence, result: Run | str, counting: Counting, clipped: bool
) -> SequenceReport:
    name, tags = sequence.name, (sequence.attributes, sequence.category)
    truth, absent = sequence.truth, sequence.absent
    visible = np.ones(len(sequence), bool) if absent is None else ~absent
    try:
        size = sequence.size if clipped and not isinstance(result, str) else None
    except DataError as error:
        result = str(error)
    if isinstance(result, str):
        # Every frame that counts is a miss of overlap and of distance, the given one not counted.
        rules = replace(counting, first=False)
        if rules.absent != "left-out":
            rules = replace(rules, absent="miss")
        errors = frame_errors(truth, np.full_like(truth, np.nan), rules, absent=absent)
        return SequenceReport(
            name, figures_of(errors), 0, 0.0, result, *tags, errors=errors, visible=visible
        )
    errors = frame_errors(truth, result.boxes, counting, absent=absent, size=size)
    seconds = float(np.nansum(result.seconds[1:]))
    return SequenceReport(
        name,
        figures_of(errors),
        len(sequence) - 1,
        seconds,
        None,
        *tags,
        errors=errors,
        run=result,
        visible=visible,
    )


def _load(folder: Path, sequence: Sequence) -> Run | None:
    if find_results(folder, sequence) is None:
        return None
    try:
        run = load_run(folder, sequence, ours=True)
        # To and from the origin of the files a number keeps all but its last digits.
        if not np.allclose(run.boxes[0], sequence.box, rtol=1e-9, atol=1e-6):
            raise DataError(f"they begin with the box {run.boxes[0]}, not with {sequence.box.xywh}")
    except DataError as error:
        log.warning("%s: old results are not used, it is run again: %s", sequence.name, error)
        return None
    return run


def _read(folder: Path, sequence: Sequence) -> Run | str:
    try:
        return load_run(folder, sequence)
    except DataError as error:
        return str(error)
