"""Speed of the paper's networks on this machine: `mixformerv2 bench --paper`.

Weights are random, for speed does not depend on values. Two ways of running each network, in eager
PyTorch: "whole", everything on every frame, as published; "kept", with keys and values of the
templates computed once, as everything else here runs.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..evaluation.speed import Clip, EngineRunner, race
from ..export.graphs import Preprocess, SearchGraph, TemplateGraph
from ..models.assemble import assemble
from ..models.config import ModelConfig
from ..models.network import Network
from ..models.registry import build
from ..runtime.base import MEMORY_BATCH, EngineInfo, StepOutput
from ..tracking.settings import TrackerSettings
from ..weights.bundle import BundleConfig
from .rows import Row, counts, head_loads, paper_rows

__all__ = ["WAYS", "NetworkEngine", "Weights", "measure"]

WAYS = ("whole", "kept")
"""How a network runs: everything on each frame, or with the templates kept."""

Progress = Callable[[], None]


class Weights:
    """Random weights that networks of other depths share, so that all of them fit into memory.

    Layers of one network never share: they would stay in the processor's cache, and be faster
    than a real network's.
    """

    def __init__(self) -> None:
        self._pool: dict[tuple[str, torch.Size], Tensor] = {}

    def network(self, config: ModelConfig) -> Network:
        """A network of this configuration around them, in eval mode."""
        with torch.device("meta"):
            state = build(config).state_dict()
        return assemble(config, {name: self._tensor(name, t) for name, t in state.items()})

    def _tensor(self, name: str, like: Tensor) -> Tensor:
        key = name, like.shape
        if key not in self._pool:
            if like.is_floating_point() and like.ndim >= 2:
                made = torch.randn(like.shape) * 0.02
            else:
                made = torch.ones(like.shape, dtype=like.dtype)  # norms, and their variances
            self._pool[key] = made
        return self._pool[key]


class NetworkEngine:
    """A network as an engine, in eager PyTorch and fp32.

    Args:
        model: In eval mode; it is moved to the device.
        way: One of `WAYS`.
        device: "cpu" or "cuda".
    """

    def __init__(self, model: Network, way: str, device: str = "cpu") -> None:
        self._device = torch.device(device)
        prepare = Preprocess().to(self._device)
        self._template = TemplateGraph(model.to(self._device), prepare).eval()
        self._search = SearchGraph(model, prepare).eval()
        self._keeps = way == "kept"
        self.info = EngineInfo(f"torch, {way}", "fp32", torch.get_num_threads(), device)

    @torch.inference_mode()
    def encode_templates(self, templates: NDArray[np.uint8]) -> Tensor:
        """Keys and values of templates, or, to run everything later, the templates themselves."""
        given = torch.from_numpy(templates).to(self._device)
        return self._template(given) if self._keeps else given

    @torch.inference_mode()
    def join(self, memories: Sequence[Tensor]) -> Tensor:
        """Memories of several targets as that of a batch of them."""
        return torch.cat(list(memories), dim=MEMORY_BATCH if self._keeps else 0)

    @torch.inference_mode()
    def step(self, search: NDArray[np.uint8], memory: Tensor) -> StepOutput:
        """Find the target in search crops `[B, S, S, 3]`, BGR."""
        kept = memory if self._keeps else self._template(memory)
        out = self._search(torch.from_numpy(search).to(self._device), kept)
        return StepOutput(*(tensor.cpu().numpy() for tensor in out))


def measure(
    rows: Iterable[Row] | None = None,
    *,
    devices: Iterable[str] = ("cpu",),
    rounds: int = 5,
    block: int = 1,
    clip: Clip | None = None,
    cpu_time: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Time whole updates of all rows in turns.

    Args:
        rows: All of the paper where None.
        devices: "cpu" and "cuda".
        rounds: Turns of each.
        block: Counted updates of a turn, after one that is not counted.
        clip: Frames; 1280 x 720 where None.
        cpu_time: Count the processor's time instead of the wall's: with one thread, what other
            programs on a busy machine hardly change.
        progress: Called after each turn.

    Returns plain values: the machine, and for each row what the paper prints, what is counted, and
    updates a second by device and way.
    """
    chosen = list(paper_rows() if rows is None else rows)
    clip = clip or Clip.moving()
    weights = Weights()
    clock = time.process_time if cpu_time else time.perf_counter
    found: dict[str, dict[str, float]] = {row.key: {} for row in chosen}
    spread: dict[str, dict[str, float]] = {row.key: {} for row in chosen}
    for device in devices:
        runners = {
            f"{row.key}|{way}": _runner(weights, row, way, device, clip, clock)
            for row in chosen
            for way in WAYS
        }
        paces = race(
            runners, frames=len(clip.frames), rounds=rounds, block=block, progress=progress
        )
        kind = "cpu" if device == "cpu" else "gpu"
        for name, pace in paces.items():
            key, _, way = name.partition("|")
            found[key][f"{kind}_{way}"] = pace.per_second
            low, high = np.percentile(pace.updates, [25, 75])
            spread[key][f"{kind}_{way}"] = float(high / low)
    return {
        "machine": machine(),
        "clock": "processor" if cpu_time else "wall",
        "frames": list(clip.frames[0].shape[1::-1]),
        "rounds": rounds,
        "head_loads": head_loads(),
        "rows": [
            {
                "table": row.table,
                "row": row.key,
                "layers": row.config.depth,
                "mlp_ratio": row.config.mlp_ratio,
                "search_size": row.config.search_size,
                "head": row.config.box_head,
                "score": row.config.score_head,
                "paper": row.paper,
                "counted": {name: round(value, 4) for name, value in counts(row.config).items()},
                "fps": {name: round(value, 2) for name, value in found[row.key].items()},
                "spread": {name: round(value, 2) for name, value in spread[row.key].items()},
            }
            for row in chosen
        ],
    }


def machine() -> dict[str, Any]:
    """What this was measured on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": _processor(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "torch": torch.__version__,
        "precision": "fp32",
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _runner(
    weights: Weights, row: Row, way: str, device: str, clip: Clip, clock: Callable[[], float]
) -> EngineRunner:
    config = row.config
    bundle = BundleConfig(
        name=row.key,
        arch=config.to_dict(),
        tracker=TrackerSettings(config.template_size, config.search_size),
        bins=config.bins,
        has_score=config.score_head,
        weights_sha256="",
    )
    return EngineRunner(NetworkEngine(weights.network(config), way, device), bundle, clip, clock)
