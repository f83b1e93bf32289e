"""Uploads that stop before they are whole, at the level of the server's own protocol."""

from __future__ import annotations

import asyncio
import errno
import io
from collections.abc import Iterator

import pytest
from fastapi import Request

from mixformerv2.serve.limits import Limits
from mixformerv2.serve.refused import RefusedError
from mixformerv2.serve.uploads import receive

HEAD = b"\x00\x00\x00\x20ftypisom"


def upload(messages: list[dict[str, object]], limits: Limits, file: io.BytesIO) -> None:
    """A request of these ASGI messages; after the last one nothing comes any more."""
    coming: Iterator[dict[str, object]] = iter(messages)

    async def channel() -> dict[str, object]:
        for message in coming:
            return message
        return await asyncio.Future[dict[str, object]]()

    request = Request({"type": "http", "method": "POST", "headers": []}, channel)
    asyncio.run(receive(request, limits, file))


class FullDisk(io.BytesIO):
    """Takes no byte, neither when it is written nor when it is closed."""

    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_is_full_refuses_the_upload() -> None:
    with pytest.raises(RefusedError, match="is full; delete a job") as refused:
        upload([{"type": "http.request", "body": HEAD}], Limits(), FullDisk())
    assert refused.value.status == 507


@pytest.mark.parametrize(
    ("last", "sentence"),
    [([{"type": "http.disconnect"}], "broke off"), ([], "nothing came for")],
    ids=["hangs up", "falls silent"],
)
def test_what_stops_midway_is_refused_and_its_file_closed(
    last: list[dict[str, object]], sentence: str
) -> None:
    file = io.BytesIO()
    begun: dict[str, object] = {"type": "http.request", "body": HEAD, "more_body": True}
    with pytest.raises(RefusedError, match=sentence) as refused:
        upload([begun, *last], Limits(idle_seconds=0.05), file)
    assert refused.value.status == 408
    assert file.closed
