"""Workers: all that they started ends with them."""

from __future__ import annotations

import asyncio

import pytest

from mixformerv2.serve.pool import Worker

PIPE = asyncio.subprocess.PIPE


@pytest.mark.parametrize("leader", ["wait", "exit"])
def test_a_child_that_keeps_the_pipes_ends_with_its_worker(leader: str) -> None:
    async def run() -> bool:
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", f"sleep 600 & echo; {leader}"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
        )
        worker = Worker(process)
        assert process.stdout is not None
        await process.stdout.readline()
        while worker.alive and leader == "exit":
            await asyncio.sleep(0.01)
        async with asyncio.timeout(60):
            await worker.end()
        return worker._gone.done() and not worker._gone.cancelled()

    assert asyncio.run(run())
