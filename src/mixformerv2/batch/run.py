"""The driver of a batch: gives out shards, counts who died on what, and sums up."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ConfigError, EngineError, OutputError
from ..runtime.base import EngineInfo
from ..runtime.select import name_of
from ..weights.bundle import file_sha256, find_bundle, list_bundles
from .cluster import Cluster, Died, open_cluster
from .plan import Plan, Settings, make_plan
from .shard import DOING, Job, load_tracker, run_shard
from .summary import Totals, write_summary
from .tables import check_formats

__all__ = ["Progress", "run_batch"]

logger = logging.getLogger(__name__)

_LOST = 5  # tries of a shard whose workers die, before the others go on without it


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is: videos done and in all, shards in work, workers that died."""

    videos: int
    of: int
    running: int
    died: int


def run_batch(
    manifest: str,
    folder: str | Path,
    settings: Settings | None = None,
    *,
    engine: str = "local",
    workers: int | None = None,
    address: str | None = None,
    gpus_per_worker: float = 0.0,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Totals:
    """Track all videos of a manifest, and go on with what is missing when called again.

    Args:
        manifest: Path or address of a CSV, JSON lines or Parquet file; see `manifest`.
        folder: Output folder; with `engine="ray"` one that all machines of the cluster see.
        settings: What decides the results.
        engine: "local" for processes of this machine, or "ray".
        workers: Shards in work at once; where None all cores, or with a model on a GPU as many as
            share the GPUs.
        address: Of the Ray cluster.
        gpus_per_worker: Share of a GPU that each worker has, 0 to 1. Ray shows no GPU to workers
            that ask for none; local ones have one each where the model runs on GPUs.
        watch: Called now and then to show progress.

    Raises:
        ConfigError: Settings that cannot work, a model on a GPU that Ray would not show to workers,
            or a folder with results of something else.
        DataError: The manifest cannot be read.
        WeightsError, EngineError: The model or the cluster cannot be had.
        OutputError: Results cannot be written, or another batch is at work in the folder.

    Example:
        ```python
        totals = run_batch("videos.csv", "out", Settings(formats=("parquet",)))
        print(totals.done, totals.quarantined)
        ```
    """
    settings = settings or Settings()
    check_formats(settings.formats)
    bundle = find_bundle(settings.model)
    # A model that cannot be had is said before an hour of work; and "auto" is decided once.
    settings = replace(settings, model=_everywhere(settings.model))
    info = load_tracker(settings).info
    settings = replace(settings, inference=name_of(info))
    gpus = _gpus(engine, info, gpus_per_worker)
    with _alone(Path(folder)) as place:
        plan = make_plan(manifest, place, settings, file_sha256(bundle / "config.json"))
        missing = [n for n in range(plan.shards) if not _job(plan, n).published.is_dir()]
        shutil.rmtree(place / "work", ignore_errors=True)  # what killed workers left behind
        if missing:
            cluster = open_cluster(engine, run_shard, workers, address, gpus)
            try:
                _Driver(plan, cluster, watch).run(missing)
            finally:
                cluster.close()
        return write_summary(plan)


def _gpus(engine: str, info: EngineInfo, share: float) -> float:
    """Share of a GPU for each worker of this engine."""
    if engine == "ray":
        if info.device != "cpu" and not share:
            raise ConfigError(
                f"{info.name} runs on a GPU here, and Ray shows none to workers that ask for none; "
                "add --gpus-per-worker 1, or 0.25 for four to a GPU, or take --inference onnx"
            )
        return share
    # A model for each core of this machine would not fit into its GPU.
    return 0.0 if info.device == "cpu" else share or 1.0


def _everywhere(model: str) -> str:
    """A model's name or folder as workers in other folders find it."""
    return model if model in list_bundles() else str(Path(model).resolve())


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """Lock the folder against a second driver; the system unlocks it when this one dies."""
    try:
        import fcntl
    except ImportError:  # Windows: nobody watches there
        fcntl = None  # type: ignore[assignment]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise OutputError(
                    f"{folder}: another batch is at work in it; wait for it"
                ) from error
            except OSError as error:  # some network file systems know no locks
                logger.info("%s cannot be locked: %s", folder, error.strerror)
        yield folder.resolve()


def _job(plan: Plan, shard: int) -> Job:
    return Job(str(plan.folder), plan.settings, shard, secrets.token_hex(4))


class _Driver:
    def __init__(
        self, plan: Plan, cluster: Cluster[Job, int], watch: Callable[[Progress], None]
    ) -> None:
        self._plan = plan
        self._cluster = cluster
        self._watch = watch
        self._crashes = _Crashes(plan.folder / "crashes.jsonl")
        self._lost: Counter[int] = Counter()
        self._suspects: dict[int, set[int]] = {}
        self._died = self._running = 0

    def run(self, missing: list[int]) -> None:
        """Do the missing shards; those whose workers die time after time are left out."""
        waiting = deque(missing)
        size = self._plan.settings.shard_size
        videos = self._plan.videos - min(len(missing) * size, self._plan.videos)
        while waiting or self._running:
            while waiting and self._cluster.room > 0:
                shard = waiting.popleft()
                crashes = self._crashes.of(shard)
                alone = tuple(sorted(self._suspects.get(shard, ())))
                job = replace(_job(self._plan, shard), crashes=crashes, suspects=alone)
                self._cluster.submit(job)
                self._running += 1
            self._watch(Progress(videos, self._plan.videos, self._running, self._died))
            if (ended := self._cluster.next_done(1.0)) is None:
                continue
            self._running -= 1
            job, outcome = ended
            if isinstance(outcome, Died):
                if self._again(job, outcome):
                    waiting.append(job.shard)
            else:
                videos += outcome
        self._watch(Progress(self._plan.videos, self._plan.videos, 0, self._died))

    def _again(self, job: Job, died: Died) -> bool:
        """Note a death; whether the shard is to be tried again."""
        self._died += 1
        doing = _doing(job)
        shutil.rmtree(job.work, ignore_errors=True)
        if job.published.is_dir():  # it died after its work
            return True  # the next worker finds that, and ends at once
        if doing is None and died.blame:
            self._lost[job.shard] += 1
            logger.warning("shard %d: %s, before its first video", job.shard, died.why)
        elif doing is not None and died.blame:
            place, beside, why = doing
            if beside and why is None:  # it had several videos at once, and any may have done it
                self._suspects.setdefault(job.shard, set()).update((place, *beside))
                which = ", ".join(str(one + 1) for one in sorted((place, *beside)))
                logger.warning("shard %d, one of the videos %s: %s", job.shard, which, died.why)
            else:
                self._crashes.add(job.shard, place, why or died.why)
                logger.warning("shard %d, video %d: %s", job.shard, place + 1, why or died.why)
        else:
            self._lost[job.shard] += 1
            logger.warning("shard %d: %s", job.shard, died.why)
        if self._lost[job.shard] < _LOST:
            return True
        if doing is None and died.blame and self._died == sum(self._lost.values()):
            raise EngineError(
                f"workers die before their first video ({died.why}); does "
                "`mixformerv2 track` work on this machine, and is there memory for each?"
            )
        logger.warning("shard %d is left out after %d tries; run again", job.shard, _LOST)
        return False


def _doing(job: Job) -> tuple[int, list[int], str | None] | None:
    """The video that a dead worker began last, those beside it, and what it said about that."""
    try:
        content = json.loads((job.work / DOING).read_text("utf-8"))
        return int(content["place"]), [int(one) for one in content["beside"]], content["why"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


class _Crashes:
    """Which videos workers died on; on disk, for the next run counts as well."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[int, dict[int, list[str]]] = {}
        if path.is_file():
            for line in path.read_text("utf-8").splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):  # a last line cut off
                    one = json.loads(line)
                    self._keep(int(one["shard"]), int(one["place"]), str(one["why"]))

    def of(self, shard: int) -> dict[int, tuple[str, ...]]:
        """For each video of a shard, how its workers died."""
        return {place: tuple(whys) for place, whys in self._known.get(shard, {}).items()}

    def add(self, shard: int, place: int, why: str) -> None:
        """Count one more death."""
        self._keep(shard, place, why)
        line = json.dumps({"shard": shard, "place": place, "why": why})
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written: {error.strerror}") from error

    def _keep(self, shard: int, place: int, why: str) -> None:
        self._known.setdefault(shard, {}).setdefault(place, []).append(why)
