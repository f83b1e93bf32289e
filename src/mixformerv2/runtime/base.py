"""One protocol of two calls, which every inference engine speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Engine", "EngineInfo", "Memory", "StepOutput"]

Memory = Any
"""Keys and values of the templates as the engine has them: of rank 6, layers first, B third."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Which engine runs, how precisely, on how many threads, and why it was chosen."""

    name: str
    precision: str
    threads: int | None
    device: str = "cpu"
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StepOutput:
    """One forward pass over a batch of search crops.

    Attributes:
        boxes: `[B, 4]` float32, x1, y1, x2, y2 in the search crop, 0 to 1.
        scores: `[B]` float32, 0 to 1; all ones where the model has no score head.
        probs: `[B, 4, bins]` float32, sides left, top, right, bottom.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    probs: NDArray[np.float32]


class Engine(Protocol):
    """Runs the two graphs of a bundle on BGR crops of 8 bits.

    `encode_templates` runs once for each change of templates, `step` once for each frame.
    """

    @property
    def info(self) -> EngineInfo:
        """What runs, and why."""
        ...

    def encode_templates(self, templates: NDArray[np.uint8]) -> Memory:
        """Turn templates `[B, N, T, T, 3]`, BGR, into keys and values for `step`."""
        ...

    def step(self, search: NDArray[np.uint8], memory: Memory) -> StepOutput:
        """Find the target in search crops `[B, S, S, 3]`, BGR."""
        ...
