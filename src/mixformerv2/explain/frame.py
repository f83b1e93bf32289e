"""Track to one frame of a video and keep all that the network saw and answered there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..box import Box
from ..data.datasets import Frames
from ..errors import SourceError
from ..export.graphs import Preprocess
from ..runtime.base import Engine, EngineInfo, Memory, StepOutput
from ..runtime.select import load_engine
from ..tracking.crop import Crop
from ..tracking.frame import as_bgr
from ..tracking.result import FPS, TrackResult
from ..tracking.state import TrackState
from ..tracking.tracker import Tracker
from ..video.source import SourceLike, VideoFrame, open_source
from ..weights.bundle import find_bundle, load_model
from .attention import Attention, prediction_attention
from .distributions import entropy

__all__ = ["Corners", "Insight", "explain_frame"]

Corners = tuple[float, float, float, float]
"""x1, y1, x2, y2 in 0..1 of a crop."""


@dataclass(frozen=True, slots=True)
class Insight:
    """One frame from the inside.

    Attributes:
        result: What the tracker answered.
        scores: The scores of all frames up to this one.
        templates: `[N, T, T, 3]` BGR, as the network saw them.
        search: `[S, S, 3]` BGR.
        box: The network's in the search crop, x1, y1, x2, y2 in 0..1: what `probs` expect.
        truth: The true box likewise, where it is known.
        answer: That of `result` likewise, where it is another one: drawn as the first box was
            (`box_style`), smoothed, clipped, or found elsewhere.
        probs: `[4, bins]`, sides left, top, right, bottom.
        attention: Of the prediction tokens.
        model: The bundle's name.
        source: What was tracked.
    """

    result: TrackResult
    scores: list[float]
    templates: NDArray[np.uint8]
    search: NDArray[np.uint8]
    box: Corners
    truth: Corners | None
    answer: Corners | None
    probs: NDArray[np.float32]
    attention: Attention
    model: str
    source: str

    @property
    def entropy(self) -> NDArray[np.float64]:
        """Entropy of each side's distribution, `[4]`, 0 to 1."""
        return entropy(self.probs)


def explain_frame(
    source: SourceLike | Frames,
    box: Sequence[float],
    frame: int,
    model: str | Path = "t",
    *,
    truth: Sequence[float] | None = None,
    name: str | None = None,
    engine: str = "auto",
    threads: int | None = None,
) -> Insight:
    """Track a target from frame 0 and look inside the network at one later frame.

    Needs PyTorch (extra `torch`): engines do not give their attention away.

    Args:
        source: As for `track`; or the frames of a labelled sequence, read one by one.
        box: `(x, y, w, h)` in pixels of frame 0.
        frame: Number of the frame to look at, 1 or later.
        model: Name of a shipped bundle, or a bundle folder.
        truth: The true box in that frame, pixels, to be drawn beside the answer.
        name: What the result calls the video; its own name where None.
        engine: What tracks up to that frame, as for `Tracker`.
        threads: As for `Tracker`.

    Raises:
        SourceError: the video has no such frame, or it cannot be read.
        DataError: a frame of a labelled sequence cannot be read.
        ConfigError: a model without prediction tokens.

    Example:
        >>> insight = explain_frame("clip.mp4", (175, 137, 93, 86), 120)  # doctest: +SKIP
        >>> insight.entropy.round(2).tolist()  # doctest: +SKIP
        [0.61, 0.58, 0.66, 0.6]
    """
    if frame < 1:
        raise SourceError(
            f"frame {frame} cannot be explained: on frame 0 the box is given, and nothing before it"
        )
    folder = find_bundle(model)
    inner, config = load_engine(folder, engine, threads)
    recorder = _FirstLook(inner)
    # Whole search crops in every frame: what was not looked at cannot be explained.
    tracker = Tracker.with_engine(
        recorder, config, settings={"search_middle": 0, "still_below": 0.0}
    )
    with _opened(source, name) as (video, name):
        result, scores, image, before = _track_to(tracker, recorder, video, name, box, frame)
    search, templates = recorder.search[0], before.templates.pair
    prepare = Preprocess(config.mean, config.std)

    def ready(crop: NDArray[np.uint8]) -> torch.Tensor:
        out: torch.Tensor = prepare(torch.from_numpy(crop[None]))
        return out

    network = load_model(folder).eval()
    attention = prediction_attention(network, tuple(map(ready, templates)), ready(search))
    x1, y1, x2, y2 = own = [float(v) for v in recorder.out.boxes[0]]
    answer = _in_crop(Box(*result.box), tracker, before, image, search)
    if answer is not None and np.allclose(answer, own, rtol=0, atol=0.5 / len(search)):
        answer = None  # no pixel beside it
    return Insight(
        result=result,
        scores=scores,
        templates=templates,
        search=search,
        box=(x1, y1, x2, y2),
        truth=None if truth is None else _in_crop(Box.parse(truth), tracker, before, image, search),
        answer=answer,
        probs=recorder.out.probs[0],
        attention=attention,
        model=config.name,
        source=name,
    )


class Recorder:
    """An engine that keeps what it was last asked and what it answered."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.search: NDArray[np.uint8]
        self.out: StepOutput

    @property
    def info(self) -> EngineInfo:
        return self._engine.info

    def encode_templates(self, templates: NDArray[np.uint8]) -> Memory:
        return self._engine.encode_templates(templates)

    def join(self, memories: Sequence[Memory]) -> Memory:
        return self._engine.join(memories)

    def step(self, search: NDArray[np.uint8], memory: Memory) -> StepOutput:
        self.search, self.out = search, self._engine.step(search, memory)
        return self.out


class _FirstLook(Recorder):
    """Keeps what was first asked in a frame: the look around the last box.

    Others follow where the target is lost and looked for elsewhere.
    """

    asked = False

    def step(self, search: NDArray[np.uint8], memory: Memory) -> StepOutput:
        if self.asked:
            return self._engine.step(search, memory)
        self.asked = True
        return super().step(search, memory)


@contextmanager
def _opened(
    source: SourceLike | Frames, name: str | None
) -> Iterator[tuple[Iterable[VideoFrame], str]]:
    """Frames with their numbers and times, and what to call them."""
    if isinstance(source, Frames):
        # With the clock of a tracker that is told no times, as in an evaluation.
        yield (VideoFrame(n, n / FPS, one) for n, one in enumerate(source)), name or "sequence"
        return
    with open_source(source) as video:
        yield video, name or video.name or "video"


def _track_to(
    tracker: Tracker,
    recorder: _FirstLook,
    video: Iterable[VideoFrame],
    name: str,
    box: Sequence[float],
    frame: int,
) -> tuple[TrackResult, list[float], NDArray[np.uint8], TrackState]:
    """Results of a frame, the scores so far, its picture, and the state before it."""
    scores: list[float] = []
    last = -1
    for one in video:
        last = one.index
        before = tracker.state
        if one.image is None:
            if before is not None:
                scores.append(tracker.skip(one.time).score)
        elif before is None:
            scores.append(tracker.init(one.image, box, one.time).score)
        else:
            recorder.asked = False  # in this frame
            result = tracker.update(one.image, one.time)
            scores.append(result.score)
            if last == frame:
                return result, scores, one.image, before
        if last == frame:
            raise SourceError(f"frame {frame} of {name} cannot be read; take one beside it")
    raise SourceError(f"{name} ends with frame {last}; frame {frame} is not in it")


def _in_crop(
    box: Box,
    tracker: Tracker,
    before: TrackState,
    image: NDArray[np.uint8],
    search: NDArray[np.uint8],
) -> Corners | None:
    """A box in the crop; None where the crop is not the usual one around the last box."""
    settings = tracker.settings
    crop = Crop.around(before.box, settings.search_factor, settings.search_size)
    if not np.array_equal(crop.take(as_bgr(image)), search):
        return None
    x1, y1, x2, y2 = (v / crop.size for v in crop.to_crop(box).xyxy)
    return (x1, y1, x2, y2)
