"""Taking a video from a request: to disk piece by piece, given up as soon as it will not do."""

from __future__ import annotations

import asyncio
from typing import IO

from fastapi import Request
from starlette.requests import ClientDisconnect

from .limits import Limits
from .media import REFUSED, SNIFF_BYTES, looks_like_video
from .refused import RefusedError, writing

__all__ = ["receive", "shown_name", "too_large"]

_LONGEST_NAME = 120


async def receive(request: Request, limits: Limits, file: IO[bytes]) -> None:
    """Write the body of a request to a file.

    Raises:
        RefusedError: it is too large, too slow, broken off or no video, or the disk is full.
    """
    limit, idle = limits.upload_bytes, limits.idle_seconds
    head, written, checked = b"", 0, False
    chunks = request.stream().__aiter__()
    with writing(), file:
        while True:
            try:
                async with asyncio.timeout(idle):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                raise RefusedError(408, f"nothing came for {idle:.0f} s; send it again") from None
            except ClientDisconnect:
                # Nobody hears the answer; unanswered it would be a trace in the log each time.
                raise RefusedError(408, "the upload broke off; send it again") from None
            if chunk is None:
                break
            written += len(chunk)
            if written > limit:
                raise too_large(limits)
            if not checked:
                head += chunk[:SNIFF_BYTES]
                checked = len(head) >= SNIFF_BYTES
                if checked and not looks_like_video(head):
                    raise RefusedError(415, REFUSED)
            await asyncio.to_thread(file.write, chunk)
    if not written:
        raise RefusedError(415, "the body is empty; send the bytes of a video")
    if not looks_like_video(head):
        raise RefusedError(415, REFUSED)


def too_large(limits: Limits) -> RefusedError:
    """The answer to more bytes than are taken."""
    # As `--max-upload` and the page count them.
    size = max(1, round(limits.upload_bytes / (1 << 20)))
    return RefusedError(413, f"this server takes videos up to {size} MB; cut or shrink it")


def shown_name(name: str) -> str:
    """A name fit for people, reports and headers: its last part, nothing that is not printed."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    clean = "".join(c if c.isprintable() else "_" for c in last).strip(" .")
    return clean[:_LONGEST_NAME] or "video"
