"""One pass of the network over search crops: memories of templates, batches, mirrored crops."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..errors import EngineError
from ..runtime.base import Engine, Memory, StepOutput
from .crop import Crop
from .frame import Channels
from .policy import Templates

__all__ = ["Look"]

Picture = NDArray[np.uint8]


class Look:
    """Asks an engine where targets are in a frame.

    Args:
        engine: Runs the network.
        channels: Order of the colours in the frames.
        has_score: Whether the network's scores mean anything; where not, all are 1.
        mirror: Show crops and templates mirrored too, in the same batch, and answer the mean.
    """

    def __init__(
        self, engine: Engine, channels: Channels, *, has_score: bool, mirror: bool = False
    ) -> None:
        self._engine = engine
        self._channels = channels
        self._has_score = has_score
        self._mirror = mirror
        self._memories = _Memories(engine)

    def boxes(
        self, frame: Picture, crops: Sequence[Crop], templates: Sequence[Templates]
    ) -> list[tuple[Box, float]]:
        """A box in the frame, not clipped, and a score for each crop.

        Args:
            frame: `[H, W, 3]`.
            crops: Where to look.
            templates: What for, one for each crop.

        Raises:
            EngineError: the engine answered with numbers that are not finite.
        """
        search = np.stack([crop.take(frame, self._channels) for crop in crops])
        corners, scores = self._answers(search, templates)
        if not self._has_score:
            scores = np.ones(len(search))
        return [
            (crop.unit_to_frame(sides), min(max(float(score), 0.0), 1.0))
            for crop, sides, score in zip(crops, corners, scores, strict=True)
        ]

    def _answers(
        self, search: Picture, templates: Sequence[Templates]
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Corners `[N, 4]` in 0..1 of the crops, and scores `[N]`."""
        memory = self._memories.of(templates, mirror=self._mirror)
        if not self._mirror:
            out = self._step(search, memory)
            return out.boxes, out.scores
        out = self._step(np.concatenate([search, search[:, :, ::-1]]), memory)
        count = len(search)
        # In the mirror the right side is the left one, counted from the other border.
        mirrored = out.boxes[count:, [2, 1, 0, 3]] * (-1, 1, -1, 1) + (1, 0, 1, 0)
        return (out.boxes[:count] + mirrored) / 2, (out.scores[:count] + out.scores[count:]) / 2

    def _step(self, search: Picture, memory: Memory) -> StepOutput:
        out = self._engine.step(search, memory)
        if not (np.isfinite(out.boxes).all() and np.isfinite(out.scores).all()):
            info = self._engine.info
            raise EngineError(
                f"the {info.name} engine ({info.precision}) answered with numbers that "
                "are not finite; try engine='onnx', and convert or export the bundle again"
            )
        return out


class _Memories:
    """The engine's memories of the last few sets of templates.

    A memory is a function of the templates, so it is no part of a state. Templates are told apart
    by identity: they are never written to, and while one is kept here its id stays its own.
    """

    def __init__(self, engine: Engine, keep: int = 4) -> None:
        self._engine = engine
        self._keep = keep
        self._known: OrderedDict[tuple[int, ...], tuple[list[Picture], Memory]]
        self._known = OrderedDict()

    def of(self, templates: Sequence[Templates], *, mirror: bool) -> Memory:
        """The memory for a batch of targets, followed by that of their mirror images if wanted."""
        pairs = [one.pair for one in templates]
        key = tuple(id(pair) for pair in pairs)
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key][1]
        shown = np.stack(pairs)
        if mirror:
            shown = np.concatenate([shown, shown[:, :, :, ::-1]])
        memory = self._engine.encode_templates(shown)
        self._known[key] = (pairs, memory)
        if len(self._known) > self._keep:
            self._known.popitem(last=False)
        return memory
