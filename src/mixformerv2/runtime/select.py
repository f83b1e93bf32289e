"""Which engine runs a bundle, and why."""

from __future__ import annotations

import logging
import os
from itertools import product
from pathlib import Path

from ..errors import ConfigError, EngineError, WeightsError
from ..weights.bundle import INT8_NAMES, BundleConfig, file_sha256, find_bundle, read_config
from .base import Engine, EngineInfo
from .choice import choose

__all__ = ["ENGINES", "check_threads", "load_engine", "name_of"]

_logger = logging.getLogger(__name__)

_MOST_THREADS = 1024
_TORCH_OPTIONS = ("bf16", "compiled", "crops")
TORCH = tuple(
    "-".join(["torch", *(name for name, on in zip(_TORCH_OPTIONS, chosen, strict=True) if on)])
    for chosen in product((False, True), repeat=len(_TORCH_OPTIONS))
)
"""PyTorch, plain and with any of its options."""

ENGINES = (
    "auto",
    "onnx",
    "onnx-int8",
    "openvino",
    "openvino-fp32",
    "openvino-bf16",
    "openvino-int8",
    "onnx-cuda",
    "onnx-tensorrt",
    *TORCH,
)
"""What `engine` may be."""


def load_engine(
    bundle: str | Path, engine: str = "auto", threads: int | None = None, *, alone: bool = True
) -> tuple[Engine, BundleConfig]:
    """Load a bundle into an engine.

    - `"auto"`: the fastest form that this machine supports and whose parity was checked; see
      `choice.choose`.
    - `"onnx"`: ONNX Runtime on the CPU in fp32, the same numbers every time.
    - `"openvino"`: OpenVINO in the precision that it takes by itself, bf16 on some CPUs.
    - `"openvino-fp32"`, `"openvino-bf16"`: OpenVINO in that precision.
    - `"onnx-int8"`, `"openvino-int8"`: the int8 graphs, where the bundle has them.
    - `"onnx-cuda"`, `"onnx-tensorrt"`: ONNX Runtime on a GPU, with `onnxruntime-gpu`.
    - `"torch"`: PyTorch in fp32, on CUDA where there is one; `"torch-bf16"`, `"torch-compiled"`,
      `"torch-crops"` and all together, `"torch-bf16-compiled-crops"`: see `TorchEngine`.

    Args:
        bundle: Name of a shipped bundle, or a bundle folder.
        engine: One of those.
        threads: Threads of the engine; its own choice where None.
        alone: Whether nothing else wants the cores while it works. Where a video is decoded beside
            it, ONNX Runtime's threads do not wait awake on a machine of two cores.

    Raises:
        WeightsError: no such bundle, or one whose files do not belong together.
        EngineError: the engine is not installed, or refuses the graphs.
        ConfigError: an unknown engine, or a number of threads that cannot be.
    """
    if engine not in ENGINES:
        raise ConfigError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    check_threads(threads)
    folder = find_bundle(bundle)
    config = read_config(folder)
    if engine == "auto":
        loaded = _auto(folder, config, threads, alone)
    else:
        loaded = _load(engine, folder, config, threads, "asked for", alone)
    _logger.info("%s: %s", config.name, loaded.info)
    return loaded, config


def check_threads(threads: int | None) -> None:
    """Refuse a number of threads that no engine should be asked for.

    Raises:
        ConfigError: no whole number from 1 to 1024, and not None. Engines would start any number of
            threads, and take hours and all memory for it.
    """
    if threads is None:
        return
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ConfigError(f"threads must be a whole number from 1, or None, got {threads!r}")
    if threads > _MOST_THREADS:
        raise ConfigError(
            f"threads must be at most {_MOST_THREADS}, got {threads}; this machine has "
            f"{os.cpu_count()} cores"
        )


def name_of(info: EngineInfo) -> str:
    """The name by which `load_engine` takes the same engine again, in another process too."""
    family, _, extras = info.name.partition("-")
    for word in (info.device, info.precision):
        name = "-".join([family, word, *([extras] if extras else [])])
        if name in ENGINES:
            return name
    return info.name


def _auto(folder: Path, config: BundleConfig, threads: int | None, alone: bool) -> Engine:
    choice = choose(config)
    try:
        return _load(choice.engine, folder, config, threads, choice.reason, alone)
    except EngineError as error:
        if choice.fallback is None:
            raise
        other = choice.fallback.engine
        _logger.warning("%s cannot be used, %s takes over: %s", choice.engine, other, error)
        reason = f"{choice.engine} cannot be used: {error}"
        return _load(other, folder, config, threads, reason, alone)


def _load(
    engine: str,
    folder: Path,
    config: BundleConfig,
    threads: int | None,
    reason: str,
    alone: bool,
) -> Engine:
    name, _, precision = engine.partition("-")
    if name == "torch":
        try:
            import safetensors.torch  # noqa: F401  (which reads the weights)

            from .torch import TorchEngine
        except Exception as error:  # half an installation can fail in any way
            raise EngineError(
                f"PyTorch cannot be imported ({error}); pip install 'mixformerv2[torch]'"
            ) from error

        return TorchEngine(
            folder, config, threads, reason, [one for one in precision.split("-") if one]
        )
    names = INT8_NAMES if precision == "int8" else ("template.onnx", "search.onnx")
    template, search = (_graph(folder, config, graph) for graph in names)
    if name == "onnx":
        from .onnx import OnnxEngine

        if precision in ("cuda", "tensorrt"):
            return OnnxEngine(template, search, threads, reason, device=precision)
        return OnnxEngine(template, search, threads, reason, precision or "fp32", alone=alone)
    from .openvino import OpenVinoEngine

    size, patch = config.tracker.search_size, config.arch.get("patch_size", 16)
    return OpenVinoEngine(template, search, threads, reason, precision or None, size, patch)


def _graph(folder: Path, config: BundleConfig, name: str) -> Path:
    """A graph's file, once it is known to be the one that the config describes."""
    path = folder / name
    info = config.graphs.get(name)
    again = f"mixformerv2 export {folder} {folder}{' --int8' if name in INT8_NAMES else ''}"
    if info is None or not path.is_file():
        raise WeightsError(f"{folder} has no {name}; run `{again}`")
    if info.weights_sha256 != config.weights_sha256:
        raise WeightsError(
            f"{path} was made from other weights than the bundle's; run `{again}` again"
        )
    try:
        sha256 = file_sha256(path)
    except OSError as error:  # in a folder of another user, or on a disk that fails
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error
    if sha256 != info.sha256:
        raise WeightsError(
            f"{path} is not the file that config.json describes (its sha256 differs); "
            "copy or export the bundle again"
        )
    return path
