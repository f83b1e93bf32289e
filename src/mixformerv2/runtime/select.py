"""Which engine runs a bundle, and why."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

from ..errors import ConfigError, EngineError, WeightsError
from ..weights.bundle import BundleConfig, file_sha256, find_bundle, read_config
from .base import Engine

__all__ = ["ENGINES", "load_engine"]

_logger = logging.getLogger(__name__)

ENGINES = ("auto", "onnx", "openvino", "openvino-fp32", "openvino-bf16", "torch")
"""What `engine` may be."""


def load_engine(
    bundle: str | Path, engine: str = "auto", threads: int | None = None
) -> tuple[Engine, BundleConfig]:
    """Load a bundle into an engine.

    - `"auto"`: OpenVINO where it is installed, in the faster of fp32 and the precision that it
      takes by itself; else ONNX Runtime. PyTorch for a bundle without graphs.
    - `"onnx"`: ONNX Runtime on the CPU in fp32, the same numbers every time.
    - `"openvino"`: OpenVINO in the precision that it takes by itself, bf16 on some CPUs.
    - `"openvino-fp32"`, `"openvino-bf16"`: OpenVINO in that precision.
    - `"torch"`: PyTorch in fp32, on CUDA where there is one.

    Args:
        bundle: Name of a shipped bundle, or a bundle folder.
        engine: One of those.
        threads: Threads of the engine; its own choice where None.

    Raises:
        WeightsError: no such bundle, or one whose files do not belong together.
        EngineError: the engine is not installed, or refuses the graphs.
        ConfigError: an unknown engine, or fewer than one thread.
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    if threads is not None and (
        isinstance(threads, bool) or not isinstance(threads, int) or threads < 1
    ):
        raise ConfigError(f"threads must be a whole number from 1, or None, got {threads!r}")
    folder = find_bundle(bundle)
    config = read_config(folder)
    if engine == "auto":
        loaded = _auto(folder, config, threads)
    else:
        loaded = _load(engine, folder, config, threads, "asked for")
    _logger.info("%s: %s", config.name, loaded.info)
    return loaded, config


def _auto(folder: Path, config: BundleConfig, threads: int | None) -> Engine:
    if not config.graphs and find_spec("torch") is not None:
        return _load("torch", folder, config, threads, "the bundle has no graphs")
    if find_spec("openvino") is None:
        return _load("onnx", folder, config, threads, "OpenVINO is not installed")
    from .openvino import faster_precision

    try:
        precision, why = faster_precision()
        return _load(f"openvino-{precision}", folder, config, threads, why)
    except EngineError as error:
        _logger.warning("OpenVINO cannot be used, ONNX Runtime takes over: %s", error)
        return _load("onnx", folder, config, threads, f"OpenVINO cannot be used: {error}")


def _load(
    engine: str, folder: Path, config: BundleConfig, threads: int | None, reason: str
) -> Engine:
    name, _, precision = engine.partition("-")
    if name == "torch":
        from .torch import TorchEngine

        return TorchEngine(folder, config, threads, reason)
    template = _graph(folder, config, "template.onnx")
    search = _graph(folder, config, "search.onnx")
    if name == "onnx":
        from .onnx import OnnxEngine

        return OnnxEngine(template, search, threads, reason)
    from .openvino import OpenVinoEngine

    return OpenVinoEngine(template, search, threads, reason, precision or None)


def _graph(folder: Path, config: BundleConfig, name: str) -> Path:
    """A graph's file, once it is known to be the one that the config describes."""
    path = folder / name
    info = config.graphs.get(name)
    if info is None or not path.is_file():
        raise WeightsError(f"{folder} has no {name}; run `mixformerv2 export {folder} {folder}`")
    if info.weights_sha256 != config.weights_sha256:
        raise WeightsError(
            f"{path} was made from other weights than the bundle's; "
            f"run `mixformerv2 export {folder} {folder}` again"
        )
    if file_sha256(path) != info.sha256:
        raise WeightsError(
            f"{path} is not the file that config.json describes (its sha256 differs); "
            "copy or export the bundle again"
        )
    return path
