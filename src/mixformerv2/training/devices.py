"""Where a run computes: one device, or one for each process that `torchrun` started."""

from __future__ import annotations

import os
from datetime import timedelta

from lightning.fabric import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy
from lightning.fabric.strategies.model_parallel import ModelParallelStrategy
from lightning.fabric.strategies.strategy import Strategy

from ..errors import ConfigError
from .config import TrainConfig
from .shards import divide

__all__ = ["make_fabric"]

_PATIENCE = timedelta(hours=3)
"""The others wait so long while the first process tracks sequences."""


def make_fabric(config: TrainConfig) -> Fabric:
    """Lightning Fabric for a run's device and precision.

    Under `torchrun --nproc-per-node N` the processes divide each step among them: gradients are
    those of the joint batch of all. On CPUs they speak gloo, on GPUs NCCL.

    Raises:
        ConfigError: there is no such device, or nothing to divide among.
    """
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
