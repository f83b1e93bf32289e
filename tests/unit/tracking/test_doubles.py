"""Frames in which two targets have one box: who keeps it, and what the other one does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2.box import iou
from mixformerv2.runtime.base import EngineInfo, StepOutput
from mixformerv2.tracking import MultiTracker, Tracker
from mixformerv2.tracking.doubles import Doubles
from mixformerv2.tracking.result import TargetState, TrackResult
from tests.doubles import config

Boxes = dict[int, tuple[float, float, float, float]]
Picture = NDArray[np.uint8]


def results(boxes: Boxes, state: TargetState = "tracked") -> dict[int, TrackResult]:
    return {n: TrackResult(box, 0.9, state, 0, 0.0) for n, box in boxes.items()}


def test_frames_are_counted_as_by_the_overlap_of_each_pair() -> None:
    rng = np.random.default_rng(0)
    doubles, expected = Doubles(), dict[tuple[int, int], int]()
    for n in range(5):
        doubles.begin(n, {m: (1000.0 * m, 0, 5, 5) for m in range(n + 1)})  # all begin apart
    for _ in range(60):
        boxes: Boxes = {}
        for n in range(5):
            x, y, w, h = (float(v) for v in rng.uniform(10, 13, 4))
            boxes[n] = x, y, w, h
        pairs = doubles.meeting(results(boxes))
        every = [(one, other) for one in range(5) for other in range(one + 1, 5)]
        assert pairs == [(a, b) for a, b in every if iou(boxes[a], boxes[b]) >= 0.6]
        for pair in pairs:
            expected[pair] = expected.get(pair, 0) + 1
    assert doubles.frames == expected
    assert sum(expected.values()) > 50


def test_what_begins_together_or_is_lost_does_not_meet() -> None:
    doubles = Doubles()
    box, half = (0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 10.0, 5.0)
    doubles.begin(1, {1: box})
    doubles.begin(2, {1: box, 2: half})
    doubles.begin(3, {1: box, 2: half, 3: (90.0, 0.0, 10.0, 10.0)})
    everywhere = {1: box, 2: box, 3: box}
    assert doubles.meeting(results(everywhere, "lost")) == []
    assert doubles.meeting(results(everywhere)) == [(1, 3), (2, 3)]
    doubles.end(2)
    doubles.begin(2, {1: box, 2: (50.0, 0.0, 10.0, 10.0), 3: (90.0, 0.0, 10.0, 10.0)})
    assert doubles.frames == {(1, 3): 1}  # that of the second was of the target before
    assert doubles.meeting(results(everywhere)) == [(1, 2), (1, 3), (2, 3)]


class Blobs:
    """An engine that sees the largest bright thing, and is surer the more it has the right grey."""

    def __init__(self) -> None:
        self.info = EngineInfo("blobs", "fp32", 1)

    def encode_templates(self, templates: Picture) -> Picture:
        return templates

    def join(self, memories: Sequence[Picture]) -> Picture:
        return np.concatenate(memories)

    def step(self, search: Picture, memory: Any) -> StepOutput:
        seen = [self._see(crop, pair[0]) for crop, pair in zip(search, memory, strict=True)]
        boxes, scores = (np.float32(values) for values in zip(*seen, strict=True))
        return StepOutput(boxes, scores, np.full((len(seen), 4, 8), 1 / 8, np.float32))

    def _see(self, crop: Picture, template: Picture) -> tuple[list[float], float]:
        count, _, stats, _ = cv2.connectedComponentsWithStats(np.uint8(crop[..., 0] > 150))
        if count < 2:
            return [0.4, 0.4, 0.6, 0.6], 0.05
        x, y, w, h, _ = max(stats[1:], key=lambda one: int(one[cv2.CC_STAT_AREA]))
        grey = float(crop[y : y + h, x : x + w].max())
        box = [x, y, x + w, y + h]
        return [v / len(crop) for v in box], 1 - abs(grey - float(template[16, 16, 0])) / 255


def scene(things: Mapping[int, tuple[int, int, int, int]]) -> Picture:
    """Dark, with a rectangle of each of these greys."""
    picture = np.zeros((120, 200, 3), np.uint8)
    for grey, (x, y, w, h) in things.items():
        picture[y : y + h, x : x + w] = grey
    return picture


LIGHT, GREY = (60, 50, 30, 30), (96, 52, 20, 20)


def followed(
    *frames: Picture, **settings: Any
) -> tuple[MultiTracker, list[dict[int, TrackResult]]]:
    """The light thing as target 1 and the grey one as target 2, through these frames."""
    multi = MultiTracker.around(Tracker.with_engine(Blobs(), config(**settings)))
    first = scene({250: LIGHT, 200: GREY})
    multi.add(first, LIGHT, id=1)
    multi.add(first, GREY, id=2)
    return multi, [multi.update(frame) for frame in frames]


def test_a_target_that_goes_over_to_another_finds_its_own_beside_it() -> None:
    """Both are in the search of either, and the larger one is what they see first."""
    multi, (found,) = followed(scene({250: LIGHT, 200: GREY}))
    assert multi.doubles == {(1, 2): 1}
    assert iou(found[1].box, LIGHT) > 0.8
    assert iou(found[2].box, GREY) > 0.8
    assert {one.state for one in found.values()} == {"tracked"}


def test_a_target_that_is_not_there_is_lost_where_it_was_and_found_when_it_is_back() -> None:
    both, alone = scene({250: LIGHT, 200: GREY}), scene({250: LIGHT})
    multi, found = followed(both, alone, alone, both)
    for one in found:
        assert iou(one[1].box, LIGHT) > 0.8
    assert [one[2].state for one in found] == ["tracked", "lost", "lost", "tracked"]
    assert (found[1][2].score, found[1][2].box) == (0.0, found[0][2].box)
    assert iou(found[3][2].box, GREY) > 0.8
    assert multi.doubles == {(1, 2): 4}
    assert [one[2].frame for one in found] == [1, 2, 3, 4]


def test_switched_off_each_is_as_if_alone_and_meetings_are_counted() -> None:
    alone = scene({250: LIGHT})
    multi, found = followed(alone, alone, apart=False)
    assert iou(found[1][1].box, found[1][2].box) > 0.8
    assert found[1][2].state == "tracked"
    assert multi.doubles == {(1, 2): 2}


def test_without_scores_nobody_gives_way() -> None:
    alone = scene({250: LIGHT})
    _, (found,) = followed(alone, has_score=False)
    assert iou(found[1].box, found[2].box) > 0.7
    assert {one.state for one in found.values()} == {"tracked"}


def test_a_third_target_is_not_given_the_place_of_the_second() -> None:
    """Beside the thing that is taken lies another one that is taken as well."""
    third = (68, 83, 18, 18)
    multi = MultiTracker.around(Tracker.with_engine(Blobs(), config()))
    first = scene({250: LIGHT, 200: GREY, 225: third})
    for number, box in enumerate((LIGHT, GREY, third), 1):
        multi.add(first, box, id=number)
    found = multi.update(scene({250: LIGHT, 225: third}))
    assert iou(found[1].box, LIGHT) > 0.8
    assert iou(found[3].box, third) > 0.8
    assert found[2].state == "lost"


@pytest.mark.parametrize("kind", ["grey", "rgba", "16 bit"])
def test_every_kind_of_picture_can_be_looked_at_again(kind: str) -> None:
    def shown(picture: Picture) -> NDArray[Any]:
        if kind == "grey":
            return picture[..., 0]
        if kind == "rgba":
            return np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
        return picture.astype(np.uint16) * 257

    multi = MultiTracker.around(Tracker.with_engine(Blobs(), config()))
    first = shown(scene({250: LIGHT, 200: GREY}))
    before = first.copy()
    multi.add(first, LIGHT, id=1)
    multi.add(first, GREY, id=2)
    found = multi.update(first)
    assert iou(found[2].box, GREY) > 0.8
    np.testing.assert_array_equal(first, before)


def test_a_picture_of_another_size_moves_what_is_lost_with_it() -> None:
    multi, _ = followed(scene({250: LIGHT, 200: GREY}))
    before = multi.skip()[2].box
    large = cv2.resize(scene({250: LIGHT}), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    found = multi.update(large)[2]
    assert found.state == "lost"
    np.testing.assert_allclose(found.box, np.multiply(before, 2), atol=0.1)


def test_the_order_of_targets_does_not_matter() -> None:
    both, alone = scene({250: LIGHT, 200: GREY}), scene({250: LIGHT})
    _, found = followed(both, alone)
    other = MultiTracker.around(Tracker.with_engine(Blobs(), config()))
    other.add(both, GREY, id=2)
    other.add(both, LIGHT, id=1)
    for frame, expected in zip((both, alone), found, strict=True):
        got = other.update(frame)
        assert {n: got[n] for n in (1, 2)} == expected


def test_an_empty_frame_of_results_meets_nobody() -> None:
    assert Doubles().meeting({}) == []
    assert Doubles().meeting({1: replace(results({1: (0, 0, 1, 1)})[1], score=0.1)}) == []


def test_of_equal_claims_one_gives_way() -> None:
    """Two equal things are gone, and half way between them is one like both."""
    multi = MultiTracker.around(Tracker.with_engine(Blobs(), config()))
    multi.add(scene({200: (60, 50, 20, 20)}), (60, 50, 20, 20), id=1)
    multi.add(scene({200: (100, 50, 20, 20)}), (100, 50, 20, 20), id=2)
    found = multi.update(scene({200: (80, 50, 20, 20)}))
    assert multi.doubles == {(1, 2): 1}
    assert [found[n].state for n in (1, 2)] == ["tracked", "lost"]


def test_a_resting_target_looks_a_second_time_all_the_same() -> None:
    """Nothing would ever be change enough to look again; the first target has begun to rest."""
    multi = MultiTracker.around(Tracker.with_engine(Blobs(), config(still_below=255)))
    both = scene({250: LIGHT, 200: GREY})
    multi.add(both, LIGHT, id=1)
    multi.update(both)
    multi.add(both, GREY, id=2)
    found = multi.update(scene({250: LIGHT}))
    assert [found[n].state for n in (1, 2)] == ["tracked", "lost"]
    assert iou(found[1].box, LIGHT) > 0.8


class Watched(Blobs):
    """Blobs that keep what they are shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[int, Any]] = []

    def step(self, search: Picture, memory: Any) -> StepOutput:
        self.shown.append((search.shape[1], memory))
        out = super().step(search, memory)
        share = search.shape[1] / 64  # parts of the whole crop, whatever of it is shown
        return replace(out, boxes=out.boxes * np.float32(share) + np.float32((1 - share) / 2))


def test_a_second_look_is_at_all_of_the_search_region() -> None:
    both, engine = scene({250: LIGHT, 200: GREY}), Watched()
    settings = {"search_middle": 48, "middle_after": 1, "middle_below": 0.2}
    multi = MultiTracker.around(Tracker.with_engine(engine, config(**settings)))
    multi.add(both, LIGHT, id=1)
    multi.add(both, GREY, id=2)
    multi.update(both)
    multi.update(both)
    engine.shown.clear()
    multi.update(scene({250: LIGHT}))
    sizes = [size for size, _ in engine.shown]
    assert (sizes[0], sizes[-2:]) == (48, [64, 64])


def test_a_painted_picture_gives_no_template() -> None:
    both, engine = scene({250: LIGHT, 200: GREY}), Watched()
    multi = MultiTracker.around(Tracker.with_engine(engine, config(update_interval=1)))
    multi.add(both, LIGHT, id=1)
    multi.add(both, GREY, id=2)
    assert multi.update(both)[2].score > 0.9  # beside the place that was painted over
    multi.update(both)
    (first, latest) = next(memory for _, memory in engine.shown[::-1] if len(memory) == 2)[1]
    np.testing.assert_array_equal(latest, first)


def test_the_search_for_one_that_gave_way_grows() -> None:
    both, alone = scene({250: LIGHT, 200: GREY}), scene({250: LIGHT})
    back = scene({250: LIGHT, 200: (160, 52, 20, 20)})
    _, found = followed(both, *[alone] * 4, back, search_growth=1.5)
    assert [one[2].state for one in found] == ["tracked", *["lost"] * 4, "tracked"]
    assert found[-1][2].box[0] == pytest.approx(160, abs=3)


def test_a_long_term_target_is_found_elsewhere_while_its_twin_is_near() -> None:
    both, alone = scene({250: LIGHT, 200: GREY}), scene({250: LIGHT})
    back = scene({250: LIGHT, 200: (170, 5, 20, 20)})
    _, found = followed(both, *[alone] * 6, *[back] * 4, long_term=True)
    assert {one[1].state for one in found} == {"tracked"}  # and the twin's own target stays on it
    assert all(iou(one[1].box, LIGHT) > 0.8 for one in found)
    assert {one[2].state for one in found[1:8]} == {"lost"}
    assert found[-1][2].state == "tracked"
    assert iou(found[-1][2].box, (170, 5, 20, 20)) > 0.8


def test_smooth_answers_are_kept_apart_by_what_was_found() -> None:
    alone = scene({250: LIGHT})
    multi, found = followed(alone, alone, smooth_hz=1.0, smooth_gain=0.0)
    assert [one[2].state for one in found] == ["lost", "lost"]
    assert {one[1].state for one in found} == {"tracked"}
    assert multi.doubles == {(1, 2): 2}


def test_who_begins_where_another_is_lost_does_not_belong_to_it() -> None:
    both, alone = scene({250: LIGHT, 200: GREY}), scene({250: LIGHT})
    multi, found = followed(both, alone)
    assert found[1][2].state == "lost"
    multi.add(scene({250: LIGHT, 100: GREY}), GREY, id=3)  # too dark to be seen
    after = multi.update(both)
    assert iou(after[2].box, GREY) > 0.8
    assert after[3].state == "lost"
