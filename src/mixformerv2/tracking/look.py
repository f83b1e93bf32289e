"""One pass of the network over search crops: memories of templates, batches, mirrored crops."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..errors import ConfigError, EngineError
from ..runtime.base import Engine, Memory, StepOutput
from .crop import Crop, take_all
from .frame import Channels
from .policy import Templates
from .settings import TrackerSettings

__all__ = ["Look"]

Picture = NDArray[np.uint8]
_Key = tuple[int, bool]
"""Identity of a pair of templates, and whether they are mirrored."""


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
        self,
        frame: Picture,
        crops: Sequence[Crop],
        templates: Sequence[Templates],
        middles: Sequence[int] | None = None,
    ) -> list[tuple[Box, float]]:
        """A box in the frame, not clipped, and a score for each crop.

        Args:
            frame: `[H, W, 3]`.
            crops: Where to look.
            templates: What for, one for each crop.
            middles: Show the network so many pixels in the middle of each crop alone; 0 shows all
                of it, None all of all.

        Raises:
            EngineError: the engine answered with numbers that are not finite, or not with a box
                and a score for each crop.
        """
        looks = self._cut(frame, crops)
        sizes = [0] * len(looks) if middles is None else list(middles)
        found: dict[int, tuple[Box, float]] = {}
        for size in dict.fromkeys(sizes):
            alike = [i for i, one in enumerate(sizes) if one == size]
            # Cut out of the whole crop: the very pixels that the network would see there.
            search = _middle(looks if len(alike) == len(looks) else looks[alike], size)
            # The network answers in parts of the whole crop, whatever of it is shown.
            corners, scores = self._answers(search, [templates[i] for i in alike])
            if not self._has_score:
                scores = np.ones(len(search))
            for i, sides, score in zip(alike, corners, scores, strict=True):
                found[i] = crops[i].unit_to_frame(sides), min(max(float(score), 0.0), 1.0)
        return [found[i] for i in range(len(looks))]

    def _cut(self, frame: Picture, crops: Sequence[Crop]) -> Picture:
        """Crops `[N, S, S, 3]`; an engine on a GPU may want to cut them out itself."""
        take = None if self._mirror else getattr(self._engine, "take", None)
        if take is None:
            return take_all(frame, crops, self._channels)
        taken: Picture = take(frame, crops, self._channels)
        return taken

    def try_middle(self, settings: TrackerSettings, arch: Mapping[str, Any]) -> None:
        """Show the engine a black crop of this size, so that it compiles for it before it counts.

        Args:
            settings: The size, and that of a template.
            arch: Of the network, as its bundle tells it: what is not there is not known.

        Raises:
            ConfigError: it does not take such a crop.
        """
        size, template_size = settings.search_middle, settings.template_size
        patch, kept = arch.get("patch_size", 1), arch.get("keep_tokens", 0)
        tokens = (size // patch) ** 2
        if kept > tokens:
            raise ConfigError(
                f"search_middle={size} shows the network {tokens} tokens, and this model was "
                f"exported to keep {kept} of them; take a larger one, or export the model with "
                f"--keep-tokens of {tokens} at most"
            )
        memory = self._engine.encode_templates(
            np.zeros((1, 2, template_size, template_size, 3), np.uint8)
        )
        try:
            # Engines take what is smaller by a part of a token, and answer beside the target.
            if (settings.search_size - size) % (2 * patch):
                raise EngineError(f"its tokens have {patch} pixels")
            out = self._engine.step(np.zeros((1, size, size, 3), np.uint8), memory)
            if out.boxes.shape != (1, 4):  # as OpenVINO answers for a corner head
                raise EngineError(f"it answers boxes of shape {out.boxes.shape}")
        except (EngineError, RuntimeError) as error:  # the latter from PyTorch
            raise ConfigError(
                f"search_middle={size} does not fit this model: search_size less an even number of "
                "its patches does (160, 128, 96 of 16 pixels), with a MixFormerV2 network, and "
                f"graphs by this version of `mixformerv2 export`: {error}"
            ) from error

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
        count = len(search)
        if out.boxes.shape != (count, 4) or out.scores.shape != (count,):
            raise EngineError(
                f"the {self._engine.info.name} engine answered {count} crops with boxes of shape "
                f"{out.boxes.shape} and scores of shape {out.scores.shape}, where ({count}, 4) and "
                f"({count},) belong; convert or export the bundle again"
            )
        if not (np.isfinite(out.boxes).all() and np.isfinite(out.scores).all()):
            info = self._engine.info
            raise EngineError(
                f"the {info.name} engine ({info.precision}) answered with numbers that "
                "are not finite; try engine='onnx', and convert or export the bundle again"
            )
        return out


def _middle(pictures: Picture, size: int) -> Picture:
    """The middle of pictures `[N, S, S, 3]`; 0 is all of them."""
    if size == 0:
        return pictures
    start = (pictures.shape[1] - size) // 2
    middle = pictures[:, start : start + size, start : start + size]
    return np.ascontiguousarray(middle) if isinstance(middle, np.ndarray) else middle


class _Memories:
    """The engine's memories of the last few templates, each target's by itself.

    A memory is a function of the templates, so it is no part of a state. Where one target of many
    changes its templates, that target alone is encoded anew. Templates are told apart by identity:
    they are never written to, and while one is kept here its id stays its own.
    """

    def __init__(self, engine: Engine, keep: int = 4) -> None:
        self._engine = engine
        self._keep = keep
        self._single: OrderedDict[_Key, tuple[Picture, Memory]] = OrderedDict()
        self._batches: OrderedDict[tuple[_Key, ...], tuple[list[Picture], Memory]] = OrderedDict()
        self._lock = threading.Lock()  # what one thread looks up, another may be dropping

    def of(self, templates: Sequence[Templates], *, mirror: bool) -> Memory:
        """The memory for a batch of targets, followed by that of their mirror images if wanted."""
        pairs = [one.pair for one in templates]
        sides = (False, True) if mirror else (False,)
        key = tuple((id(pair), side) for side in sides for pair in pairs)
        with self._lock:
            return self._kept(key, pairs, sides)

    def _kept(self, key: tuple[_Key, ...], pairs: list[Picture], sides: tuple[bool, ...]) -> Memory:
        if key in self._batches:
            self._batches.move_to_end(key)
            return self._batches[key][1]
        each = [self._one(pair, mirrored=side) for side in sides for pair in pairs]
        memory = each[0] if len(each) == 1 else self._engine.join(each)
        self._batches[key] = (pairs, memory)
        if len(self._batches) > self._keep:
            self._batches.popitem(last=False)
        # Twice as many as are in use, for those that come back.
        while len(self._single) > max(self._keep, 2 * len(key)):
            self._single.popitem(last=False)
        return memory

    def _one(self, pair: Picture, *, mirrored: bool) -> Memory:
        key = (id(pair), mirrored)
        if key not in self._single:
            shown = np.ascontiguousarray(pair[:, :, ::-1]) if mirrored else pair
            self._single[key] = (pair, self._engine.encode_templates(shown[None]))
        self._single.move_to_end(key)
        return self._single[key][1]
