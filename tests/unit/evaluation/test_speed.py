"""The race: turns, ratios, and the clip that everything runs on."""

from __future__ import annotations

import math
from itertools import cycle
from pathlib import Path

import pytest

from mixformerv2.evaluation.speed import BundleRunner, Clip, Pace, race


class Scripted:
    """A contestant whose times are known, and who keeps a diary."""

    def __init__(self, name: str, seconds: list[float], diary: list[tuple[str, int]]) -> None:
        self.name, self.times, self.diary = name, cycle(seconds), diary

    def update(self, frame: int) -> tuple[float, float]:
        self.diary.append((self.name, frame))
        seconds = next(self.times)
        return seconds, seconds / 2


def test_contestants_take_turns_and_the_first_update_is_not_counted() -> None:
    diary: list[tuple[str, int]] = []
    a = Scripted("a", [9.0, 0.2, 0.4], diary)
    b = Scripted("b", [9.0, 0.1, 0.1], diary)
    paces = race({"a": a, "b": b}, frames=3, rounds=2, block=2)
    assert [name for name, _ in diary] == ["a"] * 3 + ["b"] * 3 + ["a"] * 3 + ["b"] * 3
    assert {frame for _, frame in diary} == {1, 2}
    assert paces["a"].updates == pytest.approx((300.0, 300.0))
    assert paces["a"].outside_milliseconds == pytest.approx(150.0)
    assert paces["b"].per_second == pytest.approx(10.0)
    assert paces["b"].times_faster(paces["a"]) == pytest.approx(3.0)


def test_ratio_is_of_the_same_round() -> None:
    """A machine that slows threefold in the middle changes no ratio."""
    quick = Pace((1.0, 3.0, 1.0), (0.0,) * 3)
    slow = Pace((4.0, 12.0, 4.0), (math.nan,) * 3)
    assert quick.times_faster(slow) == 4.0


@pytest.mark.parametrize("size", [(1280, 720), (160, 120)])
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


def test_bundle_runner_times_the_network_within_the_update(small_bundle: Path) -> None:
    runner = BundleRunner(small_bundle, Clip.moving(320, 240), "onnx", threads=1)
    for frame in (1, 2):
        whole, network = runner.update(frame)
        assert 0 < network < whole
    assert runner.info.name == "onnx"
