"""Who does the work: processes of this machine, or a Ray cluster, behind two calls."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Generic, Protocol, TypeVar

from ..errors import ConfigError, EngineError
from ..runtime.choice import visible_gpus

__all__ = ["Cluster", "Died", "LocalCluster", "RayCluster", "open_cluster"]

logger = logging.getLogger(__name__)

J = TypeVar("J")
"""What a worker is given: a shard of a batch, a sequence of a benchmark."""
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
"""What it answers."""


@dataclass(frozen=True, slots=True)
class Died:
    """A worker that did not come back.

    Attributes:
        why: In a few words.
        blame: Whether the video it was at may have killed it; not so when its machine went away.
    """

    why: str
    blame: bool = True


class Cluster(Protocol[J, R_co]):
    """Runs jobs. Errors that a job raises come out of `next_done`."""

    @property
    def workers(self) -> int:
        """How many jobs are in work at once, as of now."""
        ...

    @property
    def room(self) -> int:
        """How many more jobs to submit now, so that no worker waits."""
        ...

    def submit(self, job: J) -> None:
        """Give out a job."""
        ...

    def next_done(self, seconds: float) -> tuple[J, R_co | Died] | None:
        """The next job that has ended, or None after so many seconds.

        Raises:
            MixFormerError: What the job raised.
        """
        ...

    def close(self) -> None:
        """Stop all workers now."""
        ...


def open_cluster(
    kind: str, task: Callable[[J], R], workers: int | None, address: str | None, gpus: float = 0.0
) -> Cluster[J, R]:
    """`"local"` or `"ray"`.

    Args:
        kind: Which.
        task: Does a job; a function of a module, for other processes look it up by its name.
        workers: How many. Where None as many as there is room for: a core for each, and its share
            of the GPUs where it has one.
        address: Of the Ray cluster; one of this machine's own where None.
        gpus: Share of a GPU that each worker has, 0 to 1; it sees that one alone.

    Raises:
        ConfigError: Another name, an address for local processes, or no such share.
        EngineError: Ray is not installed, or the cluster does not answer.
    """
    if not 0 <= gpus <= 1:
        raise ConfigError(
            "a worker uses one GPU or a part of it: --gpus-per-worker must be from 0 to 1, "
            f"got {gpus:g}"
        )
    if kind == "ray":
        return RayCluster(task, workers, address, gpus)
    if kind != "local":
        raise ConfigError(
            f"--engine says who does the work, local or ray, got {kind!r}; "
            "the engine of the network is --inference"
        )
    if address is not None:
        raise ConfigError(f"--address {address} is for --engine ray")
    devices = visible_gpus() if gpus else []
    if workers is None:
        workers = _shares(len(devices), gpus) if gpus else _cores()
    return LocalCluster(task, workers, devices)


def _shares(devices: float, gpus: float) -> int:
    """Workers that so many GPUs have room for; one where nothing is known of them."""
    return max(1, int(devices / gpus + 1e-6))  # 0.3 / 0.1 is a little less than 3


class LocalCluster(Generic[J, R]):
    """Processes of this machine.

    Each has a pool of its own: Python ends a whole pool when one of its processes dies, and all
    others would lose the jobs that they are at.

    Attributes:
        workers: How many there are.
        devices: GPUs as `CUDA_VISIBLE_DEVICES` names them; each worker sees one, in turns.
    """

    def __init__(self, task: Callable[[J], R], workers: int, devices: Sequence[str] = ()) -> None:
        if workers < 1:
            raise ConfigError(f"at least 1 worker is needed, got {workers}")
        self.workers = workers
        self.devices = devices
        self._task = task
        self._pools: dict[int, ProcessPoolExecutor] = {}
        self._free = list(range(workers))
        self._running: dict[Future[R], tuple[int, J]] = {}

    @property
    def room(self) -> int:
        return len(self._free)

    def submit(self, job: J) -> None:
        slot = self._free.pop()
        if slot not in self._pools:
            # Spawned, not forked: a fork of a process with an engine's threads can hang.
            context = multiprocessing.get_context("spawn")
            device = self.devices[slot % len(self.devices)] if self.devices else None
            self._pools[slot] = ProcessPoolExecutor(1, context, _begin, (device,))
        self._running[self._pools[slot].submit(self._task, job)] = (slot, job)

    def next_done(self, seconds: float) -> tuple[J, R | Died] | None:
        done, _ = wait(self._running, timeout=seconds, return_when=FIRST_COMPLETED)
        if not done:
            return None
        future = done.pop()
        slot, job = self._running.pop(future)
        self._free.append(slot)
        try:
            return job, future.result()
        except BrokenProcessPool:
            self._pools.pop(slot).shutdown(wait=False)
            return job, Died("its worker process died: killed, out of memory, or a crash in it")
        except MemoryError as error:  # outside of a video, so that nothing else will catch it
            self._pools.pop(slot).shutdown(wait=False)
            return job, Died(_starved(error))

    def close(self) -> None:
        for pool in self._pools.values():
            # No public way ends a pool in the middle of a task before Python 3.14.
            for process in list((getattr(pool, "_processes", None) or {}).values()):
                process.kill()
            pool.shutdown(wait=True, cancel_futures=True)
        self._pools.clear()


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin(device: str | None) -> None:
    """In a worker: see one GPU, and end with the driver. Ctrl-C is the driver's to hear."""
    import signal

    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()


def _watch(parent: int) -> None:
    connection.wait([parent])
    os._exit(1)


class RayCluster(Generic[J, R]):
    """A Ray cluster: each job is a task of one CPU, retried by us and not by Ray."""

    def __init__(
        self, task: Callable[[J], R], workers: int | None, address: str | None, gpus: float = 0.0
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise EngineError("--engine ray needs Ray: pip install 'ray[default]'") from error
        self._ray: Any = ray
        self._limit = workers
        self._gpus = gpus
        try:
            # Ray's own messages on every start are not for users of this command.
            ray.init(
                address=address,
                num_cpus=workers if address is None else None,
                log_to_driver=False,
                logging_level="error",
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            where = address or "a local Ray"
            raise EngineError(f"{where} does not answer: {_line(error)}") from error
        # A task that died is not started again by Ray: only we know what it was at.
        options = {"num_cpus": 1, "num_gpus": gpus, "max_retries": 0}
        self._remote: Any = ray.remote(task).options(**options)
        self._running: dict[Any, J] = {}
        if gpus and not ray.cluster_resources().get("GPU"):
            logger.warning("the Ray cluster has no GPU yet; work begins when one is there")

    @property
    def workers(self) -> int:
        there = self._ray.cluster_resources()
        most = int(there.get("CPU", 0))
        if self._gpus:
            most = min(most, _shares(there.get("GPU", 0), self._gpus))
        return max(1, min(most, self._limit or most))

    @property
    def room(self) -> int:
        # Some more than workers, so that none waits for the driver; Ray keeps them in a queue.
        ahead = 0 if self._limit else 4 + self.workers // 4
        return max(0, self.workers + ahead - len(self._running))

    def submit(self, job: J) -> None:
        self._running[self._remote.remote(job)] = job

    def next_done(self, seconds: float) -> tuple[J, R | Died] | None:
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        if not done:
            return None
        job = self._running.pop(done[0])
        lost = self._ray.exceptions
        try:
            return job, self._ray.get(done[0])
        except lost.RayTaskError as error:
            cause = error.as_instanceof_cause()
            if isinstance(cause, MemoryError):
                return job, Died(_starved(error.cause))
            raise cause from error
        except (lost.OutOfMemoryError, lost.WorkerCrashedError) as error:
            return job, Died(_line(error))
        except lost.RayError as error:  # its node died, or the network
            return job, Died(_line(error), blame=False)

    def close(self) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()


def _starved(error: BaseException) -> str:
    return f"its worker was short of memory: {_line(error)}"


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
