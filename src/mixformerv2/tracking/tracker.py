"""One target, one frame at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..errors import ConfigError, StateError
from ..runtime.base import Engine, EngineInfo
from ..settings import build
from .crop import Crop
from .first import inside, style_of
from .frame import Channels, as_bgr
from .look import Look
from .motion import Motion, Smooth, middle_shown, search_box, settled_size
from .policy import TemplatePolicy, Templates, target_state
from .redetect import Trust, everywhere, judge
from .result import FPS, TrackResult, seconds_at
from .settings import TrackerSettings
from .state import TrackState, refuse_other_settings
from .still import Seen

if TYPE_CHECKING:
    from ..weights.bundle import BundleConfig

__all__ = ["Tracker"]


class Tracker:
    """Follows one target from a box on one frame.

    Args:
        model: Name of a shipped bundle, or a bundle folder.
        engine: "auto", "onnx", "openvino" or "torch"; also "openvino-fp32" and "openvino-bf16".
        threads: Threads of the engine; its own choice where None.
        channels: Order of the colours in the frames, "bgr" as OpenCV has it, or "rgb".
        settings: Settings that replace those of the bundle: a whole `TrackerSettings`, or a
            mapping of single ones such as `{"update_interval": 10}`.

    Raises:
        WeightsError: no such bundle.
        EngineError: an engine that is not installed, or refuses the bundle's graphs.
        ConfigError: an unknown setting, or a value that cannot work.

    Example:
        >>> tracker = Tracker("t", engine="onnx")  # doctest: +SKIP
        >>> tracker.init(frame, (197, 213, 34, 81)).state  # doctest: +SKIP
        'tracked'
        >>> tracker.update(next_frame).box  # doctest: +SKIP
        (196.2, 213.4, 34.1, 80.7)
    """

    def __init__(
        self,
        model: str | Path = "t",
        engine: str = "auto",
        threads: int | None = None,
        channels: Channels = "bgr",
        settings: TrackerSettings | Mapping[str, Any] | None = None,
    ) -> None:
        from ..runtime.select import load_engine

        loaded, config = load_engine(model, engine, threads)
        self._setup(loaded, config, channels, settings)

    @classmethod
    def for_video(
        cls,
        model: str | Path = "t",
        engine: str = "auto",
        threads: int | None = None,
        settings: TrackerSettings | Mapping[str, Any] | None = None,
    ) -> Self:
        """As `Tracker(...)`, beside a thread that decodes video (`alone` of `load_engine`)."""
        from ..runtime.select import load_engine

        loaded, config = load_engine(model, engine, threads, alone=False)
        return cls.with_engine(loaded, config, settings=settings)

    @classmethod
    def with_engine(
        cls,
        engine: Engine,
        config: BundleConfig,
        channels: Channels = "bgr",
        settings: TrackerSettings | Mapping[str, Any] | None = None,
    ) -> Self:
        """A tracker around an engine that is already there: one shared by several, or one's own."""
        self = cls.__new__(cls)
        self._setup(engine, config, channels, settings)
        return self

    def _setup(
        self,
        engine: Engine,
        config: BundleConfig,
        channels: Channels,
        settings: TrackerSettings | Mapping[str, Any] | None,
    ) -> None:
        if channels not in get_args(Channels):
            raise ConfigError(f"channels must be 'bgr' or 'rgb', got {channels!r}")
        self._engine = engine
        self._config = config
        self._channels = channels
        self._settings = _settings(config.tracker, settings)
        if self._settings.long_term and not config.has_score:
            raise ConfigError(
                f"long_term needs a model with a score, and {config.name!r} has none: it never "
                "knows that a target is lost"
            )
        # Without a score head nothing says which crop is a good template.
        interval = self._settings.update_interval if config.has_score else 0
        self._policy = TemplatePolicy(interval, self._settings.update_threshold)
        self._look = Look(
            engine, channels, has_score=config.has_score, mirror=self._settings.mirror
        )
        if self._settings.search_middle:
            self._look.try_middle(self._settings, config.arch)
        self._state: TrackState | None = None

    @property
    def info(self) -> EngineInfo:
        """Which engine runs, how precisely, and why it was chosen."""
        return self._engine.info

    @property
    def has_score(self) -> bool:
        """Whether the model tells how sure it is; else every score is 1, and nothing ever lost."""
        return self._config.has_score

    @property
    def settings(self) -> TrackerSettings:
        """The settings in force."""
        return self._settings

    @property
    def state(self) -> TrackState | None:
        """The present state, a value to keep and come back to with `step`; None before `init`."""
        return self._state

    def init(self, frame: Any, box: Sequence[float], time: float = 0.0) -> TrackResult:
        """Start on a target; what was tracked before is forgotten.

        Args:
            frame: A picture as `as_bgr` takes it.
            box: `(x, y, w, h)` in pixels. What stands out of the picture is cut off with a
                warning.
            time: The frame's time in seconds.

        Raises:
            BoxError: a box that is not finite, has no area or lies outside the picture.
            FrameError: not a picture.
            ConfigError: a time that is no finite number.
            EngineError: the first look (`box_style`) gave no box; the last target stays.
        """
        result, self._state = self.start(frame, box, time)
        return result

    def update(self, frame: Any, time: float | None = None) -> TrackResult:
        """Find the target in the next frame.

        Args:
            frame: A picture as `as_bgr` takes it. Where its size is not that of the last frame,
                the box is taken to have grown or shrunk with the picture.
            time: The frame's time in seconds; its number over 30 where None.

        Raises:
            StateError: `init` was not called.
            FrameError: not a picture.
            ConfigError: a time that is no finite number.
        """
        result, self._state = self.step(frame, self._started(), time)
        return result

    def skip(self, time: float | None = None) -> TrackResult:
        """Count a frame that could not be read: the last box again, "lost", score 0."""
        result, self._state = self.miss(self._started(), time)
        return result

    def save_state(self) -> bytes:
        """The present state, for `load_state` in this or another process.

        Raises:
            StateError: `init` was not called.
        """
        return self._started().to_bytes(self._settings, self._config.arch)

    def load_state(self, data: bytes) -> None:
        """Carry on from a saved state, with results equal to those without the break.

        Raises:
            StateError: damaged bytes, or the state of a tracker with other weights or settings.
        """
        state = self._mine(TrackState.from_bytes(data))
        refuse_other_settings(data, self._settings, self._config.arch)
        self._state = state

    def start(
        self, frame: Any, box: Sequence[float], time: float = 0.0
    ) -> tuple[TrackResult, TrackState]:
        """`init` as a function: the given box as a result, and the state to `step` from."""
        picture = as_bgr(frame)
        height, width = picture.shape[:2]
        target = inside(Box.parse(box), width, height)
        settings, seconds = self._settings, seconds_at(time, 0)
        around = Crop.around(target, settings.template_factor, settings.template_size)
        state = TrackState(
            box=target,
            target="tracked",
            frame=0,
            time=seconds,
            frame_size=(width, height),
            templates=Templates.of(around.take(picture, self._channels)),
            weights_sha256=self._config.weights_sha256,
            given=True,
        )
        if settings.box_style:
            again = Crop.around(target, settings.search_factor, settings.search_size)
            ((found, _),) = self._look.boxes(picture, [again], [state.templates])
            found = found.clip(width, height, settings.min_size)
            state = replace(state, style=style_of(target, found, settings.box_style))
        if settings.smooth_hz:
            state = replace(state, motion=Motion(smooth=Smooth.at(state.found)))
        return TrackResult(target.xywh, 1.0, "tracked", 0, seconds), state

    def step(
        self, frame: Any, state: TrackState, time: float | None = None
    ) -> tuple[TrackResult, TrackState]:
        """`update` as a function of a state; neither the state nor the tracker changes."""
        return self.step_all(frame, [state], time)[0]

    def step_all(
        self, frame: Any, states: Sequence[TrackState], time: float | None = None
    ) -> list[tuple[TrackResult, TrackState]]:
        """`step` for several targets in one frame, in one pass of the network."""
        if not states:
            return []
        picture = as_bgr(frame)
        height, width = picture.shape[:2]
        settings = self._settings
        states = [self._mine(state).resized(width, height) for state in states]
        still = [self._is_still(state, picture) for state in states]
        moving = [state for state, rests in zip(states, still, strict=True) if not rests]
        crops = [
            Crop.around(*search_box(state.box, state.motion, settings), settings.search_size)
            for state in moving
        ]
        found: list[tuple[Box, float]] = []
        if moving:
            middles = [middle_shown(state.box, state.motion, settings) for state in moving]
            templates = [state.templates for state in moving]
            found = self._look.boxes(picture, crops, templates, middles)
        looks = iter(zip(crops, found, strict=True))
        answers = []
        for state, rests in zip(states, still, strict=True):
            if state.seen is not None and rests:
                seen: Seen | None = state.seen.once_more()
                result, after = self._after(state, picture, state.box, state.seen.score, time)
            else:
                crop, (box, score) = next(looks)
                box = box.clip(width, height, settings.min_size)
                result, after = self._after(state, picture, box, score, time)
                seen = self._seen(picture, crop, score)
            answers.append((result, after if seen is None else replace(after, seen=seen)))
        return answers

    def _is_still(self, state: TrackState, picture: NDArray[np.uint8]) -> bool:
        settings, seen = self._settings, state.seen
        if not settings.still_below or seen is None or state.target != "tracked":
            return False
        # Of a forged state: wider than any look of these settings, and than the memory.
        factor = settings.search_factor * settings.search_growth_max
        if seen.crop.side > Crop.around(state.widest, factor, settings.search_size).side:
            return False
        return seen.holds(picture, self._channels, settings.still_below)

    def _seen(self, picture: NDArray[np.uint8], crop: Crop, score: float) -> Seen | None:
        if not self._settings.still_below:
            return None
        return Seen.at(picture, crop, self._channels, score)

    def miss(self, state: TrackState, time: float | None = None) -> tuple[TrackResult, TrackState]:
        """`skip` as a function. The next frame is judged as if this one had not been."""
        frame = state.frame + 1
        templates = self._policy.advance(state.templates, frame, 0.0, _nothing)
        box = state.answer(self._settings.min_size)
        result = TrackResult(box.xywh, 0.0, "lost", frame, seconds_at(time, frame))
        # The clock stays: the next answer is as far from the last one as their times are.
        return result, replace(state, frame=frame, templates=templates)

    def _after(
        self,
        state: TrackState,
        picture: NDArray[np.uint8],
        box: Box,
        score: float,
        time: float | None,
    ) -> tuple[TrackResult, TrackState]:
        settings = self._settings
        frame = state.frame + 1
        time = seconds_at(time, frame)
        # Without a score head every score is 1, which is "tracked" by any thresholds.
        target = target_state(state.target, score, settings)
        box = _settled(state.found, box, picture, settings)
        trust = None
        if settings.long_term:

            def search(trust: Trust) -> tuple[Box, float] | None:
                return everywhere(self._look, picture, state.templates, trust, frame, settings)

            before = (state.target, state.trust or Trust(state.found))
            box, score, target, trust = judge(before, (box, score, target), search, settings)
        # Clocks that stand still or run back are taken for the usual one.
        seconds = time - state.time if time > state.time else 1 / FPS
        # Where a lost target waited in long-term tracking is not where it was.
        last = None if trust is not None and state.target == "lost" else state.box

        def crop() -> NDArray[np.uint8]:
            around = Crop.around(box, settings.template_factor, settings.template_size)
            return around.take(picture, self._channels)

        after = TrackState(
            box=box,
            target=target,
            frame=frame,
            time=time,
            frame_size=(picture.shape[1], picture.shape[0]),
            # What was found again but not believed yet is no template.
            templates=self._policy.advance(
                state.templates, frame, score if trust is None or target != "lost" else 0.0, crop
            ),
            weights_sha256=state.weights_sha256,
            motion=state.motion.after(last, box, target, seconds, settings),
            trust=trust,
            style=state.style,
        )
        answer = after.answer(settings.min_size)
        return TrackResult(answer.xywh, score, target, frame, time), after

    def _started(self) -> TrackState:
        if self._state is None:
            raise StateError("the tracker has no target yet; call init(frame, box) first")
        return self._state

    def _mine(self, state: TrackState) -> TrackState:
        """Refuse a state whose scores and templates belong to another network."""
        if state.weights_sha256 != self._config.weights_sha256:
            raise StateError(
                f"this state was made with weights {state.weights_sha256[:12]}, but "
                f"{self._config.name!r} has {self._config.weights_sha256[:12]}; load the bundle "
                "that it was saved with"
            )
        size, expected = state.templates.pair.shape[1], self._settings.template_size
        if size != expected:
            raise StateError(
                f"this state has templates of {size} pixels, this tracker wants {expected}"
            )
        return state


def _settings(
    base: TrackerSettings, given: TrackerSettings | Mapping[str, Any] | None
) -> TrackerSettings:
    if given is None:
        return base
    if not isinstance(given, TrackerSettings | Mapping):
        raise ConfigError(
            f"settings must be a mapping such as {{'min_size': 4}}, got {given!r:.80}"
        )
    if not isinstance(given, TrackerSettings):
        given = build(TrackerSettings, {**asdict(base), **given}, "settings")
    for name in ("template_size", "search_size"):
        if getattr(given, name) != getattr(base, name):
            raise ConfigError(
                f"{name} belongs to the network: this bundle has {getattr(base, name)}, "
                f"got {getattr(given, name)}"
            )
    return given


def _settled(before: Box, box: Box, picture: NDArray[np.uint8], settings: TrackerSettings) -> Box:
    """The answer with its size held back, inside the picture."""
    settled = settled_size(before, box, settings)
    if settled is box:
        return box
    return settled.clip(picture.shape[1], picture.shape[0], settings.min_size)


def _nothing() -> NDArray[np.uint8]:
    raise AssertionError("a frame that could not be read gives no template")
