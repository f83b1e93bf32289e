"""Where a run computes: one device, or one for each process that `torchrun` started."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from datetime import timedelta

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy
from lightning.fabric.strategies.model_parallel import ModelParallelStrategy
from lightning.fabric.strategies.strategy import Strategy

from ..errors import ConfigError
from .config import TrainConfig
from .shards import divide

__all__ = ["make_fabric", "settle_precision"]

_logger = logging.getLogger(__name__)

_PATIENCE = timedelta(hours=3)
"""The others wait so long while the first process tracks sequences."""


def settle_precision(config: TrainConfig) -> TrainConfig:
    """Settings in which the precision "auto" has become what the device is best at.

    Warns where bf16 was asked for and the processor has no instructions for it: PyTorch then
    imitates them, many times slower than float32.

    Example:
        >>> settle_precision(TrainConfig(precision="auto", device="cpu")).precision != "auto"
        True
    """
    on_gpu = config.device != "cpu" and torch.cuda.is_available()
    quick = torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else _cpu_has_bf16()
    if config.precision == "auto":
        return replace(config, precision="bf16-mixed" if quick else "32-true")
    if config.precision == "bf16-mixed" and not quick:
        _logger.warning(
            "this %s has no bf16 instructions, and bf16-mixed is many times slower without them; "
            "set precision=auto or precision=32-true",
            "GPU" if on_gpu else "processor",
        )
    return config


def _cpu_has_bf16() -> bool:
    """By the processor's list of instructions; PyTorch before 2.10 does not tell, which is no."""
    found: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def make_fabric(config: TrainConfig) -> Fabric:
    """Lightning Fabric for a run's device and precision.

    Under `torchrun --nproc-per-node N` the processes divide each step among them: gradients are
    those of the joint batch of all. On CPUs they speak gloo, on GPUs NCCL.

    Raises:
        ConfigError: there is no such device, or nothing to divide among.
    """
    assert config.precision != "auto"  # `settle_precision` comes first
    world = int(os.environ.get("WORLD_SIZE", "1"))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    many = world > 1
    if config.strategy == "fsdp" and not many:
        raise ConfigError(
            "strategy fsdp divides a network among processes, and this is one alone; start it with "
            "`torchrun --nproc-per-node N -m mixformerv2 train ...`, or set strategy=ddp"
        )
    if config.strategy == "fsdp" and config.optim.channels_last:
        raise ConfigError(
            "strategy fsdp divides weights in the order of their dimensions alone; "
            "set optim.channels_last=false"
        )
    try:
        fabric = Fabric(
            accelerator=config.device,
            devices=here if many else 1,
            num_nodes=max(1, world // here) if many else 1,
            strategy=_strategy(config, world) if many else "auto",
            precision=config.precision,
        )
    except Exception as error:
        if config.device == "cuda":
            raise ConfigError(
                f"device cuda cannot be used ({error}); set device=cpu or device=auto"
            ) from error
        raise
    if many:
        fabric.launch()
    return fabric


def _strategy(config: TrainConfig, world: int) -> Strategy:
    if config.strategy == "ddp":
        return DDPStrategy(timeout=_PATIENCE)
    return ModelParallelStrategy(
        divide, data_parallel_size=world, tensor_parallel_size=1, timeout=_PATIENCE
    )
