"""ONNX Runtime on the CPU: the default, and the engine whose numbers are the same every time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError
from .base import MEMORY_BATCH, EngineInfo, Memory, Pieces, StepOutput, answered, joined

__all__ = ["OnnxEngine", "providers_for"]

_PIECE = 4
"""Crops of one pass for each thread; see `Pieces`."""
_GPU_PIECE = 256

_PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
}
"""For each device, who runs a graph, and who what the one before it cannot."""
_FEW = 2
"""Cores up to which threads that wait awake for their next work are in others' way: of two, one is
gone, and `track` takes 15 to 20 % longer; alone, the network is 1.4 times as fast with them."""
_OPTIONS = {"CUDAExecutionProvider": {"use_tf32": "0"}}
"""TF32 would round the factors of each product to ten bits: fp32 shall mean fp32."""


class OnnxEngine:
    """Runs the two graphs of a bundle.

    Args:
        template: `template.onnx`.
        search: `search.onnx`.
        threads: Of one session; ONNX Runtime's own choice, the physical cores, where None.
        reason: Why this engine was taken, for `info`.
        precision: What the graphs are in, for `info`.
        device: "cpu", "cuda" or "tensorrt".
        alone: Whether nothing else wants the cores while it works; see `load_engine`.

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
        device: str = "cpu",
        alone: bool = True,
    ) -> None:
        threads = threads or _share()
        self._template = _session(template, threads, device, alone)
        self._search = _session(search, threads, device, alone)
        # What keeps a CPU's cache from overflowing would only leave a GPU idle.
        most = _PIECE * (threads or os.cpu_count() or 1) if device == "cpu" else _GPU_PIECE
        self._pieces, self._most = Pieces(), most
        self.info = EngineInfo("onnx", precision, threads, device, reason)

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
                answered(_run(self._search, {"search": crops, "memory": part}))
                for crops, part in self._pieces.of(search, memory, sizes)
            ]
        )


def _even(count: int, most: int) -> list[int]:
    """A number as a sum of like numbers, none above `most`."""
    parts = -(-count // most)
    return [count // parts + (place < count % parts) for place in range(parts)]


def providers_for(device: str, available: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """ONNX Runtime's providers for a device, with their options.

    Args:
        device: "cpu", "cuda" or "tensorrt".
        available: What `onnxruntime.get_available_providers()` says.

    Raises:
        EngineError: the first of them is not part of this ONNX Runtime.
    """
    wanted = _PROVIDERS[device]
    if wanted[0] not in available:
        raise EngineError(
            f"this ONNX Runtime has no {wanted[0]} (it has {', '.join(available)}); "
            "pip uninstall onnxruntime, then pip install onnxruntime-gpu"
        )
    return [(name, _OPTIONS.get(name, {})) for name in wanted if name in available]


def _session(path: Path, threads: int | None, device: str, alone: bool) -> Any:
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
    if not alone and _cores() <= _FEW:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = providers_for(device, ort.get_available_providers())
    try:
        session = ort.InferenceSession(path, options, providers=providers)
    except Exception as error:  # ONNX Runtime has no common base of its own
        raise EngineError(f"ONNX Runtime cannot load {path}: {_line(error)}") from error
    # Where a library or the driver is missing, it takes the next provider and only logs that.
    if session.get_providers()[0] != providers[0][0]:
        raise EngineError(
            f"ONNX Runtime cannot start {providers[0][0]} here, and took "
            f"{session.get_providers()[0]}; are the GPU's driver and libraries installed?"
        )
    return session


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
    allowed = _cores()
    return allowed if allowed < (os.cpu_count() or 1) else None


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
