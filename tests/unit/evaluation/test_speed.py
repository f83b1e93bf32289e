"""The race: turns, ratios, and the clip that everything runs on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from mixformerv2.evaluation.speed import BundleRunner, Clip, EngineRunner, Pace, Update, race
from mixformerv2.runtime.select import load_engine
from mixformerv2.tracking.crop import Crop


class Scripted:
    """A contestant whose times are known, and who keeps a diary."""

    def __init__(self, name: str, seconds: list[float], diary: list[tuple[str, int]]) -> None:
        self.name, self.times, self.diary = name, cycle(seconds), diary

    def update(self, frame: int) -> Update:
        self.diary.append((self.name, frame))
        seconds = next(self.times)
        return Update(seconds, seconds / 2, seconds / 5)


def test_contestants_take_turns_and_the_first_update_is_not_counted() -> None:
    diary: list[tuple[str, int]] = []
    a = Scripted("a", [9.0, 0.2, 0.4], diary)
    b = Scripted("b", [9.0, 0.1, 0.1], diary)
    paces = race({"a": a, "b": b}, frames=3, rounds=2, block=2)
    assert [name for name, _ in diary] == ["a"] * 3 + ["b"] * 3 + ["a"] * 3 + ["b"] * 3
    assert {frame for _, frame in diary} == {1, 2}
    assert paces["a"].updates == pytest.approx((300.0, 300.0))
    assert paces["a"].outside_milliseconds == pytest.approx(150.0)
    parts = {"whole": 1.0, "network": 0.5, "crop": 0.2, "rest": 0.3}
    for part, share in parts.items():
        expected = [share * whole for whole in (200.0, 400.0, 200.0, 400.0)]
        assert paces["a"].every_part(part) == pytest.approx(expected)  # type: ignore[arg-type]
    assert paces["a"].percentile(50) == pytest.approx(300.0)
    assert paces["b"].per_second == pytest.approx(10.0)
    assert paces["b"].times_faster(paces["a"]) == pytest.approx(3.0)


def test_ratio_is_of_the_same_round() -> None:
    """A machine that slows threefold in the middle changes no ratio."""
    quick = Pace((1.0, 3.0, 1.0), (0.0,) * 3)
    slow = Pace((4.0, 12.0, 4.0), (math.nan,) * 3)
    assert quick.times_faster(slow) == 4.0


@pytest.mark.parametrize("size", [(1280, 720), (160, 120), (160, 1000)])
def test_clip_shows_the_target_where_it_says(size: tuple[int, int]) -> None:
    clip = Clip.moving(*size)
    patches = set()
    for frame, (x, y, w, h) in zip(clip.frames, clip.boxes, strict=True):
        assert frame.shape == (size[1], size[0], 3)
        patches.add(frame[int(y) : int(y + h), int(x) : int(x + w)].tobytes())
        assert x + w <= size[0]
        assert y + h <= size[1]
    assert len(patches) == 1
    assert len(set(clip.boxes)) == len(clip.boxes)


@pytest.mark.parametrize("engine", ["onnx", "torch-crops"])
def test_bundle_runner_times_the_parts_within_the_update(small_bundle: Path, engine: str) -> None:
    runner = BundleRunner(small_bundle, Clip.moving(320, 240), engine, threads=1)
    for frame in (1, 2):
        update = runner.update(frame)
        assert min(update.network, update.crop, update.rest) > 0
        assert sum((update.network, update.crop, update.rest)) == pytest.approx(update.whole)
    assert runner.info.name == engine


def test_each_part_is_timed_by_itself(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that only the parts move."""
    now = [0.0]

    def takes(seconds: float, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any) -> Any:
            now[0] += seconds
            return call(*given)

        return timed

    engine, config = load_engine(small_bundle, "onnx", 1)
    monkeypatch.setattr(engine, "step", takes(4.0, engine.step))
    monkeypatch.setattr(Crop, "take", takes(2.0, Crop.take))
    monkeypatch.setattr(Crop, "unit_to_frame", takes(1.0, Crop.unit_to_frame))
    config = replace(config, has_score=False)  # no template to cut after the network
    runner = EngineRunner(engine, config, Clip.moving(320, 240), lambda: now[0])
    runner.update(1)  # the templates are encoded
    update = runner.update(2)
    assert (update.whole, update.network, update.crop, update.rest) == (7.0, 4.0, 2.0, 1.0)
