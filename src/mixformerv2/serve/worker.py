"""A worker: a process that does one task for the server and ends.

Only workers open what users send. A decoder that crashes, hangs or eats memory takes its worker
with it and nothing else. A worker loads its engine before it is asked for anything, so that a
spare one starts at once.
"""

from __future__ import annotations

import logging
import os
import select
import sys
from collections.abc import Callable
from typing import Any

from ..errors import MixFormerError
from .engines import Engines
from .folder import disk_trouble
from .wire import Messages, Wire

__all__ = ["main"]

_MEMORY = 3 << 30  # bytes of address space beyond what is mapped when the task begins
_FILE = 16 << 30


def main(arguments: list[str]) -> int:
    """Do one task, given as a JSON line on stdin; events go to stdout."""
    model, engine, threads = arguments
    # Libraries print to number 1 as they like: events get a channel of their own.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    wire = Wire(sys.stdin.buffer, out)
    engines = Engines(model, engine, int(threads) if threads else None)
    try:
        _warm_up(engines)
        read = wire.read()
        if read is None:
            return 0
        _limit_memory()
        task = read[0]
        _task(task.pop("task"))(task, wire, Messages(wire), engines)
    except MixFormerError as error:
        sentence = disk_trouble(error) or " ".join(str(error).split())
        wire.send("failed", error=type(error).__name__, sentence=sentence)
    except MemoryError:
        wire.send("failed", error="MemoryError", sentence="the video needs too much memory")
    except BrokenPipeError:
        return 1  # the server has gone
    except Exception as error:
        logging.exception("worker")
        sentence = disk_trouble(error) or f"{type(error).__name__}: {error}"
        wire.send("failed", error=type(error).__name__, sentence=sentence)
    return 0


def _task(name: str) -> Callable[[dict[str, Any], Wire, Messages, Engines], None]:
    from . import drawing, live, tasks

    known: dict[str, Callable[[dict[str, Any], Wire, Messages, Engines], None]] = {
        "choose": tasks.choose,
        "prepare": tasks.prepare,
        "track": tasks.track,
        "look": tasks.look,
        "render": drawing.render,
        "live": live.run,
    }
    return known[name]


def _warm_up(engines: Engines) -> None:
    from . import drawing, live, tasks  # noqa: F401

    # Whoever waits already may not need an engine.
    if not select.select([sys.stdin], [], [], 0)[0]:
        engines.get()


def _limit_memory() -> None:
    """No task may take the machine's memory or fill its disk."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with open("/proc/self/statm") if os.path.exists("/proc/self/statm") else open(os.devnull) as f:
        pages = f.read().split()
    if pages:
        limit = int(pages[0]) * resource.getpagesize() + _MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE, _FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    code = main(sys.argv[1:])
    # A thread still waits for the server; Python's own end would stumble over it.
    os._exit(code)
