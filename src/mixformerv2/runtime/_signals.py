"""Keeps a thread's signal stack where it was while a library is loaded."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["signal_stack", "unchanged_signal_stack"]


class _Stack(ctypes.Structure):
    """`stack_t` of Linux's <signal.h>."""

    _fields_ = (
        ("start", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


def signal_stack() -> tuple[int | None, int, int]:
    """Start, flags and size of this thread's alternative signal stack; flags 2 means none."""
    stack = _Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    return stack.start, stack.flags, stack.size


@contextmanager
def unchanged_signal_stack() -> Iterator[None]:
    """Put this thread's alternative signal stack back at the end.

    OpenVINO's CPU plugin gives a stack of its own to the thread that loads it, and frees it with
    the plugin, in whichever thread that happens. The next Ctrl-C would then kill the process
    instead of reaching Python's handler.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    start, flags, size = signal_stack()
    try:
        yield
    finally:
        before = _Stack(start, flags, size)
        ctypes.CDLL(None).sigaltstack(ctypes.byref(before), None)
