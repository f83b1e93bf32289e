"""All jobs of a server: made, run, found again after a restart, swept when they are old."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import __version__
from .folder import JobFolder, new_id
from .job import Job
from .library import Library
from .limits import Limits
from .pool import Event, Pool, TaskError
from .refused import RefusedError, writing
from .tasks import has_attention
from .tracks import plan

__all__ = ["TOOL", "Store"]

logger = logging.getLogger(__name__)

TOOL = f"mixformerv2 {__version__}"
_SWEEP_EVERY = 60.0
_PATIENCE = 10.0  # seconds, until a worker that was asked to end is killed


class Store:
    """The jobs and what runs for them.

    Args:
        root: Folder of all jobs.
        limits: What is refused.
        pool: Workers.
        library: Videos of this machine that a job may be made of.
    """

    def __init__(self, root: Path, limits: Limits, pool: Pool, library: list[Path]) -> None:
        self.root = root
        self.limits = limits
        self._pool = pool
        self._library = Library(library)
        self.jobs: dict[str, Job] = {}
        self._looking = 0
        self._looks = asyncio.Semaphore(2)
        self._sweeper: asyncio.Task[None] | None = None

    # --- the server's life ---

    async def open(self) -> None:
        """Find the jobs of the last run; what it was at goes on."""
        for folder in JobFolder.all_in(self.root):
            job = Job.load(folder)
            if job is not None:
                self.jobs[job.id] = job
                self._take_up(job)
            elif folder.used() < time.time() - self.limits.keep_seconds:
                folder.remove()  # old, or an upload that never came to its end
            else:
                logger.warning("%s cannot be read and is left alone", folder.file("job.json"))
        self._sweeper = asyncio.create_task(self._sweep())

    def _take_up(self, job: Job) -> None:
        """Go on with a job of the last run."""
        job.drop_beyond_end()
        reason = self._library.withheld(job)
        if reason is not None:
            job.error, job.wanted = reason, False
            job.status = "ready" if job.prepared else "failed"
        elif not job.prepared and job.status != "failed":
            self._start(job, self._prepare(job))
        elif job.wanted:
            self._start(job, self._track(job))
        elif job.status != "failed":
            job.status = "ready"

    async def close(self) -> None:
        """End everything; what ran is taken up by the next `open`."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        tasks = [job.task for job in self.jobs.values() if job.task is not None]
        for job in self.jobs.values():
            for queue in list(job.listeners):
                queue.put_nowait(None)
            if job.running and job.wanted:
                job.try_to_save()
            job.stop.set()
        if tasks:
            await asyncio.wait(tasks, timeout=_PATIENCE)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(_SWEEP_EVERY, self.limits.keep_seconds))
            for job in list(self.jobs.values()):
                idle = time.time() - job.folder.used() > self.limits.keep_seconds
                if idle and not job.running and not job.listeners:
                    logger.info("job %s is old and is removed", job.id)
                    await self.remove(job)

    # --- jobs ---

    def all(self) -> list[Job]:
        """All jobs; those whose folder somebody has removed are forgotten."""
        return [job for job in list(self.jobs.values()) if self._is_there(job)]

    def _is_there(self, job: Job) -> bool:
        if job.folder.path.is_dir():
            return True
        logger.warning("the folder of job %s is gone, and so is the job", job.id)
        self.jobs.pop(job.id, None)
        job.wanted = False
        job.stop.set()
        job.tell({"type": "gone"})
        return False

    def get(self, name: str) -> Job:
        """A job by its id.

        Raises:
            RefusedError: there is none.
        """
        job = self.jobs.get(name)
        if job is None or not self._is_there(job):
            raise RefusedError(404, "there is no such job; perhaps it was old and removed")
        job.folder.touch()
        return job

    def new_folder(self) -> JobFolder:
        """A folder for one more job.

        Raises:
            RefusedError: there are too many, or they take too much room.
        """
        jobs = self.all()
        if len(jobs) >= self.limits.jobs:
            raise RefusedError(
                429, f"this server keeps {self.limits.jobs} jobs; delete one", retry=60
            )
        self._room()
        if sum(job.folder.size() for job in jobs) >= self.limits.folder_bytes:
            raise RefusedError(507, "the folder of jobs is full; delete one first")
        folder = JobFolder(self.root, new_id())
        with writing():
            folder.make()
        return folder

    async def add(self, folder: JobFolder, name: str, source: Path | None = None) -> Job:
        """Make a job of a folder with an upload, or of a video of the library.

        Raises:
            RefusedError: it is no video that is taken.
        """
        job = Job(folder, name, None if source is None else str(source))
        try:
            job.save()
        except RefusedError:
            folder.remove()
            raise
        self.jobs[job.id] = job
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        job.listeners.add(queue)
        self._start(job, self._prepare(job))
        try:
            while not job.video and job.status != "failed" and job.id in self.jobs:
                await queue.get()
        finally:
            job.listeners.discard(queue)
        if job.id not in self.jobs:
            raise RefusedError(422, "somebody deleted this job before its video was opened")
        if not job.video:
            await self.remove(job)
            raise RefusedError(job.answer, job.error or "this is no video")
        return job

    async def remove(self, job: Job) -> None:
        """Delete a job and all its files."""
        self.jobs.pop(job.id, None)
        await self.halt(job, preparing=True)
        job.folder.remove()
        job.tell({"type": "gone"})

    async def halt(self, job: Job, *, preparing: bool = False, boxes: bool = False) -> None:
        """End what runs for a job, after the present frame; a first read goes on unless asked.

        Other `boxes` do not take back that tracking shall begin when the video is read.
        """
        job.wanted = job.wanted and boxes and job.status == "preparing"
        # Again where somebody else's `track` came in between.
        while job.running and (preparing or job.status != "preparing"):
            assert job.task is not None
            job.stop.set()
            _, late = await asyncio.wait([job.task], timeout=_PATIENCE)
            if late:
                job.task.cancel()
                await asyncio.gather(job.task, return_exceptions=True)
            job.wanted = False

    async def track(self, job: Job, *, backward: bool) -> bool:
        """Track what is missing, after a halt that is on its way; False where nothing is.

        Raises:
            RefusedError: there is no box yet, the video is withheld, or too much is waiting.
        """
        if job.task is not None and job.stop.is_set():
            await asyncio.wait([job.task], timeout=_PATIENCE)
        if job.status == "failed":
            raise RefusedError(409, f"this video cannot be tracked: {job.error}")
        if not job.prompts:
            raise RefusedError(409, "draw a box first")
        if job.status == "rendering":
            raise RefusedError(409, "the annotated video is being made; wait for it or pause it")
        job.backward = backward
        if job.status == "preparing":
            job.wanted = True
            job.save()
            return True
        if job.running:
            return True
        if not plan(job.prompts, job.tracks, backward=backward):
            job.save()
            return False
        self._library.refuse_withheld(job)
        self._room()
        job.wanted = True
        job.save()
        self._start(job, self._track(job))
        return True

    def render(self, job: Job) -> bool:
        """Make the annotated video; False where it is there.

        Raises:
            RefusedError: there is nothing to draw or to read, or something else runs.
        """
        if job.rendered == job.revision:
            return False
        if job.status == "rendering":
            return True
        if job.running:
            raise RefusedError(409, "the job is busy; wait until it has finished, or pause it")
        if not job.prompts or not job.prepared:
            raise RefusedError(409, "there is nothing to draw yet; track something first")
        self._library.refuse_withheld(job)
        self._room()
        self._start(job, self._render(job))
        return True

    def _room(self) -> None:
        running = sum(job.running for job in self.jobs.values())
        if running >= self.limits.workers + self.limits.waiting:
            raise RefusedError(429, "too many jobs run and wait; try again soon", retry=10)

    async def look(
        self, job: Job, number: int, frame: int, *, attention: bool = False
    ) -> dict[str, Any]:
        """What the network sees and answers in a frame.

        Raises:
            RefusedError: there is no such frame, object or video, or too many ask at once.
        """
        if attention and not has_attention():
            raise RefusedError(409, "attention needs PyTorch: pip install 'mixformerv2[torch]'")
        self._library.refuse_withheld(job)
        task = {"task": "look", "attention": attention, **self._files(job)}
        task |= job.look_from(number, frame)
        if self._looking >= 8:
            raise RefusedError(429, "too many look into frames at once; try again", retry=2)
        self._looking += 1
        try:
            async with self._looks, self._pool.worker(slot=False) as worker:
                async for event, _ in self._pool.run(task, worker):
                    if event.pop("event") == "looked":
                        return event
        except TaskError as error:
            raise RefusedError(422, str(error)) from error
        finally:
            self._looking -= 1
        raise RefusedError(422, "the worker did not answer")

    # --- what runs ---

    def _start(self, job: Job, work: Any) -> None:
        job.stop.clear()
        job.error = None
        job.task = asyncio.create_task(self._guard(job, work))

    async def _guard(self, job: Job, work: Any) -> None:
        try:
            await work
            if job.status != "failed":
                job.status = "ready"
        except (TaskError, RefusedError) as error:
            job.error, job.wanted = str(error), False
            if job.prepared:
                job.status = "ready"
            else:
                job.status, job.answer, job.video = "failed", error.status, {}
        except asyncio.CancelledError:  # the worker did not end in time and was killed
            job.status = "ready" if job.prepared else job.status
            raise
        except Exception:
            logger.exception("job %s", job.id)
            job.status, job.error = ("ready" if job.prepared else "failed"), "unexpected error"
        finally:
            job.progress = None
            if job.id in self.jobs and self._is_there(job):
                job.try_to_save()
            job.tell()
        job.wanted = job.wanted and bool(job.prompts)
        if job.wanted and not job.stop.is_set() and job.status == "ready" and job.prepared:
            await self._guard(job, self._track(job))

    def _files(self, job: Job) -> dict[str, Any]:
        return {"folder": str(job.folder.path), "source": str(job.path)}

    async def _drive(
        self, job: Job, task: dict[str, Any], take: Callable[[dict[str, Any]], None]
    ) -> None:
        """Run a task in a worker; a stop that the job asks for reaches it."""
        async with self._pool.worker() as worker:
            if job.stop.is_set():
                return
            stopper = asyncio.create_task(worker.stop_on(job.stop))
            try:
                event: Event
                async for event in self._pool.run({**task, **self._files(job)}, worker):
                    take(event[0])
            finally:
                stopper.cancel()

    async def _prepare(self, job: Job) -> None:
        job.status = "preparing"

        def take(event: dict[str, Any]) -> None:
            kind = event.pop("event")
            if kind == "progress":
                job.progress = (event["done"], event["total"])
            elif kind in ("probed", "prepared"):
                job.video = event if kind == "prepared" else {**event, "count": None}
            job.drop_beyond_end()
            job.tell()

        task = {"task": "prepare", "limits": asdict(self.limits)}
        await self._drive(job, task, take)

    async def _track(self, job: Job) -> None:
        job.status = "waiting"
        job.tell()
        runs = plan(job.prompts, job.tracks, backward=job.backward)
        total, done = sum(run.frames for run in runs), 0
        stopped = False

        def take(event: dict[str, Any]) -> None:
            nonlocal done, stopped
            kind = event.pop("event")
            if kind == "engine":
                job.engine, job.status = event, "tracking"
            elif kind == "rows":
                done += len({row[1] for row in event["rows"]})
                job.progress = (min(done, total), total)
                job.tell_rows(event["rows"])
                return
            elif kind == "tracked":
                stopped = event["stopped"]
            job.tell()

        prompts = {n: {f: list(b) for f, b in g.items()} for n, g in job.prompts.items()}
        task = {"task": "track", "runs": [list(run) for run in runs], "prompts": prompts}
        try:
            await self._drive(job, task, take)
        finally:
            job.rendered = -1
        if not stopped and not job.stop.is_set():
            job.wanted = False

    async def _render(self, job: Job) -> None:
        job.status = "rendering"
        job.tell()
        revision, job.rendered = job.revision, -1
        async with job.lock:
            await asyncio.to_thread(job.write_journal, TOOL)

        def take(event: dict[str, Any]) -> None:
            if event["event"] == "progress":
                job.progress = (event["done"], event["total"])
            elif event["event"] == "rendered":
                job.rendered = revision
            job.tell()

        await self._drive(job, {"task": "render", "count": job.video["count"]}, take)
