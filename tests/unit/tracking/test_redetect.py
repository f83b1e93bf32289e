"""A lost target is looked for everywhere, and believed only when it is found again and again."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixformerv2.box import Box
from mixformerv2.errors import ConfigError
from mixformerv2.runtime.base import EngineInfo, StepOutput
from mixformerv2.tracking import Tracker, TrackerSettings, TrackResult, redetect
from mixformerv2.tracking.crop import Crop
from mixformerv2.tracking.redetect import tiles
from tests.doubles import ScriptedEngine, config

BOX = (20, 40, 24, 24)
SIZE = (480, 320)


class Finder:
    """An engine that finds whatever is bright, and scores how bright it is."""

    def __init__(self) -> None:
        self.info = EngineInfo("finder", "fp32", 1)
        self.batches: list[int] = []

    def encode_templates(self, templates: Any) -> Any:
        return templates

    def join(self, memories: Any) -> Any:
        return np.concatenate(memories)

    def step(self, search: Any, memory: Any) -> StepOutput:
        self.batches.append(len(search))
        size = search.shape[1]
        boxes, scores = [], []
        for crop in search[..., 0]:
            ys, xs = np.nonzero(crop > 128)
            seen = ys.size > 20
            corners = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if seen else (28, 28, 36, 36)
            boxes.append(np.divide(corners, size))
            scores.append(crop.max() / 255 if seen else 0.02)
        probs = np.full((len(search), 4, 8), 1 / 8, np.float32)
        return StepOutput(np.float32(boxes), np.float32(scores), probs)


def frame(at: tuple[int, int] | None, bright: int = 250) -> Any:
    out = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    if at is not None:
        out[at[1] : at[1] + 24, at[0] : at[0] + 24] = bright
    return out


def run(frames: list[Any], **settings: Any) -> tuple[list[TrackResult], Finder]:
    engine = Finder()
    one = Tracker.with_engine(engine, config(uncertain_until=0.6, **settings))
    one.init(frame((20, 40)), BOX)
    return [one.update(picture) for picture in frames], engine


AWAY = [frame((20, 40)), frame(None), frame(None)]
BACK = [frame((400, 260))] * 4


def test_a_target_that_comes_back_elsewhere_is_found() -> None:
    results, engine = run(AWAY + BACK, long_term=True, redetect_tiles=100)
    states = [one.state for one in results]
    assert states == ["tracked", "lost", "lost", "lost", "tracked", "tracked", "tracked"]
    assert results[-1].box == pytest.approx((400, 260, 24, 24), abs=2)
    assert results[1].box == results[2].box == results[0].box  # it waits where it was seen last
    assert max(engine.batches) == len(tiles(Box(*BOX), SIZE, config().tracker))


def test_without_it_the_target_stays_lost() -> None:
    results, engine = run(AWAY + BACK)
    assert {one.state for one in results[1:]} == {"lost"}
    assert set(engine.batches) == {1}


def test_a_single_lucky_frame_is_not_believed() -> None:
    frames = [*AWAY, BACK[0], frame(None), BACK[0], BACK[0], BACK[0]]
    results, _ = run(frames, long_term=True, redetect_tiles=100, redetect_frames=3)
    assert [one.state for one in results[3:]] == ["lost"] * 4 + ["tracked"]


def test_what_scores_too_little_is_not_believed() -> None:
    dim = [frame((400, 260), bright=140)] * 5  # 0.55, below `uncertain_until`
    results, _ = run(AWAY + dim, long_term=True, redetect_tiles=100)
    assert {one.state for one in results[1:]} == {"lost"}
    results, _ = run(AWAY + dim, long_term=True, redetect_tiles=100, redetect_score=0.5)
    assert results[-1].box[:2] == pytest.approx((400, 260), abs=2)


def test_few_tiles_at_a_time_take_turns() -> None:
    results, engine = run(AWAY + BACK * 8, long_term=True, redetect_tiles=7)
    assert max(engine.batches) == 7
    assert results[-1].box == pytest.approx((400, 260, 24, 24), abs=2)


def test_a_saved_state_goes_on_searching() -> None:
    frames = AWAY + BACK
    expected, _ = run(frames, long_term=True, redetect_tiles=9)
    chosen = config(uncertain_until=0.6, long_term=True, redetect_tiles=9)
    one = Tracker.with_engine(Finder(), chosen)
    one.init(frame((20, 40)), BOX)
    found = []
    for picture in frames:
        found.append(one.update(picture))
        data, one = one.save_state(), Tracker.with_engine(Finder(), chosen)
        one.load_state(data)
    assert found == expected


@given(st.integers(8, 400), st.integers(8, 400), st.integers(40, 1920), st.integers(40, 1080))
def test_tiles_cover_the_frame(w: int, h: int, width: int, height: int) -> None:
    settings = TrackerSettings(64, 128, search_factor=4.0)
    found = tiles(Box(0, 0, w, h), (width, height), settings)
    side = found[0].side
    for start, length in (("left", width), ("top", height)):
        places = sorted({getattr(one, start) for one in found})
        if side < length:
            assert places[0] == 0
            assert places[-1] + side == length
            assert all(b - a <= side / 2 + 1 for a, b in itertools.pairwise(places))
        else:
            assert len(places) == 1
            assert places[0] <= 0 <= length <= places[0] + side + 1


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 400), st.integers(0, 99), st.data())
def test_tiles_take_turns(w: int, h: int, side: int, frame: int, data: st.DataObject) -> None:
    settings = TrackerSettings(64, 128, search_factor=4.0)
    picture = (data.draw(st.integers(1, 500)), side)
    every = tiles(Box(0, 0, w, h), picture, settings)
    most = data.draw(st.integers(1, 64))
    count = min(len(every), most)
    plain = [every[(frame * count + step) % len(every)] for step in range(count)]
    assert tiles(Box(0, 0, w, h), picture, settings, most, frame) == plain


def test_a_few_tiles_do_not_cost_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(*values: Any) -> Crop:
        made.append(values)
        return Crop(*values)

    counted.around = Crop.around  # type: ignore[attr-defined]
    monkeypatch.setattr(redetect, "Crop", counted)
    assert len(tiles(Box(0, 0, 6, 6), (3840, 2160), config().tracker, 16, 7)) == 16
    assert len(made) == 16


def test_a_model_without_score_cannot() -> None:
    with pytest.raises(ConfigError, match="score"):
        Tracker.with_engine(ScriptedEngine(), config(has_score=False, long_term=True))


def test_a_leap_to_where_it_was_found_again_is_no_motion() -> None:
    """Else the next search went ahead of it by as much, and a smooth answer came later."""
    settings = {"long_term": True, "redetect_tiles": 100, "redetect_frames": 1}
    results, _ = run(AWAY + BACK, **settings, search_lead=2.0, smooth_hz=1.0, smooth_gain=0.0)
    assert [one.state for one in results] == ["tracked", "lost", "lost", *["tracked"] * 4]
    for one in results[3:]:
        assert one.box[:2] == pytest.approx((400, 260), abs=2)
