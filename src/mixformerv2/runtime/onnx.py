"""ONNX Runtime on the CPU: the default, and the engine whose numbers are the same every time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError
from .base import MEMORY_BATCH, EngineInfo, Memory, Pieces, StepOutput, joined

__all__ = ["OnnxEngine"]

_PIECE = 4
"""Crops of one pass for each thread; see `Pieces`."""


class OnnxEngine:
    """Runs the two graphs of a bundle.

    Args:
        template: `template.onnx`.
        search: `search.onnx`.
        threads: Of one session; ONNX Runtime's own choice, the physical cores, where None.
        reason: Why this engine was taken, for `info`.
        precision: What the graphs are in, for `info`.

    Raises:
        EngineError: ONNX Runtime is not installed, or cannot load a graph.
    """

    def __init__(
        self,
        template: Path,
        search: Path,
        threads: int | None = None,
        reason: str = "",
        precision: str = "fp32",
    ) -> None:
        threads = threads or _share()
        self._template = _session(template, threads)
        self._search = _session(search, threads)
        self._pieces, self._most = Pieces(), _PIECE * (threads or os.cpu_count() or 1)
        self.info = EngineInfo("onnx", precision, threads, reason=reason)

    def encode_templates(self, templates: NDArray[np.uint8]) -> Memory:
        """Turn templates `[B, N, T, T, 3]`, BGR, into keys and values for `step`."""
        return _run(self._template, {"templates": templates})[0]

    def join(self, memories: Sequence[Memory]) -> Memory:
        """Memories of several targets as that of a batch of them."""
        return np.concatenate(memories, axis=MEMORY_BATCH)

    def step(self, search: NDArray[np.uint8], memory: Memory) -> StepOutput:
        """Find the target in search crops `[B, S, S, 3]`, BGR."""
        sizes = _even(len(search), self._most)
        return joined(
            [
                StepOutput(*_run(self._search, {"search": crops, "memory": part}))
                for crops, part in self._pieces.of(search, memory, sizes)
            ]
        )


def _even(count: int, most: int) -> list[int]:
    """A number as a sum of like numbers, none above `most`."""
    parts = -(-count // most)
    return [count // parts + (place < count % parts) for place in range(parts)]


def _session(path: Path, threads: int | None) -> Any:
    try:
        import onnxruntime as ort
    except Exception as error:  # half an installation can fail in any way
        raise EngineError(
            f"ONNX Runtime cannot be imported ({error}); pip install mixformerv2"
        ) from error
    options = ort.SessionOptions()
    options.log_severity_level = 3  # what it warns about, users can do nothing about
    options.inter_op_num_threads = 1
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has no common base of its own
        raise EngineError(f"ONNX Runtime cannot load {path}: {_line(error)}") from error


def _run(session: Any, inputs: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    try:
        return list(session.run(None, inputs))
    except Exception as error:
        raise EngineError(
            "ONNX Runtime refuses these crops, perhaps because config.json is not that of the "
            f"graphs (`mixformerv2 export` writes both anew): {_line(error)}"
        ) from error


def _share() -> int | None:
    """Threads for a process that may not use all cores; None leaves the choice to the engine.

    ONNX Runtime counts the cores of the machine and pins its threads to them, those that a
    container or `taskset` forbids as well.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    allowed = len(os.sched_getaffinity(0))
    return allowed if allowed < (os.cpu_count() or 1) else None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
