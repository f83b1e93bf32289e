"""One protocol of two calls, which every inference engine speaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import EngineError

__all__ = [
    "MEMORY_BATCH",
    "Engine",
    "EngineInfo",
    "Memory",
    "Pieces",
    "StepOutput",
    "answered",
    "joined",
]

Memory = Any
"""Keys and values of the templates as the engine has them: of rank 6, layers first, B third."""

MEMORY_BATCH = 2
"""Axis of a memory that counts the targets, in every graph and precision."""


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

    `encode_templates` runs once for each change of templates, `step` once for each frame. What is
    asked for many targets at once is what would have been answered for each alone.

    An engine may have a third call, `take(frame, crops, channels)`, that cuts search crops out of a
    frame where the network runs; `step` gets what it returns.
    """

    @property
    def info(self) -> EngineInfo:
        """What runs, and why."""
        ...

    def encode_templates(self, templates: NDArray[np.uint8]) -> Memory:
        """Turn templates `[B, N, T, T, 3]`, BGR, into keys and values for `step`."""
        ...

    def join(self, memories: Sequence[Memory]) -> Memory:
        """Memories of several targets as that of a batch of them."""
        ...

    def step(self, search: NDArray[np.uint8], memory: Memory) -> StepOutput:
        """Find the target in search crops `[B, S, S, 3]`, BGR."""
        ...


def answered(outputs: Sequence[NDArray[np.float32]]) -> StepOutput:
    """What a search graph put out, in the order of its file.

    Raises:
        EngineError: it is another graph.
    """
    if len(outputs) != 3:
        raise EngineError(
            f"search.onnx has {len(outputs)} outputs and not boxes, scores, probs: it is no graph "
            "by `mixformerv2 export`, which writes it anew"
        )
    return StepOutput(*outputs)


def joined(outputs: Sequence[StepOutput]) -> StepOutput:
    """What several passes answered, as if it had been one."""
    if len(outputs) == 1:
        return outputs[0]
    return StepOutput(
        np.concatenate([one.boxes for one in outputs]),
        np.concatenate([one.scores for one in outputs]),
        np.concatenate([one.probs for one in outputs]),
    )


class Pieces:
    """Cuts large batches into passes whose numbers stay in the cache.

    What one layer hands to the next no longer fits beside the weights into the 1 MB that a core of
    2023 keeps for itself: 32 of T's targets took 6.4 ms each by fours, 7.2 ms in one pass
    (`benchmarks/targets.py --cpu-time --engine onnx --piece 32`).
    """

    def __init__(self) -> None:
        # Memory, sizes and parts in one value: threads that share an engine replace it whole.
        self._kept: tuple[Memory, list[int], list[Memory]] = (None, [], [])

    def of(
        self, search: NDArray[np.uint8], memory: Memory, sizes: list[int]
    ) -> Iterator[tuple[NDArray[np.uint8], Memory]]:
        """The passes of a batch.

        Args:
            search: `[B, S, S, 3]`.
            memory: An array for B targets.
            sizes: Crops of each pass; they add up to B.
        """
        if len(sizes) == 1:
            yield search, memory
            return
        whole, cut_by, parts = self._kept
        ends = np.cumsum(sizes)[:-1]
        if memory is not whole or sizes != cut_by:
            # Templates change seldom, so that this is cut once for many frames.
            cut = np.split(memory, ends, axis=MEMORY_BATCH)
            parts = [np.ascontiguousarray(part) for part in cut]
            self._kept = (memory, sizes, parts)
        yield from zip(np.split(search, ends), parts, strict=True)
