"""Uploads that stop before they are whole, at the level of the server's own protocol."""

from __future__ import annotations

import asyncio
import errno
import inspect
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import Request

from mixformerv2.cli import serve
from mixformerv2.serve.app import create_app
from mixformerv2.serve.limits import Limits
from mixformerv2.serve.refused import RefusedError
from mixformerv2.serve.settings import Settings
from mixformerv2.serve.uploads import receive, too_large

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


def test_what_is_too_large_is_said_in_the_megabytes_of_the_option() -> None:
    """100 of `--max-upload` are 100 on the page and in the answer."""
    assert "up to 100 MB" in str(too_large(Limits(upload_bytes=100 << 20)))
    assert "up to 1024 MB" in str(too_large(Limits()))


def test_the_description_of_the_api_calls_the_usual_port() -> None:
    port = inspect.signature(serve.run).parameters["port"].default
    text = json.dumps(create_app(Settings(Path("nowhere"))).openapi())
    assert set(re.findall(r"127\.0\.0\.1:(\d+)", text)) == {str(port)}


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
