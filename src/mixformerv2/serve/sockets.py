"""The live half of the API: what happens to a job as it happens, and streams of pictures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse

from ..box import Box
from ..errors import BoxError
from .pool import Pool, TaskError, Worker
from .refused import RefusedError
from .store import Store

__all__ = ["router"]

router = APIRouter(prefix="/api")

_BEAT = 20.0  # seconds; proxies close what is silent for longer
_GOING_AWAY, _BAD_DATA, _TRY_LATER = 1001, 1003, 1013


@router.websocket("/jobs/{id}/events")
async def events(socket: WebSocket, id: str) -> None:  # noqa: A002
    """A job's changes, rows and progress, as JSON."""
    store: Store = socket.app.state.store
    try:
        job = store.get(id)
    except RefusedError as error:
        await _deny(socket, error)
        return
    queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    job.listeners.add(queue)
    await socket.accept()
    # Nothing is expected of the page; reading is how its end is noticed.
    reader = asyncio.create_task(_until_closed(socket))
    try:
        await socket.send_json({"type": "job", "job": job.public()})
        while not reader.done():
            getter = asyncio.create_task(queue.get())
            await asyncio.wait({getter, reader}, timeout=_BEAT, return_when=asyncio.FIRST_COMPLETED)
            if not getter.done():
                getter.cancel()
                if not reader.done():
                    job.folder.touch()
                    await socket.send_json({"type": "beat"})
                continue
            message = getter.result()
            if message is None:
                await socket.close(_GOING_AWAY)
                break
            await socket.send_json(message)
    except (WebSocketDisconnect, RuntimeError):
        pass  # the page has gone
    finally:
        job.listeners.discard(queue)
        reader.cancel()


async def _until_closed(socket: WebSocket) -> None:
    with contextlib.suppress(RuntimeError):
        while (await socket.receive())["type"] != "websocket.disconnect":
            pass  # text or bytes, nobody asked for it


async def _deny(socket: WebSocket, error: RefusedError) -> None:
    """Answer with a status of HTTP instead of a socket."""
    headers = {} if error.retry is None else {"Retry-After": str(error.retry)}
    response = JSONResponse({"detail": str(error)}, error.status, headers)
    await socket.send_denial_response(response)


@router.websocket("/live")
async def live(
    socket: WebSocket, source: Annotated[int | None, Query(ge=0, le=9999)] = None
) -> None:
    """A stream: JPEGs and boxes in, boxes out; or the pictures and boxes of a server's camera."""
    state = socket.app.state
    store, pool = state.store, state.pool
    given: str | None = None
    if source is not None:
        if source >= len(state.settings.live):
            await _deny(socket, RefusedError(404, f"there is no camera {source}"))
            return
        given = state.settings.live[source][1]
    if state.streams >= store.limits.streams:
        most = store.limits.streams
        await _deny(socket, RefusedError(429, f"{most} streams run already; try later", retry=10))
        return
    state.streams += 1
    try:
        await socket.accept()
        async with pool.worker(slot=False) as worker:
            await _Stream(socket, worker, pool, store, given).run()
    finally:
        state.streams -= 1


class _Stream:
    """One live stream between a socket and its worker."""

    def __init__(
        self, socket: WebSocket, worker: Worker, pool: Pool, store: Store, given: str | None
    ) -> None:
        self._socket = socket
        self._worker = worker
        self._pool = pool
        self._limits = store.limits
        self._given = given
        self._number = 0
        self._ready: float | None = None  # when the client was told to begin

    async def run(self) -> None:
        """Pass on in both directions until one side has enough."""
        there = asyncio.create_task(self._to_worker())
        back = asyncio.create_task(self._from_worker())
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            there.cancel()
            back.cancel()
            reasons = await asyncio.gather(there, back, return_exceptions=True)
        reason = next((r for r in reasons if isinstance(r, RefusedError | TaskError)), None)
        code = _GOING_AWAY if reason is None else _BAD_DATA
        # A reason may have 123 bytes.
        text = str(reason or "")[:120].encode()[:120].decode("utf-8", "ignore")
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await self._socket.close(code, text)

    async def _to_worker(self) -> None:
        idle = None if self._given is not None else self._limits.idle_seconds
        while True:
            try:
                async with asyncio.timeout(idle):
                    message = await self._socket.receive()
            except TimeoutError:
                assert idle is not None
                # Before that a client waits for the model as this side does.
                if self._ready is None or time.monotonic() - self._ready < idle:
                    continue
                raise RefusedError(408, f"nothing came for {idle:.0f} s") from None
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("bytes")
            if data:
                if self._given is not None:
                    raise RefusedError(422, "this stream shows a camera; it takes no pictures")
                if len(data) > self._limits.live_bytes:
                    raise RefusedError(413, "this picture has too many bytes; send smaller ones")
                await self._worker.send({"number": self._number}, data)
                self._number += 1
            elif message.get("text"):
                await self._worker.send(_order(message["text"]))

    async def _from_worker(self) -> None:
        task = {"task": "live", "source": self._given, "pixels": self._limits.pixels}
        await self._worker.send(task)
        stall = self._limits.stall_seconds + self._limits.idle_seconds
        events = self._worker.events(stall=stall, total=12 * 3600.0)
        async for event, picture in events:
            if picture:
                head = json.dumps(event).encode()
                await self._socket.send_bytes(struct.pack(">I", len(head)) + head + picture)
            else:
                await self._socket.send_json(event)
                if event.get("event") == "ready":
                    self._ready = time.monotonic()


def _order(text: str) -> dict[str, Any]:
    """What a client asks of a stream: `{"id": 1, "box": [x, y, w, h]}` or `{"id": 1}` to forget.

    Raises:
        RefusedError: anything else.
    """
    wrong = RefusedError(422, 'send {"id": 1, "box": [x, y, w, h]}, or {"id": 1} to forget it')
    try:
        content = json.loads(text)
        number = content.get("id", 1)
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 16:
            raise wrong
        if "box" not in content:
            return {"id": number}
        return {"id": number, "box": list(Box.parse(content["box"]))}
    except (ValueError, RecursionError, AttributeError, BoxError) as error:
        raise wrong from error
