"""Workers of a server: a process for each task, a spare one kept warm, all ended in time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

from ..errors import MixFormerError
from .limits import Limits
from .wire import LONGEST_LINE, pack

__all__ = ["Event", "Pool", "TaskError", "Worker"]

logger = logging.getLogger(__name__)

Event = tuple[dict[str, Any], bytes]

_PATIENCE = 5.0  # seconds that a process gets to be gone
_STATUS = {
    "TooLargeError": 413,
    "SourceError": 415,
    "Timeout": 422,
    "Crash": 422,
    "MemoryError": 413,
    "OSError": 507,
    "OutputError": 507,
}


class TaskError(MixFormerError):
    """A task of a worker went wrong.

    Attributes:
        kind: Name of the error in the worker.
        status: Of HTTP, for whoever sent the video.
    """

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.status = _STATUS.get(kind, 415)


class Worker:
    """One process and its pipes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._errors: bytes = b""
        # Done once the process is dead and nobody holds its pipes any more, no child of it either.
        self._gone = asyncio.create_task(self._watch())

    @classmethod
    async def start(cls, model: str, engine: str, threads: int | None) -> Worker:
        """A process that loads its engine and waits for a task."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "mixformerv2.serve.worker", model, engine, str(threads or "")),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
            start_new_session=True,  # Ctrl-C is for the server, which then ends its workers
        )
        return cls(process)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def send(self, message: dict[str, Any], payload: bytes = b"") -> None:
        """Tell the worker something; that it has ended already is no error."""
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError, RuntimeError):
            self._process.stdin.write(pack(message, payload))
            await self._process.stdin.drain()

    async def stop_on(self, event: asyncio.Event) -> None:
        """Tell the worker to stop its task once something has happened."""
        await event.wait()
        await self.send({"stop": True})

    async def events(self, *, stall: float, total: float) -> AsyncIterator[Event]:
        """What the worker says, to its end.

        Args:
            stall: Longest silence, in seconds.
            total: Longest time of all.

        Raises:
            TaskError: it says so, ends without a word, or takes too long.
        """
        assert self._process.stdout is not None
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            left = min(stall, began + total - loop.time())
            try:
                async with asyncio.timeout(max(0.0, left)):
                    line = await self._process.stdout.readline()
                    if not line:
                        break
                    event = json.loads(line)
                    length = event.pop("bytes", 0)
                    payload = await self._process.stdout.readexactly(length) if length else b""
            except TimeoutError:
                await self.end()
                raise TaskError(
                    "Timeout", f"nothing came out of this video for {left:.0f} s; it was given up"
                ) from None
            except (ValueError, asyncio.IncompleteReadError) as error:
                raise TaskError("Crash", "the worker broke off in the middle of a word") from error
            if event["event"] == "failed":
                raise TaskError(event["error"], event["sentence"])
            yield event, payload
        await asyncio.wait([self._gone], timeout=_PATIENCE)
        code = self._process.returncode
        if code != 0:
            logger.warning(
                "a worker ended with %s: %s", code, self._errors[-2000:].decode("utf-8", "replace")
            )
            raise TaskError("Crash", "reading this video crashed the decoder; it was given up")

    async def end(self) -> None:
        """Kill the process and all that it started, as far as they are still there."""
        if not self._gone.done():
            _kill_group(self._process)
            await asyncio.wait([self._gone], timeout=_PATIENCE)
        self._gone.cancel()
        # The only way to let go of pipes that nobody reads to their end.
        self._process._transport.close()  # type: ignore[attr-defined]

    async def _watch(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(4096):
            self._errors = (self._errors + data)[-4096:]
        await self._process.wait()


def _kill_group(process: asyncio.subprocess.Process) -> None:
    """A child that outlives its worker would hold the pipes, and asyncio wait for it for ever."""
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:  # Windows
            process.kill()


class Pool:
    """Hands out workers, a fixed number at a time.

    Args:
        limits: How many, and how long they may take.
        model: Bundle, as for `Tracker`.
        engine: As for `Tracker`.
        threads: As for `Tracker`.
    """

    def __init__(self, limits: Limits, model: str, engine: str, threads: int | None) -> None:
        self._limits = limits
        self._engine = (model, engine, threads)
        self._slots = asyncio.Semaphore(limits.workers)
        self._spare: asyncio.Task[Worker] | None = None
        self._choice: asyncio.Task[None] | None = None
        self._starting: set[asyncio.Task[Worker]] = set()
        self._all: set[Worker] = set()
        self._busy: set[Worker] = set()
        self._closed = False

    @property
    def busy(self) -> int:
        """Workers at a task."""
        return len(self._busy)

    def open(self) -> None:
        """Choose the engine and start the spare worker."""
        self._choice = asyncio.create_task(self._choose())

    async def _choose(self) -> None:
        """Settle what "auto" means once: it is measured, and all workers shall agree."""
        model, engine, threads = self._engine
        if engine == "auto":
            worker = await asyncio.shield(self._start())
            try:
                async for event, _ in self.run({"task": "choose"}, worker):
                    self._engine = (model, event["engine"], threads)
            except TaskError as error:
                logger.warning("the engine cannot be chosen: %s", error)
            finally:
                await asyncio.shield(self._end(worker))
        self._warm_up()

    def _warm_up(self) -> None:
        if self._spare is None and not self._closed:
            self._spare = self._start()

    def _start(self) -> asyncio.Task[Worker]:
        """A worker that is being started; who waits for it may be gone before it is there."""
        task = asyncio.create_task(Worker.start(*self._engine))
        self._starting.add(task)

        def started(task: asyncio.Task[Worker]) -> None:
            self._starting.discard(task)
            if not task.cancelled() and task.exception() is None:
                self._all.add(task.result())

        task.add_done_callback(started)
        return task

    async def _end(self, worker: Worker) -> None:
        await worker.end()
        self._all.discard(worker)

    @contextlib.asynccontextmanager
    async def worker(self, *, slot: bool = True) -> AsyncIterator[Worker]:
        """A worker for one task; it is ended when the block is left.

        Args:
            slot: Wait until one of the fixed number is free.
        """
        async with self._slots if slot else contextlib.nullcontext():
            worker = await self._take()
            self._busy.add(worker)
            try:
                yield worker
            finally:
                self._busy.discard(worker)
                await asyncio.shield(self._end(worker))

    async def _take(self) -> Worker:
        if self._choice is not None:
            await asyncio.wait([self._choice])
        spare, self._spare = self._spare, None
        worker = await asyncio.shield(spare) if spare is not None else None
        if worker is None or not worker.alive:
            worker = await asyncio.shield(self._start())
        self._warm_up()
        return worker

    async def run(self, task: dict[str, Any], worker: Worker) -> AsyncIterator[Event]:
        """Give a worker its task and pass on what it says.

        Raises:
            TaskError: see `Worker.events`.
        """
        await worker.send(task)
        limits = self._limits
        async for event in worker.events(stall=limits.stall_seconds, total=limits.run_seconds):
            yield event

    async def close(self) -> None:
        """End all workers."""
        self._closed = True
        if self._choice is not None:
            self._choice.cancel()
            await asyncio.wait([self._choice])
        self._spare = None
        await asyncio.gather(*self._starting, return_exceptions=True)
        await asyncio.gather(*(self._end(worker) for worker in list(self._all)))
