"""Mirrored crops: the same answer for what is symmetrical, the mean for what is not."""

from __future__ import annotations

import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixformerv2.tracking import Tracker, look
from mixformerv2.tracking.policy import Templates
from tests.doubles import ScriptedEngine, config, moving_square

FRAME = moving_square()(0)
BOX = (20, 40, 24, 24)


def test_crops_and_templates_go_in_mirrored_as_one_batch() -> None:
    engine = ScriptedEngine(corners=(0.4, 0.4, 0.7, 0.6))
    one = Tracker.with_engine(engine, config(mirror=True))
    one.init(FRAME, BOX)
    result = one.update(FRAME)
    (search,), (templates,) = engine.searched, engine.memories
    np.testing.assert_array_equal(search[1], search[0][:, ::-1])
    np.testing.assert_array_equal(templates[1, 0], templates[0, 0][:, ::-1])
    side = 96
    # 0.4..0.7 and its mirror image 0.3..0.6: on the mean, a box in the middle.
    assert result.box == pytest.approx((32 - 0.15 * side, 52 - 0.1 * side, 28.8, 19.2), abs=1e-4)


def test_scores_are_their_mean() -> None:
    one = Tracker.with_engine(ScriptedEngine([0.9, 0.5]), config(mirror=True))
    one.init(FRAME, BOX)
    assert one.update(FRAME).score == pytest.approx(0.7)


def test_a_mirrored_video_gives_mirrored_boxes(small_bundle: Path) -> None:
    frames = [moving_square()(n) for n in range(4)]
    one = Tracker(small_bundle, engine="onnx", settings={"mirror": True})
    one.init(frames[0], BOX)
    plain = np.array([one.update(frame).box for frame in frames[1:]])
    width = frames[0].shape[1]
    one.init(frames[0][:, ::-1], (width - 20 - 24, 40, 24, 24))
    turned = np.array([one.update(frame[:, ::-1]).box for frame in frames[1:]])
    turned[:, 0] = width - turned[:, 0] - turned[:, 2]
    # Within the rounding of the crops, whose centres may lie on half pixels.
    np.testing.assert_allclose(turned, plain, atol=1.5)


def test_threads_do_not_drop_each_others_memories(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(OrderedDict[Any, Any]):
        def __setitem__(self, key: Any, value: Any) -> None:
            super().__setitem__(key, value)
            time.sleep(1e-3)  # here another thread would have its turn

    monkeypatch.setattr(look, "OrderedDict", Slow)
    memories = look._Memories(ScriptedEngine(), keep=1)

    def ask(start: int) -> bool:
        pictures = [np.full((32, 32, 3), start + i, np.uint8) for i in range(8)]
        looks = [Templates.of(picture) for picture in pictures]
        found = [memories.of([one], mirror=False)[0, 0, 0, 0, 0] for one in looks]
        return found == list(range(start, start + 8))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(ask, (0, 50, 100, 150)))
