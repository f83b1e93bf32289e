"""Bundles between the weights that a run began with and the trained ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["blended", "brought"]


def brought(first: Mapping[str, Tensor], drawn: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of what a run's source brought along, of the weights that the run begins with.

    Heads that the source lacks are still as they were drawn: there is nothing in them to keep.

    Args:
        first: The learner's state once it has taken its source's weights.
        drawn: Before that.

    Example:
        >>> old = {"net.a.w": torch.zeros(1), "net.b.w": torch.zeros(1)}
        >>> list(brought({**old, "net.a.w": torch.ones(1)}, old))
        ['net.a.w']
    """
    # By parts, for a norm's scale may well be 1 in what was drawn and in the source alike.
    parts = {_part(name) for name, value in first.items() if not value.equal(drawn[name])}
    return {name: value.clone() for name, value in first.items() if _part(name) in parts}


def blended(
    average: Mapping[str, Tensor], begun: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """The moving average, with the rest of the share from the first weights where there are any."""
    return {
        name: torch.lerp(begun[name], value, share)
        if name in begun and value.is_floating_point()
        else value
        for name, value in average.items()
    }


def _part(name: str) -> str:
    """`net.box_head` of `net.box_head.mlps.0.fc1.weight`, `dense` of `dense.norm.weight`."""
    return ".".join(name.split(".")[: 2 if name.startswith("net.") else 1])
