"""Which engine and precision `engine="auto"` takes for a bundle on this machine, and why."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from ..errors import EngineError
from ..weights.bundle import INT8_NAMES, BundleConfig

__all__ = [
    "MAX_AUC_LOSS",
    "MAX_PARITY",
    "Choice",
    "choose",
    "int8_engine",
    "int8_instructions",
    "onnx_gpu",
    "visible_gpus",
    "why_not_int8",
]

MAX_PARITY = 0.01
"""Median distance of int8 and bf16 boxes from fp32, in parts of the crop, that `auto` accepts."""

MAX_AUC_LOSS = 0.005
"""Loss of AUC by int8 that `auto` accepts, where it was measured."""

_INT8_FLAGS = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp")
"""How Linux calls instructions that multiply 8-bit numbers and add them up in 32 bits. Without
them int8 is no faster, and products of some engines overflow."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What `auto` takes.

    Attributes:
        engine: As `load_engine` takes it.
        reason: One sentence.
        fallback: What is taken, with its reason, where this cannot be loaded after all.
    """

    engine: str
    reason: str
    fallback: Choice | None = None


def choose(config: BundleConfig) -> Choice:
    """The fastest form of a bundle that this machine supports and whose parity was checked.

    On a GPU that ONNX Runtime was installed for, its CUDA form; else as on a CPU.
    """
    gpu = onnx_gpu() if config.graphs else None
    if gpu is None:
        return _choose_cpu(config)
    return Choice("onnx-cuda", gpu, _choose_cpu(config))


def onnx_gpu(dev: str = "/dev") -> str | None:
    """Why ONNX Runtime can be expected to run on a GPU here; None where it cannot.

    Looks at files alone: importing it, or asking the driver, would cost every start on a CPU.
    """
    spec = find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        return None
    libraries = list((Path(spec.origin).parent / "capi").glob("*onnxruntime_providers_cuda*"))
    devices = _devices(dev)
    if not libraries or not devices or not visible_gpus(dev):
        return None
    return f"{devices[0]} is there, and ONNX Runtime was built for CUDA"


def visible_gpus(dev: str = "/dev") -> list[str]:
    """GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them; without the driver."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return [str(number) for number in range(len(_devices(dev)))]
    return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]


def _devices(dev: str) -> list[Path]:
    return sorted(Path(dev).glob("nvidia[0-9]*"))


def _choose_cpu(config: BundleConfig) -> Choice:
    """The fastest form on the processor.

    In this order: int8 where its graphs are there, were checked and the processor has
    instructions for it; else OpenVINO, in its own precision where that is faster than fp32 and was
    checked; else ONNX Runtime in fp32. OpenVINO comes before ONNX Runtime in both precisions.
    """
    if not config.graphs and find_spec("torch") is not None:
        return Choice("torch", "the bundle has no graphs")
    onnx = Choice("onnx", "OpenVINO is not installed")
    against = why_not_int8(config)
    openvino = find_spec("openvino") is not None
    if against is None:
        flag, info = int8_instructions(), config.graphs[INT8_NAMES[1]]
        checked = f"its boxes were found within {info.parity:.1%} of the crop"
        if info.auc_loss is not None:
            way = "lower" if info.auc_loss > 0 else "higher"
            checked += f", its AUC {abs(info.auc_loss):.4f} {way}"
        why = f"int8 is fastest on a processor with {flag}, and was checked: {checked}"
        return Choice(int8_engine(), why if openvino else f"{onnx.reason}; {why}", onnx)
    if not openvino:
        return Choice("onnx", f"{onnx.reason}; no int8: {against}")
    from .openvino import faster_precision

    try:
        precision, why = faster_precision()
    except EngineError as error:  # there, but broken
        return Choice("onnx", f"OpenVINO cannot be used: {error}")
    if precision == "bf16" and (not_half := _why_not_bf16(config)) is not None:
        precision, why = "fp32", f"OpenVINO is installed; no bf16: {not_half}"
    return Choice(f"openvino-{precision}", f"{why}; no int8: {against}", onnx)


def int8_engine() -> str:
    """Which engine `auto` takes for int8 graphs: OpenVINO's where it is installed."""
    return "openvino-int8" if find_spec("openvino") is not None else "onnx-int8"


def why_not_int8(config: BundleConfig) -> str | None:
    """Why `auto` leaves the int8 graphs alone; None where it may take them."""
    infos = [config.graphs.get(name) for name in INT8_NAMES]
    search = infos[1]
    if search is None or None in infos:
        return "the bundle has no int8 graphs"
    if not search.parity <= MAX_PARITY:
        return f"its boxes are {search.parity:.1%} of the crop beside those of fp32"
    if search.auc_loss is not None and not search.auc_loss <= MAX_AUC_LOSS:
        return f"it loses {search.auc_loss:.4f} of AUC, more than {MAX_AUC_LOSS:g}"
    if int8_instructions() is None:
        return "the processor has no instructions for it, or this system does not tell"
    return None


def _why_not_bf16(config: BundleConfig) -> str | None:
    """Why `auto` leaves bf16 alone where it is faster; None where it may take it."""
    search = config.graphs.get("search.onnx")
    if search is None or search.bf16_parity is None:
        return "it was not measured at export; export the bundle again on such a processor"
    if not search.bf16_parity <= MAX_PARITY:
        return f"its boxes are {search.bf16_parity:.1%} of the crop beside those of fp32"
    return None


@lru_cache(maxsize=1)
def int8_instructions(cpuinfo: str = "/proc/cpuinfo") -> str | None:
    """The instructions for products of 8-bit numbers that this processor has, as Linux says."""
    path = Path(cpuinfo)
    if platform.system() != "Linux" or not path.is_file():
        return None
    for line in path.read_text(errors="replace").splitlines():
        key, _, values = line.partition(":")
        if key.strip() in ("flags", "Features"):
            there = set(values.split())
            return next((flag for flag in _INT8_FLAGS if flag in there), None)
    return None
