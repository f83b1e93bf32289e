"""One engine for many callers: what they ask at about the same time goes through it as one batch.

```
thread of stream 1 ── step ──┐                ┌── answer ──> thread of stream 1
thread of stream 2 ── step ──┼──> one batch ──┼── answer ──> thread of stream 2
thread of stream 3 ── step ──┘                └── answer ──> thread of stream 3
```
A batch starts when there are as many crops as it may hold, when nobody is left to wait for, or when
its first crop has waited as long as it may. So a stream that is slow, or hangs, costs the others
that bound and no more.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, EngineError
from .base import Engine, EngineInfo, Memory, StepOutput

if TYPE_CHECKING:
    from torch import Tensor

    from ..tracking.crop import Crop

__all__ = ["SharedEngine"]

_KEEP = 8
"""Joined memories that are kept: streams that come by in other groups each time make new ones."""


@dataclass(slots=True, eq=False)
class _Request:
    """What one caller waits for."""

    search: NDArray[np.uint8] | Tensor
    memory: Memory
    since: float
    done: threading.Event = field(default_factory=threading.Event)
    output: StepOutput | None = None
    error: BaseException | None = None


class SharedEngine:
    """An engine for any number of threads, which batches their crops.

    Args:
        engine: Does the work; nobody else may use it meanwhile.
        max_batch: Crops of a batch at most. One caller's own batch is never parted.
        max_wait: Seconds that a crop waits for others at most, once the engine is free.

    Raises:
        ConfigError: fewer than one crop, or a time below 0.
    """

    def __init__(self, engine: Engine, max_batch: int = 16, max_wait: float = 0.005) -> None:
        if max_batch < 1:
            raise ConfigError(f"a batch holds at least 1 crop, got max_batch={max_batch}")
        if not 0 <= max_wait <= 60:
            raise ConfigError(f"max_wait must be from 0 to 60 seconds, got {max_wait}")
        self._engine, self._max_batch, self._max_wait = engine, max_batch, max_wait
        self._busy = threading.Lock()
        if hasattr(engine, "take"):
            self.take = self._cut
        self._change = threading.Condition()
        self._waiting: deque[_Request] = deque()
        self._callers = 0
        self._closed = False
        self._joined: OrderedDict[tuple[int, ...], tuple[list[Memory], Memory]] = OrderedDict()
        self.batches: dict[int, int] = {}
        """How many batches there were of how many crops."""
        self._thread = threading.Thread(target=self._serve, name="mixformerv2-batch", daemon=True)
        self._thread.start()

    @property
    def info(self) -> EngineInfo:
        """What runs, and why."""
        return self._engine.info

    @contextlib.contextmanager
    def caller(self) -> Iterator[None]:
        """Count this thread among those whose crops a batch waits for.

        Raises:
            EngineError: the engine was closed.
        """
        with self._change:
            self._refuse_closed()
            self._callers += 1
        try:
            yield
        finally:
            with self._change:
                self._callers -= 1
                self._change.notify_all()

    def encode_templates(self, templates: NDArray[np.uint8]) -> Memory:
        """As the engine has it; waits for the batch in work."""
        with self._busy:
            return self._engine.encode_templates(templates)

    def join(self, memories: Sequence[Memory]) -> Memory:
        """As the engine has it."""
        return self._engine.join(memories)

    def _cut(
        self, frame: NDArray[np.uint8], crops: Sequence[Crop], channels: str = "bgr"
    ) -> Tensor:
        """`take` of an engine that has one; waits for the batch in work."""
        with self._busy:
            taken: Tensor = self._engine.take(frame, crops, channels)  # type: ignore[attr-defined]
            return taken

    def step(self, search: NDArray[np.uint8] | Tensor, memory: Memory) -> StepOutput:
        """Find the target in search crops, in a batch with those of other callers.

        Raises:
            EngineError: the engine refuses these crops, or was closed.
        """
        request = _Request(search, memory, time.monotonic())
        with self._change:
            self._refuse_closed()
            self._waiting.append(request)
            self._change.notify_all()
        request.done.wait()
        if request.error is not None:
            raise request.error
        assert request.output is not None
        return request.output

    def close(self) -> None:
        """End after the batch in work; who still waits gets an `EngineError`."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        self._thread.join()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise EngineError("this shared engine was closed; make another")

    def _serve(self) -> None:
        while batch := self._next_batch():
            self._answer(batch)
            for request in batch:
                request.done.set()
        for request in self._waiting:
            request.error = EngineError("the shared engine was closed while this crop waited")
            request.done.set()

    def _next_batch(self) -> list[_Request]:
        """Wait for crops, and take those of one batch; none when closed."""
        with self._change:
            while not self._closed:
                rest = self._still_to_wait()
                if rest == 0.0:
                    return self._take()
                self._change.wait(rest)
        return []

    def _still_to_wait(self) -> float | None:
        """Seconds until the next batch starts; None for as long as nobody asks."""
        if not self._waiting:
            return None
        crops = sum(len(request.search) for request in self._waiting)
        if crops >= self._max_batch or len(self._waiting) >= self._callers:
            return 0.0
        # The clock of a crop that came while the engine was busy has run meanwhile.
        return max(0.0, self._waiting[0].since + self._max_wait - time.monotonic())

    def _take(self) -> list[_Request]:
        """The requests of a batch, those that have waited longest first."""
        batch: list[_Request] = []
        crops = 0
        while self._waiting:
            count = len(self._waiting[0].search)
            if batch and crops + count > self._max_batch:
                break
            batch.append(self._waiting.popleft())
            crops += count
        # In one order whoever came first, so that their joined memory is found again.
        return sorted(batch, key=lambda request: id(request.memory))

    def _answer(self, batch: list[_Request]) -> None:
        """Fill in answers; what goes wrong with all of them is tried with each alone."""
        sizes = {request.search.shape[1:] for request in batch}
        if len(sizes) > 1:  # some targets rest, and their trackers show the middle of a crop alone
            for size in sizes:
                self._answer([one for one in batch if one.search.shape[1:] == size])
            return
        try:
            search = _joined([request.search for request in batch])
            with self._busy:
                output = self._engine.step(search, self._memory(batch))
            self.batches[len(search)] = self.batches.get(len(search), 0) + 1
        except BaseException as error:  # it belongs to those who wait, not to this thread
            if len(batch) == 1:
                batch[0].error = error
                return
            for request in batch:
                self._answer([request])
            return
        start = 0
        for request in batch:
            rows = slice(start, start + len(request.search))
            request.output = StepOutput(output.boxes[rows], output.scores[rows], output.probs[rows])
            start = rows.stop

    def _memory(self, batch: list[_Request]) -> Memory:
        memories = [request.memory for request in batch]
        if len(memories) == 1:
            return memories[0]
        key = tuple(id(memory) for memory in memories)
        if key not in self._joined:
            self._joined[key] = (memories, self._engine.join(memories))
            if len(self._joined) > _KEEP:
                self._joined.popitem(last=False)
        self._joined.move_to_end(key)
        return self._joined[key][1]


def _joined(crops: Sequence[NDArray[np.uint8] | Tensor]) -> Any:
    """Crops of several callers as one batch, on the device where an engine cut them itself."""
    arrays = [one for one in crops if isinstance(one, np.ndarray)]
    if len(arrays) == len(crops):
        return np.concatenate(arrays)
    import torch

    device = next(one.device for one in crops if not isinstance(one, np.ndarray))
    return torch.cat([torch.as_tensor(one, device=device) for one in crops])
