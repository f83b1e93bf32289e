"""Who does the work: processes of this machine, or a Ray cluster, behind two calls."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, Generic, Protocol, TypeVar

from ..errors import ConfigError, EngineError

__all__ = ["Cluster", "Died", "LocalCluster", "RayCluster", "open_cluster"]

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
    kind: str, task: Callable[[J], R], workers: int | None, address: str | None
) -> Cluster[J, R]:
    """`"local"` or `"ray"`.

    Args:
        kind: Which.
        task: Does a job; a function of a module, for other processes look it up by its name.
        workers: How many; all cores, or as many as the Ray cluster has, where None.
        address: Of the Ray cluster; one of this machine's own where None.

    Raises:
        ConfigError: Another name, or an address for local processes.
        EngineError: Ray is not installed, or the cluster does not answer.
    """
    if kind == "ray":
        return RayCluster(task, workers, address)
    if kind != "local":
        raise ConfigError(
            f"--engine says who does the work, local or ray, got {kind!r}; "
            "the engine of the network is --inference"
        )
    if address is not None:
        raise ConfigError(f"--address {address} is for --engine ray")
    return LocalCluster(task, workers or _cores())


class LocalCluster(Generic[J, R]):
    """Processes of this machine.

    Each has a pool of its own: Python ends a whole pool when one of its processes dies, and all
    others would lose the jobs that they are at.
    """

    def __init__(self, task: Callable[[J], R], workers: int) -> None:
        if workers < 1:
            raise ConfigError(f"at least 1 worker is needed, got {workers}")
        self.workers = workers
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
            self._pools[slot] = ProcessPoolExecutor(1, context, initializer=_die_with_parent)
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


def _die_with_parent() -> None:
    """In a worker: end with the driver, however that ends. Ctrl-C is the driver's to hear."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()


def _watch(parent: int) -> None:
    connection.wait([parent])
    os._exit(1)


class RayCluster(Generic[J, R]):
    """A Ray cluster: each job is a task of one CPU, retried by us and not by Ray."""

    def __init__(self, task: Callable[[J], R], workers: int | None, address: str | None) -> None:
        try:
            import ray
        except ImportError as error:
            raise EngineError("--engine ray needs Ray: pip install 'ray[default]'") from error
        self._ray: Any = ray
        self._limit = workers
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
        self._remote: Any = ray.remote(task).options(num_cpus=1, max_retries=0)
        self._running: dict[Any, J] = {}

    @property
    def workers(self) -> int:
        cores = int(self._ray.cluster_resources().get("CPU", 0))
        return max(1, min(cores, self._limit or cores))

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
            raise error.as_instanceof_cause() from error
        except (lost.OutOfMemoryError, lost.WorkerCrashedError) as error:
            return job, Died(_line(error))
        except lost.RayError as error:  # its node died, or the network
            return job, Died(_line(error), blame=False)

    def close(self) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
