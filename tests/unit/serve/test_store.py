"""Several at one job, and a disk that is full, without a worker: what the store itself decides."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from starlette.websockets import WebSocket

from mixformerv2.box import Box
from mixformerv2.serve.folder import JobFolder, new_id, open_root
from mixformerv2.serve.job import Job
from mixformerv2.serve.limits import Limits
from mixformerv2.serve.pool import Event, Pool
from mixformerv2.serve.refused import RefusedError
from mixformerv2.serve.sockets import _until_closed
from mixformerv2.serve.store import Store
from mixformerv2.video.formats.journal import Journal, JournalWriter
from mixformerv2.video.formats.streams import open_text

COUNT = 12
BOX = Box(10.0, 12.0, 16.0, 20.0)


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that waits for things."""

    @functools.wraps(test)
    def run(*words: Any, **named: Any) -> None:
        asyncio.run(test(*words, **named))

    return run


class _Idle:
    """A worker that does nothing until it is told to stop, and takes its time to do so."""

    def __init__(self) -> None:
        self.stopped = asyncio.Event()

    async def stop_on(self, event: asyncio.Event) -> None:
        await event.wait()
        self.stopped.set()


class _Pool:
    def __init__(self) -> None:
        self.runs = 0

    @contextlib.asynccontextmanager
    async def worker(self, *, slot: bool = True) -> AsyncIterator[_Idle]:
        yield _Idle()

    async def run(self, task: dict[str, Any], worker: _Idle) -> AsyncIterator[Event]:
        self.runs += 1
        await worker.stopped.wait()
        await asyncio.sleep(0.02)  # the present frame
        yield {"event": "tracked", "stopped": True}, b""


def a_store(root: Path) -> tuple[Store, _Pool]:
    pool = _Pool()
    return Store(root, Limits(), cast(Pool, pool), []), pool


def a_job(root: Path, store: Store | None = None) -> Job:
    """One whose video was read, with a box."""
    job = Job(JobFolder(root, new_id()), "clip.mp4", status="ready")
    job.folder.make()
    job.video = {"width": 64, "height": 48, "fps": 25.0, "count": COUNT, "broken": []}
    (job.folder.file("times.bin")).write_bytes((np.arange(COUNT) / 25).tobytes())
    job.set_prompt(1, 0, BOX, 16)
    job.save()
    if store is not None:
        store.jobs[job.id] = job
    return job


@in_a_loop
async def test_tracking_that_is_asked_for_while_a_pause_is_on_its_way_begins_after_it(
    tmp_path: Path,
) -> None:
    store, pool = a_store(tmp_path)
    job = a_job(tmp_path, store)
    assert await store.track(job, backward=True)
    await asyncio.sleep(0.01)
    ended: list[bool] = []

    async def correct() -> None:
        await store.halt(job)
        ended.append(not job.running)  # who changes a box must find it so

    correcting = asyncio.create_task(correct())
    await asyncio.sleep(0)
    assert await store.track(job, backward=True)
    await correcting
    await asyncio.sleep(0.01)
    assert ended == [True]
    assert (pool.runs, job.running, job.wanted) == (2, True, True)
    await store.halt(job)
    assert not job.running


@in_a_loop
async def test_another_box_does_not_take_back_what_waits_for_the_video(tmp_path: Path) -> None:
    store, _ = a_store(tmp_path)
    job = a_job(tmp_path, store)
    job.status = "preparing"
    assert not job.public()["wanted"]
    assert await store.track(job, backward=True)
    await store.halt(job, boxes=True)
    job.set_prompt(2, 0, BOX, 16)
    assert job.public()["wanted"]
    await store.halt(job)  # a pause does
    assert not job.public()["wanted"]
    assert await store.track(job, backward=True)
    job.status = "tracking"  # there a box that changes ends it, as before
    await store.halt(job, boxes=True)
    assert not job.wanted


@in_a_loop
async def test_an_upload_whose_job_somebody_deletes_is_answered(tmp_path: Path) -> None:
    store, _ = a_store(tmp_path)
    folder = store.new_folder()
    adding = asyncio.create_task(store.add(folder, "clip.mp4"))
    await asyncio.sleep(0.01)
    await store.remove(store.jobs[folder.name])
    with pytest.raises(RefusedError, match="somebody deleted this job"):
        await asyncio.wait_for(adding, 5)
    assert not folder.path.exists()


@in_a_loop
async def test_whatever_a_listener_sends_is_no_end_of_it() -> None:
    messages: list[dict[str, Any]] = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive", "bytes": b"no text"},
        {"type": "websocket.receive", "text": "hello"},
        {"type": "websocket.disconnect", "code": 1000},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        pass

    socket = WebSocket({"type": "websocket"}, receive, send)
    await socket.accept()
    await _until_closed(socket)
    assert messages == []


def test_boxes_and_questions_need_no_room_for_rows(tmp_path: Path) -> None:
    job = a_job(tmp_path)
    assert job.public()["pending"] == COUNT
    job.set_prompt(1, 5, BOX, 16)
    job.remove_prompt(1, 0)
    assert not list(job.folder.path.glob("rows-*"))


def test_an_object_that_goes_takes_nothing_of_others_along(tmp_path: Path) -> None:
    job = a_job(tmp_path)
    job.set_prompt(2, 1, BOX, 16)
    kept = ["look-2-forward-1-1.bin", "look-2-forward-0-1.bin", "rows-12-forward.bin"]
    gone = ["look-1-forward-0-0.bin", "rows-1-forward.bin", "state-1-backward.bin"]
    for name in kept + gone:
        job.folder.file(name).touch()
    job.remove_object(1)
    there = {path.name for path in job.folder.path.glob("*.bin")} - {"times.bin"}
    assert there == set(kept)


def test_a_journal_is_never_seen_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = a_job(tmp_path)
    first = job.write_journal("test").read_bytes()
    end = JournalWriter.end

    def watched(self: JournalWriter, *words: Any, **named: Any) -> None:
        # A worker that draws the video may read at any moment.
        assert Journal(job.folder.file("results.jsonl")).length() == COUNT
        end(self, *words, **named)

    monkeypatch.setattr(JournalWriter, "end", watched)
    assert job.write_journal("test").read_bytes() == first


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
@in_a_loop
async def test_a_full_disk_is_said_of_a_journal_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = a_store(tmp_path)
    job = a_job(tmp_path, store)

    def full(self: JournalWriter, path: Path, header: Any) -> None:
        self.path, self.rows = path, 0
        self._file = open_text("/dev/full", buffering=1)

    monkeypatch.setattr(JournalWriter, "__init__", full)
    with pytest.raises(RefusedError, match="disk of the server is full; delete a job") as refusal:
        job.write_journal("test")
    assert refusal.value.status == 507
    assert str(tmp_path) not in str(refusal.value)
    assert store.render(job)
    assert job.task is not None
    await job.task
    assert (job.status, job.error) == ("ready", "the disk of the server is full; delete a job")


def test_a_file_that_is_called_as_the_lock_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("mine")
    open_root(tmp_path).close()
    assert (tmp_path / "lock").read_text() == "mine"
