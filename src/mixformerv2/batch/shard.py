"""What a worker does: the videos of one shard, published whole or not at all."""

from __future__ import annotations

import errno
import json
import logging
import os
import platform
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from .. import __version__
from ..box import Box
from ..errors import DataError, MixFormerError, OutputError, SourceError
from ..tracking import MultiTracker, StreamPool, Tracker
from ..tracking.crowd import Crowd, Start
from ..video.address import fetched
from ..video.formats.journal import JournalWriter, RunHeader, label_of
from ..video.source import open_source
from .plan import Plan, Settings, Video
from .tables import Tables

__all__ = ["DOING", "TRIES", "VIDEOS", "Job", "Report", "load_tracker", "run_shard"]

logger = logging.getLogger(__name__)

TRIES = 2
"""A video that failed so often is put into quarantine."""
VIDEOS = "videos.jsonl"
"""A line for each video of a shard: what became of it."""
DOING = "doing.json"
"""While a shard is in work: the videos that it is at. Tells whose fault a dead worker is."""

_MOST_NAMES = 10_000
"""Targets are named by their place in a list, which shall not be as long as an id is large."""

Stream = Callable[[], AbstractContextManager[Tracker]]
"""Gives a video its tracker."""


@dataclass(frozen=True, slots=True)
class Job:
    """A shard to be done.

    Attributes:
        folder: Output folder of the batch, seen by all workers.
        settings: What decides the results.
        shard: Number of the shard.
        token: Name of this try, different each time: two workers never share a folder.
        crashes: Videos by their place in the shard, with the ways in which a worker died on them.
        suspects: Places of videos one of which killed a worker that had several at once: they are
            done one after the other, so that the next death has a name.
    """

    folder: str
    settings: Settings
    shard: int
    token: str
    crashes: dict[int, tuple[str, ...]] = field(default_factory=dict)
    suspects: tuple[int, ...] = ()

    @property
    def work(self) -> Path:
        """Folder of this try."""
        return Path(self.folder) / "work" / f"{self.shard:06d}.{self.token}"

    @property
    def published(self) -> Path:
        """Folder of the finished shard."""
        return Path(self.folder) / "shards" / f"{self.shard:06d}"

    def journal(self, place: int) -> Path:
        """Where the results of a video are kept until they go into the tables."""
        return self.work / f"journal.{place:04d}.jsonl"


@dataclass(slots=True)
class Report:
    """What became of a video: a line of `videos.jsonl`.

    Attributes:
        video: As the manifest calls it.
        status: "done" or "quarantined".
        frames: In the results.
        broken: Frames among them that could not be decoded.
        states: For each target, how many frames it was in which state.
        tags: For each target that has some.
        cut_short: Why the video ended before its end, or None.
        reasons: Why it failed, each time.
    """

    video: str
    status: str = "done"
    frames: int = 0
    broken: int = 0
    states: dict[int, dict[str, int]] = field(default_factory=dict)
    tags: dict[int, dict[str, str]] = field(default_factory=dict)
    cut_short: str | None = None
    reasons: list[str] = field(default_factory=list)


def run_shard(job: Job) -> int:
    """Do a shard and publish it; the number of its videos.

    Videos that fail twice are put into quarantine, and the others go on.

    Raises:
        WeightsError, EngineError: The model cannot be loaded: no video would come out right.
        OutputError: Results cannot be written.
    """
    began = time.perf_counter()
    videos = Plan.load(job.folder).read(job.shard)
    if job.published.is_dir():
        return len(videos)
    stream = _streams(job.settings)
    try:
        job.work.mkdir(parents=True)
        with (
            Tables(job.work, job.settings.formats, job.settings.thin) as tables,
            (job.work / VIDEOS).open("w", encoding="utf-8") as lines,
        ):
            for place, report in enumerate(_reports(job, videos, stream)):
                if report.status == "done":
                    tables.add(report.video, place, job.journal(place), report.tags)
                    job.journal(place).unlink()
                lines.write(json.dumps(asdict(report)) + "\n")
        (job.work / DOING).unlink(missing_ok=True)
        timing = {"seconds": round(time.perf_counter() - began, 3), "worker": platform.node()}
        (job.work / "timing.json").write_text(json.dumps(timing) + "\n", encoding="utf-8")
        _publish(job.work, job.published)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{job.work} cannot be written: {error.strerror}") from error
    return len(videos)


def _reports(job: Job, videos: list[Video], stream: Stream) -> Iterator[Report]:
    """What becomes of the videos, in their order, whichever of them ends first."""
    doing = _Doing(job)

    def one(place: int) -> Report:
        with stream() as tracker:
            return _patiently(job, place, videos[place], tracker, doing)

    if job.settings.streams == 1:
        yield from map(one, range(len(videos)))
        return
    known = {place: one(place) for place in sorted(job.suspects)}
    with ThreadPoolExecutor(job.settings.streams, thread_name_prefix="stream") as pool:
        places = [place for place in range(len(videos)) if place not in known]
        try:
            rest = pool.map(one, places)
            for place in range(len(videos)):
                yield known[place] if place in known else next(rest)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@lru_cache(maxsize=1)
def _pool(model: str, inference: str, threads: int | None, streams: int) -> StreamPool:
    return StreamPool(model, inference, threads, max_batch=max(16, streams))


def _streams(settings: Settings) -> Stream:
    """What gives each video its tracker; the model is loaded once in a process.

    Raises:
        WeightsError, EngineError: It cannot be.
    """
    if settings.streams == 1:
        tracker = load_tracker(settings)
        return lambda: nullcontext(tracker)
    return _pool(settings.model, settings.inference, settings.threads, settings.streams).stream


@lru_cache(maxsize=1)
def _tracker(model: str, inference: str, threads: int | None) -> Tracker:
    return Tracker.for_video(model, inference, threads)


def load_tracker(settings: Settings) -> Tracker:
    """The model, loaded once in a process.

    Raises:
        WeightsError, EngineError: It cannot be.
    """
    return _tracker(settings.model, settings.inference, settings.threads)


def _patiently(job: Job, place: int, video: Video, tracker: Tracker, doing: _Doing) -> Report:
    """A video, tried again when it fails; the journal of one that is done is left behind."""
    reasons = list(job.crashes.get(place, ()))
    journal = job.journal(place)
    while len(reasons) < TRIES:
        journal.unlink(missing_ok=True)
        try:
            with doing.video(place), _time_limit(job, place, doing):
                report = _track(video, tracker, job.settings, journal)
        except OutputError:
            raise
        except MixFormerError as error:
            reasons.append(str(error))
        except Exception as error:  # a fault of ours shall not stop a million videos either
            logger.warning("%s: unexpected", video.name, exc_info=True)
            reasons.append(f"unexpected {type(error).__name__}: {error}")
        else:
            report.reasons = reasons
            return report
    journal.unlink(missing_ok=True)
    return Report(video.name, "quarantined", reasons=[" ".join(why.split()) for why in reasons])


class _Doing:
    """Says on disk which videos this worker is at: the driver reads it when the worker is dead."""

    def __init__(self, job: Job) -> None:
        self._work = job.work
        self._lock = threading.Lock()
        self._places: list[int] = []

    @contextmanager
    def video(self, place: int) -> Iterator[None]:
        """While a video is in work."""
        with self._lock:
            self._places.append(place)
            self._write()
        try:
            yield
        finally:
            with self._lock:
                self._places.remove(place)
                # Where no other is in work, the next one or the end of the shard follows at once.
                if self._places:
                    self._write()

    def blame(self, place: int, why: str) -> None:
        """Say of which video this worker is about to die; nothing is said after that."""
        self._lock.acquire()
        self._places = [place]
        self._write(why)

    def _write(self, why: str | None = None) -> None:
        *beside, place = self._places
        part = self._work / f"{DOING}.part"
        content = {"place": place, "beside": beside, "why": why}
        part.write_text(json.dumps(content), encoding="utf-8")
        os.replace(part, self._work / DOING)


@contextmanager
def _time_limit(job: Job, place: int, doing: _Doing) -> Iterator[None]:
    """Kill this very process when a video takes too long: a decoder that hangs hears nothing."""
    limit = job.settings.timeout
    if limit is None:
        yield
        return

    def end() -> None:
        doing.blame(place, f"it took longer than {limit:g} s")
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    timer = threading.Timer(limit, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _starts(video: Video) -> list[Start]:
    """The targets of a video; those without a number take the smallest free one."""
    faults = [target.fault for target in video.targets if target.fault is not None]
    if faults:
        raise DataError("; ".join(faults[:3]))
    taken = [target.id for target in video.targets if target.id is not None]
    if len(set(taken)) < len(taken):
        raise DataError(f"two targets have the same id in the manifest: {sorted(taken)}")
    free = (number for number in range(1, len(video.targets) + 1) if number not in set(taken))
    return [
        Start(next(free) if target.id is None else target.id, Box(*target.box or ()), target.start)
        for target in video.targets
    ]


def _track(video: Video, tracker: Tracker, settings: Settings, journal: Path) -> Report:
    """Follow all targets through a video, into a journal."""
    starts = _starts(video)
    crowd = Crowd(MultiTracker.around(tracker), starts)
    report = Report(video.name)
    states: dict[int, Counter[str]] = {one.id: Counter() for one in starts}
    first = min(one.start for one in starts)
    with (
        fetched(video.address) as place,
        open_source(place, start=first) as source,
        JournalWriter(journal, _header(video, starts, source, settings, tracker)) as out,
    ):
        for frame in source:
            for number, result in sorted(crowd.take(frame).items()):
                out.write(number, result)
                states[number][result.state] += 1
            report.frames += 1
            if report.frames == settings.max_frames:
                break
        report.broken, report.cut_short = source.broken, source.cut_short
        if crowd.waiting:
            raise SourceError(
                f"{video.name} was read up to frame {first + report.frames}, before the start of "
                f"{', '.join(f'target {one.id} ({one.start})' for one in crowd.waiting)}"
            )
        limited = report.frames == settings.max_frames and not source.used_up
        why = "limit" if limited else "source"
        out.end(why, frames=report.frames, broken=report.broken)
    report.states = {number: dict(sorted(found.items())) for number, found in states.items()}
    numbered = zip(starts, video.targets, strict=True)
    report.tags = {one.id: target.tags for one, target in numbered if target.tags}
    return report


def _labels(video: Video, starts: list[Start]) -> tuple[str, ...]:
    """What the targets are, by the manifest's tag `label`; none where nobody says."""
    numbered = zip(starts, video.targets, strict=True)
    names = {one.id: target.tags.get("label", "").strip() for one, target in numbered}
    names = {number: name for number, name in names.items() if name and name.isprintable()}
    if len(names) == len(starts) and len(set(names.values())) == 1:
        return (next(iter(names.values())),)
    last = max(names, default=0)
    if last > _MOST_NAMES:
        return ()
    return tuple(names.get(number) or label_of((), number) for number in range(1, last + 1))


def _header(
    video: Video, starts: list[Start], source: Any, settings: Settings, tracker: Tracker
) -> RunHeader:
    return RunHeader(
        source=video.name,
        width=source.size[0],
        height=source.size[1],
        fps=source.fps,
        model=settings.model,
        engine=f"{tracker.info.name} {tracker.info.precision}",
        tool=f"mixformerv2 {__version__}",
        labels=_labels(video, starts),
    )


def _publish(work: Path, target: Path) -> None:
    """Rename the finished folder. When another worker was first, its results stay."""
    # Names must not reach the disk before what they name. Only POSIX can say so of a folder.
    for path in (*work.iterdir(), *([work] if os.name == "posix" else [])):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    target.parent.mkdir(exist_ok=True)
    try:
        os.rename(work, target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        logger.info("%s is there already", target)
        shutil.rmtree(work, ignore_errors=True)
