"""Many videos at once on one engine, with their crops in common batches."""

from __future__ import annotations

import contextlib
import queue
import reprlib
import threading
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..errors import ConfigError
from ..runtime.base import EngineInfo
from ..runtime.select import load_engine
from ..runtime.shared import SharedEngine
from .api import RECONNECT, follow
from .frame import Channels
from .result import TrackResult
from .settings import TrackerSettings
from .tracker import Tracker

if TYPE_CHECKING:
    from ..video.source import SourceLike

__all__ = ["StreamFailure", "StreamPool"]

K = TypeVar("K", bound=Hashable)
_AHEAD = 64
"""Results for each stream that wait for whoever reads them; then the streams wait too."""
_PATIENCE = 2.0
"""Seconds that the end waits for streams; one whose source hangs is left to itself."""


class StreamFailure(NamedTuple):
    """How a stream ended that did not come to its end; the others go on.

    Attributes:
        error: What it raised.
    """

    error: BaseException


class StreamPool:
    """Trackers for many videos, whose crops go through one engine as batches.

    Each stream has a thread of its own that reads, crops and tracks; the network's part of all of
    them is one batch. What a stream gets is what it would get alone.

    Args:
        model: Name of a shipped bundle, or a bundle folder.
        engine: As for `Tracker`.
        threads: As for `Tracker`.
        max_batch: Crops of a batch at most.
        max_wait: Seconds that a crop waits for those of other streams at most.
        channels: Order of the colours in the frames.
        settings: As for `Tracker`.

    Raises:
        WeightsError, EngineError, ConfigError: as for `Tracker`.

    Example:
        >>> with StreamPool("t", max_batch=8, max_wait=0.01) as pool:  # doctest: +SKIP
        ...     videos = {"door": ("rtsp://door/live", (20, 30, 40, 80)),
        ...               "yard": ("yard.mp4", (197, 213, 34, 81))}
        ...     for name, result in pool.track(videos):
        ...         print(name, result)
    """

    def __init__(
        self,
        model: str | Path = "t",
        engine: str = "auto",
        threads: int | None = None,
        *,
        max_batch: int = 16,
        max_wait: float = 0.005,
        channels: Channels = "bgr",
        settings: TrackerSettings | Mapping[str, Any] | None = None,
    ) -> None:
        loaded, self._config = load_engine(model, engine, threads, alone=False)
        self._shared = SharedEngine(loaded, max_batch, max_wait)
        self._channels, self._settings = channels, settings
        try:
            self._tracker()  # settings that cannot work are said now
        except BaseException:
            self._shared.close()
            raise

    @property
    def info(self) -> EngineInfo:
        """Which engine runs, how precisely, and why it was chosen."""
        return self._shared.info

    @property
    def batches(self) -> dict[int, int]:
        """How many batches there were so far of how many crops."""
        return dict(sorted(self._shared.batches.items()))

    @contextlib.contextmanager
    def stream(self) -> Iterator[Tracker]:
        """A tracker for one stream, to be used in one thread, which batches wait for until it ends.

        Raises:
            EngineError: the pool was closed.
        """
        with self._shared.caller():
            yield self._tracker()

    def track(
        self,
        sources: Mapping[K, tuple[SourceLike, Sequence[float]]],
        *,
        reconnect: float = RECONNECT,
    ) -> Iterator[tuple[K, TrackResult | StreamFailure]]:
        """Follow one target in each of several videos, all at once.

        Results come as they are ready; those of a stream are in the order of its frames. A stream
        that fails says so with a `StreamFailure`, its last; the others go on. Ending the iteration
        ends all streams.

        Args:
            sources: By a name of one's own: a source as for `track()`, and the box on its first
                frame.
            reconnect: As for `track()`.

        Raises:
            ConfigError: `sources` or one of its entries is made otherwise.
        """
        streams = _checked(sources)
        results: queue.Queue[tuple[K, TrackResult | StreamFailure | None]]
        results = queue.Queue(_AHEAD * max(1, len(streams)))
        stop = threading.Event()

        def put(name: K, result: TrackResult | StreamFailure | None) -> None:
            while not stop.is_set():
                with contextlib.suppress(queue.Full):
                    results.put((name, result), timeout=0.1)
                    break

        def run(name: K, source: SourceLike, box: Sequence[float]) -> None:
            try:
                with self.stream() as tracker:
                    for result in follow(source, box, lambda: tracker, reconnect=reconnect):
                        put(name, result)
                        if stop.is_set():
                            return
            except BaseException as error:  # whatever it is, it is this stream's alone
                put(name, StreamFailure(error))
            finally:  # or whoever reads the results would wait for ever
                put(name, None)

        threads = [
            threading.Thread(target=run, args=(name, source, box), daemon=True)
            for name, (source, box) in streams.items()
        ]
        left = len(threads)
        try:
            for thread in threads:
                thread.start()
            while left:
                name, result = results.get()
                if result is None:
                    left -= 1
                else:
                    yield name, result
        finally:
            stop.set()
            until = time.monotonic() + _PATIENCE
            for thread in threads:
                if thread.ident is not None:
                    thread.join(max(0.0, until - time.monotonic()))

    def close(self) -> None:
        """End the engine; who still waits for an answer gets an `EngineError`."""
        self._shared.close()

    def __enter__(self) -> StreamPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _tracker(self) -> Tracker:
        return Tracker.with_engine(self._shared, self._config, self._channels, self._settings)


def _checked(sources: Any) -> dict[Any, tuple[SourceLike, Sequence[float]]]:
    """Sources and boxes by name; a box that is none is said by its own stream."""
    if not isinstance(sources, Mapping):
        kind = type(sources).__name__
        raise ConfigError(f"sources is {{name: (source, box)}}, a mapping; got a {kind}")
    for name, given in sources.items():
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise ConfigError(
                f"stream {name!r} must be a source and its box, (source, (x, y, w, h)), "
                f"got {reprlib.repr(given)}"
            )
    return {name: (source, box) for name, (source, box) in sources.items()}
