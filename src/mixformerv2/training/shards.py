"""FSDP: each process keeps a part of the weights, gradients and optimizer state.

For networks that are too large for one device, such as MixViT-L. PyTorch's `fully_shard` cuts each
parameter along its first dimension and gathers a layer's when its turn comes. Files stay those of
any other run: what is written is gathered whole first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..models.attention import Layer

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

__all__ = ["divide", "divide_optimizer_state", "whole", "whole_optimizer_state", "whole_state"]

_CALLED = ("templates", "search", "ask")
"""How a layer is called; each of these must gather its parameters first."""


def divide(learner: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Divide a learner's parameters among the processes, in place and layer by layer.

    Args:
        learner: Names of its parameters stay as they are.
        mesh: Of Fabric's `ModelParallelStrategy`; the processes are along `data_parallel`.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    rows = mesh["data_parallel"]
    parts = [module for module in learner.modules() if isinstance(module, Layer)]
    for layer in parts:
        fully_shard(layer, mesh=rows)
        for name in _CALLED:
            register_fsdp_forward_method(layer, name)
    units: list[Any] = [*parts, fully_shard(learner, mesh=rows)]
    if rows.device_type == "cpu":
        for unit in units:
            unit.set_force_sum_reduction_for_comms(True)  # Gloo cannot average, only add
    return learner


def whole(value: Any) -> Any:
    """A tensor gathered from all processes; anything else as it is. All must call it together."""
    from torch.distributed.tensor import DTensor

    return value.full_tensor() if isinstance(value, DTensor) else value


def whole_state(module: nn.Module) -> dict[str, Tensor]:
    """A module's state with its tensors whole, on every process. All must call it together."""
    return {name: whole(value.detach()) for name, value in module.state_dict().items()}


def whole_optimizer_state(optimizer: Any) -> dict[str, Any]:
    """An optimizer's state with its tensors whole, on every process. All must call it together."""
    state: dict[str, Any] = optimizer.state_dict()
    gathered = {
        number: {name: whole(value) for name, value in values.items()}
        for number, values in state["state"].items()
    }
    return state | {"state": gathered}


def divide_optimizer_state(
    state: dict[str, Any], optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """The other way: what of a whole state belongs to parameters that are divided.

    Args:
        state: As `whole_optimizer_state` gave it, the same on every process.
        optimizer: Over the divided parameters, in the order of the state.
    """
    from torch.distributed.tensor import DTensor, distribute_tensor

    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    parted = {}
    for number, values in state["state"].items():
        like = parameters[number]
        parted[number] = {
            name: distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
            if isinstance(like, DTensor) and value.shape == like.shape
            else value
            for name, value in values.items()
        }
    return state | {"state": parted}
