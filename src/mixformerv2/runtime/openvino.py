"""OpenVINO on the CPU: the faster engine where it is installed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError
from ._compiled import compiled_before, keep_compiled
from ._reports import import_openvino
from ._signals import unchanged_signal_stack
from .base import MEMORY_BATCH, EngineInfo, Memory, Pieces, StepOutput, answered, joined

__all__ = ["OpenVinoEngine", "faster_precision", "own_precision"]

CACHE = "MIXFORMERV2_CACHE"
"""Environment variable with a folder for compiled graphs, which halves the start."""

_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
_NAMES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}


class OpenVinoEngine:
    """Runs the two graphs of a bundle.

    What usually comes is compiled for its exact shapes: two templates and a whole search crop of
    one target at once; passes of two and of four targets, and the same of the first few other
    kinds of crop, such as the middle of a whole one, when they come. That is a tenth faster than
    one compilation for any shape, and OpenVINO rounds in other places there: boxes of int8 graphs
    were up to 2.5 pixels of the crop beside those of one target alone. All else shares the one
    for any shape, made when the first comes.

    Args:
        template: `template.onnx`.
        search: `search.onnx`.
        threads: OpenVINO's own choice, the physical cores, where None.
        reason: Why this engine was taken, for `info`.
        precision: "fp32", "bf16", or None for the precision that OpenVINO takes by itself;
            "int8" for graphs that say themselves what is int8, the rest in fp32.
        search_size: Side of a whole search crop, pixels.
        patch_size: Side of a token, pixels.

    Raises:
        EngineError: OpenVINO is not installed, or cannot compile a graph.
    """

    def __init__(
        self,
        template: Path,
        search: Path,
        threads: int | None = None,
        reason: str = "",
        precision: str | None = None,
        search_size: int | None = None,
        patch_size: int = 16,
    ) -> None:
        # Pinned threads of two processes land on the same cores while others idle.
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        if precision is not None:
            options["INFERENCE_PRECISION_HINT"] = _HINTS[precision]
        self._pieces = Pieces()
        self._side, self._twice = search_size, 2 * patch_size
        # What a tracker of one target needs is compiled now, not in its first frames.
        whole = search_size is not None
        before = _compiled_before((template, search), options) if whole else (None, None)
        self._template = _Graph(template, options, {"templates": (1, 2)}, before[0])
        crop = (1,) if search_size is None else (1, search_size, search_size)
        starts = {"search": crop, "memory": self._template.answer}
        self._search = _Graph(search, options, starts, before[1])
        taken = self._search.taken("INFERENCE_PRECISION_HINT").to_string()
        used = int(self._search.taken("INFERENCE_NUM_THREADS"))
        kind = "int8" if precision == "int8" else _NAMES.get(taken, taken)
        self.info = EngineInfo("openvino", kind, used, reason=reason)

    def encode_templates(self, templates: NDArray[np.uint8]) -> Memory:
        """Turn templates `[B, N, T, T, 3]`, BGR, into keys and values for `step`."""
        each = [self._template.run({"templates": one[None]})[0] for one in templates]
        return each[0] if len(each) == 1 else self.join(each)

    def join(self, memories: Sequence[Memory]) -> Memory:
        """Memories of several targets as that of a batch of them."""
        return np.concatenate(memories, axis=MEMORY_BATCH)

    def step(self, search: NDArray[np.uint8], memory: Memory) -> StepOutput:
        """Find the target in search crops `[B, S, S, 3]`, BGR."""
        # In bf16 OpenVINO answers anything for crops that are not the middle of a whole one.
        side, whole = search.shape[1], self._side
        if whole is not None and (side > whole or (whole - side) % self._twice):
            raise EngineError(
                f"OpenVINO refuses these crops, of {side} pixels: whole ones have {whole}, smaller "
                f"ones multiples of {self._twice} less; if config.json is not that of the graphs, "
                "`mixformerv2 export` writes both anew"
            )
        sizes = _passes(len(search))
        return joined(
            [
                answered(self._search.run({"search": crops, "memory": part}))
                for crops, part in self._pieces.of(search, memory, sizes)
            ]
        )


def _passes(count: int) -> list[int]:
    """Crops of each pass of a batch: fours, a two, a one."""
    return [4] * (count // 4) + [size for size in (2, 1) if count & size]


class _Graph:
    """One ONNX file, compiled for the shapes that come.

    Args:
        path: The file.
        options: Of the compilation.
        starts: How the shapes of the usual inputs start; the rest is fixed in the file, or any.
        before: The graph for the usual inputs as an earlier process compiled it, if one did.
    """

    _MOST = 3
    """Kinds of crop that get compilations of their own: each of those keeps its weights."""

    def __init__(
        self,
        path: Path,
        options: dict[str, Any],
        starts: dict[str, tuple[int, ...]],
        before: Any = None,
    ) -> None:
        self._path, self._options = path, options
        self._core = _core()
        self._usual = self._compile_usual(starts) if before is None else before
        self._shapes = {one.any_name: _dims(one) for one in self._usual.inputs}
        self._requests = {_key(self._shapes): self._usual.create_infer_request()}
        # What is given for one target. With int8 it must be all of one kind: one target that is
        # answered by another compilation than four of them gets another box.
        self._kinds = {_key(self._shapes): True}
        self._lock = threading.Lock()

    def _compile_usual(self, starts: dict[str, tuple[int, ...]]) -> Any:
        model = self._read()
        named = {name for one in model.inputs for name in one.names}
        if len(model.inputs) != len(starts) or not named >= set(starts):
            raise EngineError(
                f"{self._path} takes other inputs than {', '.join(starts)}: it is no graph by "
                "`mixformerv2 export`, which writes it anew"
            )
        shapes = {}
        for one in model.inputs:
            start = starts[one.any_name]
            dims = _dims(one)
            shapes[one.any_name] = (*start, *dims[len(start) :])
        compiled = self._compile(model, shapes)
        folder = os.environ.get(CACHE)
        if folder and all(size > 0 for shape in shapes.values() for size in shape):
            keep_compiled(self._core, Path(folder), self._path, self._options, compiled)
        return compiled

    @property
    def answer(self) -> tuple[int, ...]:
        """Shape of the first output for the usual inputs."""
        return _dims(self._usual.output(0))

    def taken(self, name: str) -> Any:
        """What OpenVINO made of an option."""
        return self._usual.get_property(name)

    def run(self, inputs: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """All outputs, in the order of the file."""
        try:
            # Inputs are read where they lie; outputs are copied, for the next run overwrites them:
            # that of another thread would do so before they are copied.
            with self._lock:
                request = self._request({name: value.shape for name, value in inputs.items()})
                outputs = request.infer(inputs, share_inputs=True, share_outputs=False)
        except RuntimeError as error:
            raise EngineError(
                "OpenVINO refuses these crops, perhaps because config.json is not that of the "
                f"graphs (`mixformerv2 export` writes both anew): {_line(error)}"
            ) from error
        return list(outputs.values())

    def _fits(self, shapes: dict[str, tuple[int, ...]]) -> bool:
        """Whether the file is for these shapes; OpenVINO would bend it to others."""
        return all(
            size in (-1, given)
            for one in self._read().inputs
            for size, given in zip_longest(_dims(one), shapes[one.any_name], fillvalue=0)
        )

    def _is_exact(self, shapes: dict[str, tuple[int, ...]]) -> bool:
        """Whether these shapes get a compilation of their own, whatever the number of targets."""
        kind = _key({name: _for_one(name, shape) for name, shape in shapes.items()})
        if kind not in self._kinds:
            room = sum(self._kinds.values()) < self._MOST
            self._kinds[kind] = room and self._fits(dict(kind))
        return self._kinds[kind]

    def _request(self, shapes: dict[str, tuple[int, ...]]) -> Any:
        """Of the compilation for these shapes, or of the one for any."""
        key = _key(shapes) if self._is_exact(shapes) else ()
        try:
            return self._requests.get(key) or self._make(key)
        except EngineError:
            if not key:
                raise
            return self._requests.get(()) or self._make(())  # which says why when it runs

    def _make(self, key: tuple[Any, ...]) -> Any:
        compiled = self._compile(self._read(), dict(key) or None)
        self._requests[key] = compiled.create_infer_request()
        return self._requests[key]

    def _read(self) -> Any:
        try:
            return self._core.read_model(self._path)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot read {self._path}: {_line(error)}") from error

    @unchanged_signal_stack()
    def _compile(self, model: Any, shapes: dict[str, tuple[int, ...]] | None) -> Any:
        try:
            if shapes is not None:
                model.reshape(shapes)
            return self._core.compile_model(model, "CPU", self._options)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot compile {self._path}: {_line(error)}") from error


def _compiled_before(graphs: tuple[Path, Path], options: dict[str, Any]) -> tuple[Any, Any]:
    """Both graphs from the cache folder, read side by side; None where they are not there."""
    folder = os.environ.get(CACHE)
    if not folder:
        return None, None
    core = _core()

    @unchanged_signal_stack()
    def read(graph: Path) -> Any:
        return compiled_before(core, Path(folder), graph, options)

    with ThreadPoolExecutor(2) as pool:
        template, search = pool.map(read, graphs)
    return template, search


def _dims(port: Any) -> tuple[int, ...]:
    """Shape of an input or output, -1 where it is any."""
    return tuple(d.get_length() if d.is_static else -1 for d in port.partial_shape)


def _for_one(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of an input as it is for one target."""
    axis = MEMORY_BATCH if name == "memory" else 0
    return (*shape[:axis], 1, *shape[axis + 1 :])


def _key(shapes: dict[str, tuple[int, ...]]) -> tuple[Any, ...]:
    """Shapes to look a request up by; `()` is the one for any shape."""
    return tuple(sorted(shapes.items()))


def own_precision() -> str:
    """The precision that OpenVINO takes by itself on this processor: "fp32", "bf16" or "fp16".

    Raises:
        EngineError: OpenVINO is not installed.
    """
    own = _core().get_property("CPU", "INFERENCE_PRECISION_HINT").to_string()
    return _NAMES.get(own, "fp32")


@lru_cache(maxsize=1)
@unchanged_signal_stack()
def faster_precision() -> tuple[str, str]:
    """The faster of the precision that OpenVINO takes by itself and fp32, and why.

    OpenVINO takes bf16 on every CPU that has such instructions. With matrix units (AMX) that is
    twice as fast as fp32, without them half as fast, so one product of S's size is timed in both.
    """
    core, own = _core(), own_precision()
    if own not in _HINTS or own == "fp32":
        return "fp32", "OpenVINO is installed and takes fp32 here"
    ratio = _product_time(core, "fp32") / _product_time(core, own)
    if ratio > 1.1:
        return own, f"OpenVINO is installed and takes {own} here, {ratio:.1f} times as fast as fp32"
    return "fp32", f"OpenVINO is installed; its own {own} has only {ratio:.1f} times fp32's speed"


def _product_time(core: Any, precision: str) -> float:
    """Seconds for a product of `[256, 768]` and `[768, 3072]`, the best of ten.

    By the processor's clock: on a busy machine the wall's says who was interrupted more.
    """
    ov = import_openvino()
    ops = ov.opset13
    given = ops.parameter([256, 768], np.float32)
    weights = ops.constant(np.full((768, 3072), 0.01, np.float32))
    model = ov.Model([ops.matmul(given, weights, False, False)], [given])
    options = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "INFERENCE_NUM_THREADS": 1}
    request = core.compile_model(model, "CPU", options).create_infer_request()
    x = np.ones((256, 768), np.float32)
    best = float("inf")
    for _ in range(10):
        start = time.process_time()
        request.infer([x], share_inputs=True)
        best = min(best, time.process_time() - start)
    return best


def _core() -> Any:
    try:
        ov = import_openvino()
    except Exception as error:  # half an installation can fail in any way
        raise EngineError(
            f"OpenVINO cannot be imported ({error}); pip install 'mixformerv2[openvino]'"
        ) from error
    return ov.Core()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
