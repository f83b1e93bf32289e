"""One engine for many threads: who is batched with whom, who waits, and who gets errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixformerv2.errors import ConfigError, EngineError
from mixformerv2.runtime import load_engine
from mixformerv2.runtime.base import EngineInfo, StepOutput
from mixformerv2.runtime.shared import SharedEngine
from mixformerv2.tracking import Tracker
from tests.doubles import ScriptedEngine, moving_square

LONG = 30.0
"""Seconds that no test waits for: what would take so long hangs."""


class Echo:
    """Answers each crop with its first pixel and its memory, and keeps the sizes of batches."""

    def __init__(self) -> None:
        self.info = EngineInfo("echo", "fp32", 1)
        self.batches: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def encode_templates(self, templates: Any) -> Any:
        return templates[:, 0, 0, 0, 0]

    def join(self, memories: Any) -> Any:
        return np.concatenate(memories)

    def step(self, search: Any, memory: Any) -> StepOutput:
        self.entered.set()
        assert self.gate.wait(LONG)
        self.batches.append(len(search))
        if (search == 66).any():
            raise ValueError("66 is refused")
        assert len(search) == len(memory)
        first = np.float32(search[:, 0, 0, 0])
        return StepOutput(
            np.stack([first] * 4, 1), np.float32(memory), np.zeros((len(first), 4, 2))
        )


def crop(value: int, count: int = 1) -> Any:
    return np.full((count, 4, 4, 3), value, np.uint8)


@pytest.fixture
def make() -> Iterator[Callable[..., tuple[SharedEngine, Echo]]]:
    """Shared engines that are closed at the end."""
    made = []

    def one(**how: Any) -> tuple[SharedEngine, Echo]:
        echo = Echo()
        made.append(SharedEngine(echo, **how))
        return made[-1], echo

    yield one
    for shared in made:
        shared.close()


def ask_at_once(shared: SharedEngine, values: list[int]) -> list[Any]:
    """What callers get that all ask together."""
    together = threading.Barrier(len(values))

    def ask(value: int) -> Any:
        with shared.caller():
            together.wait(LONG)
            try:
                return shared.step(crop(value), np.array([value + 100]))
            finally:
                together.wait(LONG)

    with ThreadPoolExecutor(len(values)) as pool:
        return list(pool.map(lambda value: _caught(ask, value), values))


def _caught(ask: Callable[[int], Any], value: int) -> Any:
    try:
        return ask(value)
    except Exception as error:
        return error


def test_all_that_ask_together_are_one_batch_and_each_gets_its_own(make: Any) -> None:
    shared, echo = make(max_batch=8, max_wait=LONG)
    answers = ask_at_once(shared, [3, 1, 4, 15])
    assert echo.batches == [4]
    assert shared.batches == {4: 1}
    assert [(one.boxes.shape, one.boxes[0, 0], one.scores[0]) for one in answers] == [
        ((1, 4), value, value + 100) for value in (3, 1, 4, 15)
    ]


def test_crops_of_two_sizes_are_two_batches(make: Any) -> None:
    """Targets at rest show the middle of their crops; all the same nobody is asked for alone."""
    shared, echo = make(max_batch=8, max_wait=LONG)
    together = threading.Barrier(4)

    def ask(value: int) -> Any:
        with shared.caller():
            together.wait(LONG)
            size = 2 + 2 * (value % 2)
            answer = shared.step(crop(value)[:, :size, :size], np.array([value]))
            together.wait(LONG)
            return answer

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(4)))
    assert [one.scores[0] for one in answers] == [0, 1, 2, 3]
    assert echo.batches == [2, 2]
    assert shared.batches == {2: 2}


def test_a_batch_never_holds_more_than_it_may(make: Any) -> None:
    shared, echo = make(max_batch=2, max_wait=0.0)
    echo.gate.clear()
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(shared.step, crop(value), np.array([value])) for value in range(5)]
        assert echo.entered.wait(LONG)
        echo.gate.set()
        assert [one.result(LONG).scores[0] for one in asked] == [0, 1, 2, 3, 4]
    assert max(echo.batches) <= 2
    assert sum(echo.batches) == 5


def test_what_one_caller_asks_for_is_never_parted(make: Any) -> None:
    shared, echo = make(max_batch=2)
    assert shared.step(crop(7, 5), np.arange(5)).scores.tolist() == [0, 1, 2, 3, 4]
    assert echo.batches == [5]


def test_a_caller_that_never_asks_costs_the_bound_and_no_more(make: Any) -> None:
    shared, echo = make(max_batch=8, max_wait=0.05)
    with shared.caller(), shared.caller():  # the second is asleep
        began = time.monotonic()
        shared.step(crop(1), np.array([1]))
        assert time.monotonic() - began >= 0.05
    assert echo.batches == [1]


def test_nobody_waits_for_callers_that_have_gone(make: Any) -> None:
    shared, echo = make(max_batch=8, max_wait=LONG)
    left = threading.Event()

    def leave() -> None:
        with shared.caller():
            left.wait(LONG)

    gone = threading.Thread(target=leave)
    gone.start()
    while not shared._callers:
        time.sleep(0.001)
    with shared.caller(), ThreadPoolExecutor(1) as pool:
        asked = pool.submit(shared.step, crop(1), np.array([1]))
        left.set()
        assert asked.result(LONG).scores[0] == 1
    gone.join()
    assert echo.batches == [1]


def test_a_fault_goes_to_whom_it_belongs(make: Any) -> None:
    shared, echo = make(max_batch=8, max_wait=LONG)
    good, bad, other = ask_at_once(shared, [1, 66, 2])
    assert isinstance(bad, ValueError)
    assert (good.scores[0], other.scores[0]) == (101, 102)
    assert sorted(echo.batches) == [1, 1, 1, 3]
    assert shared.step(crop(5), np.array([9])).scores[0] == 9  # it goes on


def test_joined_memories_are_made_once(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shared, echo = make(max_batch=8, max_wait=LONG)
    joins, memories = [], {value: np.array([value]) for value in (1, 2)}
    monkeypatch.setattr(echo, "join", lambda memories: joins.append(1) or np.concatenate(memories))
    together = threading.Barrier(2)

    def ask(value: int) -> None:
        with shared.caller():
            for _ in range(5):
                together.wait(LONG)
                assert shared.step(crop(value), memories[value]).scores[0] == value

            together.wait(LONG)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(ask, memories))
    assert shared.batches == {2: 5}
    assert len(joins) == 1


def test_closing_answers_whoever_waits() -> None:
    echo = Echo()
    shared = SharedEngine(echo, max_wait=0.0)
    echo.gate.clear()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(shared.step, crop(1), np.array([1]))
        assert echo.entered.wait(LONG)
        second = pool.submit(shared.step, crop(2), np.array([2]))
        while not shared._waiting:
            time.sleep(0.001)
        closing = pool.submit(shared.close)
        while not shared._closed:
            time.sleep(0.001)
        echo.gate.set()
        closing.result(LONG)
        assert first.result(LONG).scores[0] == 1
        with pytest.raises(EngineError, match="closed while this crop waited"):
            second.result(LONG)
    with pytest.raises(EngineError, match="was closed"):
        shared.step(crop(1), np.array([1]))
    with pytest.raises(EngineError, match="was closed"), shared.caller():
        pass


@pytest.mark.parametrize("how", [{"max_batch": 0}, {"max_wait": -1.0}, {"max_wait": float("nan")}])
def test_bounds_that_cannot_work(how: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="max_"):
        SharedEngine(Echo(), **how)


def test_crops_that_the_engine_cuts_itself_go_in_batches_too(small_bundle: Path) -> None:
    engine, config = load_engine(small_bundle, "torch-crops", 1)
    alone, frames = Tracker.with_engine(engine, config), [moving_square()(n) for n in range(2)]
    boxes = [(20, 40, 24, 24), (60, 50, 20, 20)]
    states = [alone.start(frames[0], box)[1] for box in boxes]
    expected = [alone.step(frames[1], state)[0].box for state in states]
    shared = SharedEngine(engine, max_batch=2, max_wait=LONG)
    seen: list[type] = []

    def step(search: Any, memory: Any) -> Any:
        seen.append(type(search))
        return type(engine).step(engine, search, memory)

    engine.step = step  # type: ignore[method-assign]
    tracker, together = Tracker.with_engine(shared, config), threading.Barrier(2)

    def ask(state: Any) -> Any:
        with shared.caller():
            together.wait(LONG)
            found = tracker.step(frames[1], state)[0].box
            together.wait(LONG)
            return found

    with ThreadPoolExecutor(2) as pool:
        got = list(pool.map(ask, states))
    shared.close()
    np.testing.assert_allclose(got, expected, atol=1e-3)
    assert shared.batches == {2: 1}
    assert [one.__name__ for one in seen] == ["Tensor"]
    assert not hasattr(SharedEngine(ScriptedEngine()), "take")
