"""How long an update takes: contestants in turns, so that a busy machine slows all of them alike.

Absolute times of a shared machine say little; ratios of times taken in the same seconds say more.
Each round gives every contestant a few updates in a row, of which the first is not counted: it
pays for caches and threads that the one before left behind.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..box import XYWH, Box

if TYPE_CHECKING:
    from ..runtime.base import Engine, EngineInfo, Memory, StepOutput
    from ..tracking.crop import Crop
    from ..tracking.frame import Channels
    from ..weights.bundle import BundleConfig

__all__ = ["BundleRunner", "Clip", "EngineRunner", "Pace", "Part", "Runner", "Update", "race"]

Picture = NDArray[np.uint8]
Clock = Callable[[], float]
Part = Literal["whole", "crop", "network", "rest"]
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Clip:
    """A few frames, BGR, on which a target moves, and where it is in each.

    Attributes:
        frames: Each `[H, W, 3]`.
        boxes: One a frame.
    """

    frames: tuple[Picture, ...]
    boxes: tuple[XYWH, ...]

    @classmethod
    def moving(cls, width: int = 1280, height: int = 720, count: int = 12) -> Clip:
        """A patterned square that drifts over a patterned ground, the same each time."""
        import cv2

        rng = np.random.default_rng(7)
        coarse = rng.integers(0, 256, (height // 40, width // 40, 3), np.uint8)
        ground = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        side = min(width, height) // 7  # a tall frame has room for no more
        target = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (side, side))
        frames, boxes = [], []
        for i in range(count):
            x, y = width // 3 + 7 * i, height // 3 + 4 * i
            frame = ground.copy()
            frame[y : y + side, x : x + side] = target
            frames.append(np.asarray(frame, np.uint8))
            boxes.append((float(x), float(y), float(side), float(side)))
        return cls(tuple(frames), tuple(boxes))


class Update(NamedTuple):
    """How long one update took, and its parts, which are NaN where nobody asked.

    Attributes:
        whole: All of it.
        network: The engine's part.
        crop: Cutting the search crop out of the frame, which comes before.
    """

    whole: float
    network: float = math.nan
    crop: float = math.nan

    @property
    def rest(self) -> float:
        """The box in the frame, the state and the template policy."""
        return self.whole - self.network - self.crop


class Runner(Protocol):
    """One contestant."""

    def update(self, frame: int) -> Update:
        """Track into a frame of the clip, from the true box of the frame before; seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """What a race said of one contestant.

    Attributes:
        updates: Milliseconds of an update, the median of each round.
        outside: Milliseconds of it outside the network.
        every: Each counted update in milliseconds, in order.
    """

    updates: tuple[float, ...]
    outside: tuple[float, ...]
    every: tuple[Update, ...] = ()

    @property
    def milliseconds(self) -> float:
        """Of an update, the median over rounds."""
        return median(self.updates)

    @property
    def outside_milliseconds(self) -> float:
        """Of an update, outside the network."""
        return median(self.outside)

    def percentile(self, percent: float) -> float:
        """Milliseconds below which so many of the single updates stay."""
        return float(np.percentile(self.every_part("whole"), percent))

    def every_part(self, part: Part) -> list[float]:
        """Milliseconds of a part of each counted update, in order."""
        return [getattr(one, part) for one in self.every]

    @property
    def per_second(self) -> float:
        """Updates in a second."""
        return 1000.0 / self.milliseconds

    def times_faster(self, other: Pace) -> float:
        """The median over rounds of the other's time over this one's in the same round."""
        return median(b / a for a, b in zip(self.updates, other.updates, strict=True))


def race(
    runners: Mapping[K, Runner],
    *,
    frames: int,
    rounds: int = 8,
    block: int = 4,
    progress: Callable[[], None] | None = None,
) -> dict[K, Pace]:
    """Time all contestants in turns.

    Args:
        runners: Name to contestant.
        frames: Number of frames in their clip.
        rounds: How often each gets its turn.
        block: Counted updates of a turn.
        progress: Called after each turn.
    """
    updates: dict[K, list[float]] = {name: [] for name in runners}
    outside: dict[K, list[float]] = {name: [] for name in runners}
    every: dict[K, list[Update]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            turn = [runner.update(1 + i % (frames - 1)) for i in range(block + 1)][1:]
            turn = [Update(*(1000 * seconds for seconds in one)) for one in turn]
            updates[name].append(median(one.whole for one in turn))
            outside[name].append(median(one.whole - one.network for one in turn))
            every[name] += turn
            if progress is not None:
                progress()
    return {
        name: Pace(tuple(updates[name]), tuple(outside[name]), tuple(every[name]))
        for name in runners
    }


class EngineRunner:
    """An engine through the whole of `Tracker.update`.

    Args:
        engine: What runs the network.
        config: Of the bundle that it runs.
        clip: What it runs on.
        clock: What tells the time, in seconds: `time.process_time` counts the processor's time
            alone, which other programs on a busy machine hardly change.
    """

    def __init__(
        self, engine: Engine, config: BundleConfig, clip: Clip, clock: Clock = time.perf_counter
    ) -> None:
        from ..tracking.tracker import Tracker

        self.config = config
        self._clip = clip
        self._clock = clock
        self._engine = _Timed(engine, clock)
        self._tracker = Tracker.with_engine(self._engine, config)
        self._state = self._tracker.start(clip.frames[0], clip.boxes[0])[1]

    @property
    def info(self) -> EngineInfo:
        """The engine, and the precision it took."""
        return self._engine.info

    def update(self, frame: int) -> Update:
        """Seconds of the whole update, of its network and of its crop."""
        state = replace(self._state, box=Box(*self._clip.boxes[frame - 1]))
        self._engine.seconds = self._engine.cutting = 0.0
        start = self._clock()
        _, self._state = self._tracker.step(self._clip.frames[frame], state)
        return Update(self._clock() - start, self._engine.seconds, self._engine.cutting)


class BundleRunner(EngineRunner):
    """A bundle on an engine, through the whole of `Tracker.update`.

    Args:
        bundle: Name or folder.
        clip: What it runs on.
        engine: As `load_engine` takes it.
        threads: Of the engine.
        clock: As for `EngineRunner`.
    """

    def __init__(
        self,
        bundle: str | Path,
        clip: Clip,
        engine: str = "auto",
        threads: int | None = None,
        clock: Clock = time.perf_counter,
    ) -> None:
        from ..runtime.select import load_engine

        loaded, config = load_engine(bundle, engine, threads)
        super().__init__(loaded, config, clip, clock)


class BatchRunner:
    """The network alone on a batch of search crops; its times are those of one crop.

    Args:
        bundle: Name or folder.
        clip: What the crops are cut out of.
        engine: As `load_engine` takes it.
        batch: Crops at once.
        threads: Of the engine.
        clock: As in `BundleRunner`.
    """

    def __init__(
        self,
        bundle: str | Path,
        clip: Clip,
        engine: str = "auto",
        batch: int = 1,
        threads: int | None = None,
        clock: Clock = time.perf_counter,
    ) -> None:
        from ..runtime.select import load_engine
        from ..tracking.crop import Crop

        self._engine, config = load_engine(bundle, engine, threads)
        self.info = self._engine.info
        self._batch, self._clock = batch, clock
        at, box = config.tracker, Box(*clip.boxes[0])
        frame = clip.frames[0]
        template = Crop.around(box, at.template_factor, at.template_size).take(frame)
        search = Crop.around(box, at.search_factor, at.search_size).take(frame)
        self._search = np.stack([search] * batch)
        self._memory = self._engine.encode_templates(np.stack([np.stack([template] * 2)] * batch))

    def update(self, frame: int) -> Update:
        """Seconds for each crop of the batch: all of it is network."""
        start = self._clock()
        self._engine.step(self._search, self._memory)
        seconds = (self._clock() - start) / self._batch
        return Update(seconds, seconds, 0.0)


class _Timed:
    """An engine that adds up the time spent in it, and in cutting search crops for it."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        from ..tracking.crop import take_all

        self._engine, self._clock = engine, clock
        self._cut = getattr(engine, "take", take_all)
        self.info = engine.info
        self.seconds = self.cutting = 0.0

    def take(self, frame: Picture, crops: Sequence[Crop], channels: Channels = "bgr") -> Any:
        start = self._clock()
        taken = self._cut(frame, crops, channels)
        self.cutting += self._clock() - start
        return taken

    def encode_templates(self, templates: Picture) -> Memory:
        start = self._clock()
        memory = self._engine.encode_templates(templates)
        self.seconds += self._clock() - start
        return memory

    def join(self, memories: Sequence[Memory]) -> Memory:
        return self._engine.join(memories)

    def step(self, search: Picture, memory: Memory) -> StepOutput:
        start = self._clock()
        out = self._engine.step(search, memory)
        self.seconds += self._clock() - start
        return out


def decoding(path: str | Path, clock: Clock = time.perf_counter) -> list[float]:
    """Milliseconds to read each frame of a video."""
    from ..video.source import open_source

    with open_source(path) as source:
        times = [clock(), *(clock() for _ in source)]
    return [1000 * (after - before) for before, after in pairwise(times)]


_PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "torch",
    "triton",
)


def _gpus(driver: str = "/proc/driver/nvidia/gpus") -> list[str]:
    """Names of NVIDIA's GPUs as the driver tells them, for which nothing need be imported."""
    out = []
    for file in sorted(Path(driver).glob("*/information")):
        with contextlib.suppress(OSError):
            lines = file.read_text(errors="replace").splitlines()
            out += [ln.partition(":")[2].strip() for ln in lines if ln.startswith("Model:")]
    return out


def machine() -> dict[str, Any]:
    """What figures depend on: processor, GPUs, system, versions, and how busy it is."""
    from importlib.metadata import PackageNotFoundError, version

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    packages = {}
    for name in ("mixformerv2", *_PACKAGES):
        with contextlib.suppress(PackageNotFoundError):
            packages[name] = version(name)
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "gpus": _gpus(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": packages,
    }
