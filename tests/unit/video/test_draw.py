"""Drawing: the right colour in the right place, at any size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mixformerv2.tracking.result import TargetState, TrackResult
from mixformerv2.video.draw import STATE_COLOURS, Overlay


def result(
    box: tuple[float, float, float, float] = (200, 120, 160, 90),
    score: float = 0.9,
    state: TargetState = "tracked",
) -> TrackResult:
    return TrackResult(box, score, state, 0, 0.0)


def blank(width: int = 640, height: int = 360) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 90, np.uint8)


def near(image: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Where the picture has about this colour."""
    return np.asarray(np.abs(image.astype(int) - colour).max(-1) < 30)


def test_the_frame_itself_stays_as_it_was() -> None:
    image = blank()
    drawn = Overlay().draw(image, {1: result()})
    assert (image == 90).all()
    assert drawn.shape == image.shape
    assert not (drawn == 90).all()


@pytest.mark.parametrize("state", ["tracked", "uncertain", "lost"])
def test_the_box_is_where_it_should_be_in_the_colour_of_its_state(state: TargetState) -> None:
    drawn = Overlay(history=0, trail=0).draw(blank(), {1: result(state=state)})
    colour = near(drawn, STATE_COLOURS[state])
    for others in set(STATE_COLOURS) - {state}:
        assert not near(drawn, STATE_COLOURS[others]).any()
    left, right = colour[130:200, 198:203].any(1), colour[130:200, 358:363].any(1)
    top, bottom = colour[118:123, 260:350].any(0), colour[208:213, 210:350].any(0)
    for side in (left, right, top, bottom):
        assert side.any()
        # Only where the target is lost is the line broken.
        assert side.all() == (state != "lost")
    assert not colour[130:200, 210:350].any()  # nothing inside


def test_lines_grow_with_the_picture() -> None:
    def thickness(scale: int) -> int:
        box = (200.0 * scale, 120.0 * scale, 160.0 * scale, 90.0 * scale)
        drawn = Overlay(history=0).draw(blank(640 * scale, 360 * scale), {1: result(box)})
        return int(near(drawn, STATE_COLOURS["tracked"])[165 * scale, : 280 * scale].sum())

    assert thickness(3) >= 2 * thickness(1) >= 2


def test_a_box_between_pixels_is_drawn_between_pixels() -> None:
    def column(x: float) -> float:
        drawn = Overlay(history=0).draw(blank(), {1: result((x, 120, 160, 90))})
        light = near(drawn, STATE_COLOURS["tracked"]) * 1.0
        light = np.abs(drawn[165, 180:220].astype(float) - 90).sum(-1)
        return float((light * np.arange(40)).sum() / light.sum())

    assert column(200.5) - column(200.0) == pytest.approx(0.5, abs=0.3)


def test_the_trail_follows_the_centre_but_not_through_a_loss() -> None:
    overlay = Overlay(history=0)
    states: list[TargetState] = ["tracked"] * 5 + ["lost"] * 5 + ["tracked"] * 5
    for step, state in enumerate(states):
        drawn = overlay.draw(blank(), {1: result((100 + 20 * step, 100, 8, 8), state=state)})
    green = near(drawn, STATE_COLOURS["tracked"])[104]
    assert green[104 + 20 * 11 : 104 + 20 * 13].all()  # between the last frames
    assert green[104 + 20 * 1 : 104 + 20 * 3].all()  # before the loss
    assert not green[104 + 20 * 5 : 104 + 20 * 9].any()


def test_the_sparkline_shows_the_score() -> None:
    def height(score: float) -> float:
        overlay = Overlay(trail=0)
        for _ in range(60):
            drawn = overlay.draw(blank(), {1: result((500, 40, 60, 60), score)})
        panel = near(drawn, STATE_COLOURS["tracked"])[300:, :200]
        return float(np.nonzero(panel.any(1))[0].mean())

    assert height(0.9) < height(0.5) < height(0.1)


def test_several_objects_have_colours_and_rows_of_their_own() -> None:
    both = {1: result((100, 100, 60, 60)), 2: result((400, 100, 60, 60), 0.3, "uncertain")}
    drawn = Overlay().draw(blank(), both)
    labels = [drawn[88, 100:110].mean(0), drawn[88, 400:410].mean(0)]
    assert np.abs(labels[0] - labels[1]).max() > 60
    assert near(drawn, STATE_COLOURS["tracked"])[130, 95:105].any()
    assert near(drawn, STATE_COLOURS["uncertain"])[130, 395:405].any()


def test_the_name_of_an_object_makes_its_plate_wider() -> None:
    def plate(labels: dict[int, str] | None, number: int = 1) -> int:
        drawn = Overlay(history=0, trail=0).draw(blank(), {number: result()}, labels=labels)
        return int(near(drawn, STATE_COLOURS["tracked"])[108, :].sum())

    assert plate(None) == plate({}) == plate({2: "cup"}) > 0
    assert plate(None) < plate({1: "cup"}) < plate({1: "teacup"})
    assert plate({1: "a" * 24}) == plate({1: "a" * 400})  # no further than it can be read


def test_an_object_that_went_leaves_nothing() -> None:
    overlay = Overlay()
    overlay.draw(blank(), {1: result(), 2: result((20, 20, 40, 40))})
    again = overlay.draw(blank(), {1: result()})
    assert (again[10:90, 10:190] == 90).all()


def test_a_note_stands_at_the_bottom() -> None:
    plain = Overlay().draw(blank(), {1: result()})
    noted = Overlay().draw(blank(), {1: result()}, note="frame 7 cannot be decoded")
    changed = np.argwhere((plain != noted).any(-1))
    assert changed.min(0).tolist() > [320, 400]
    assert changed.max(0).tolist() < [359, 639]


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 400), st.integers(1, 300)),
    boxes=st.lists(
        st.tuples(*[st.floats(-1e7, 1e7)] * 2, *[st.floats(1e-6, 1e7)] * 2),
        min_size=1,
        max_size=6,
    ),
    score=st.floats(-1, 2),
    state=st.sampled_from(["tracked", "uncertain", "lost"]),
)
def test_no_size_box_or_score_is_too_odd(
    size: tuple[int, int],
    boxes: list[tuple[float, float, float, float]],
    score: float,
    state: TargetState,
) -> None:
    results = {n: result(box, score, state) for n, box in enumerate(boxes, 1)}
    overlay = Overlay()
    for _ in range(2):
        assert overlay.draw(blank(*size), results).shape == (size[1], size[0], 3)
