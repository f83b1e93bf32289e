"""The template policy and the states, as tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2.tracking import TargetState, TrackerSettings
from mixformerv2.tracking.policy import TemplatePolicy, Templates, target_state

FIRST = 255


def picture(value: int) -> NDArray[np.uint8]:
    return np.full((2, 2, 3), value, np.uint8)


def crop_of(frame: int) -> Callable[[], NDArray[np.uint8]]:
    return lambda: picture(frame)


def online_after_each(policy: TemplatePolicy, scores: list[float]) -> list[int]:
    """Which frame the online template comes from after each frame; FIRST for the first."""
    templates, out = Templates.of(picture(FIRST)), []
    for frame, score in enumerate(scores, start=1):
        templates = policy.advance(templates, frame, score, crop_of(frame))
        assert (templates.pair[0] == FIRST).all()
        assert templates.online_is_first == (templates.pair[1] == FIRST).all()
        out.append(int(templates.pair[1, 0, 0, 0]))
    return out


@pytest.mark.parametrize(
    ("scores", "online"),
    [
        ([0.6, 0.9, 0.7], [FIRST, FIRST, 2]),  # the best wins
        ([0.6, 0.7, 0.9], [FIRST, FIRST, 3]),  # the frame of the change itself counts
        ([0.8, 0.8, 0.8], [FIRST, FIRST, 1]),  # an equal score is not better
        ([0.5, 0.5, 0.5], [FIRST, FIRST, FIRST]),  # the threshold itself is not enough
        ([0.9, 0.1, 0.1, 0.1, 0.6, 0.1], [FIRST, FIRST, 1, 1, 1, 5]),  # each interval anew
        ([0.9, 0.1, 0.1, 0.1, 0.4, 0.1], [FIRST, FIRST, 1, 1, 1, FIRST]),  # none: the first again
    ],
)
def test_the_published_way(scores: list[float], online: list[int]) -> None:
    assert online_after_each(TemplatePolicy(interval=3), scores) == online


def test_the_papers_defaults() -> None:
    assert TemplatePolicy() == TemplatePolicy(interval=200, threshold=0.5)
    online = online_after_each(TemplatePolicy(), [0.9] + [0.6] * 199)
    assert online == [FIRST] * 199 + [1]


def test_never() -> None:
    assert online_after_each(TemplatePolicy(interval=0), [0.99] * 5) == [FIRST] * 5


def test_the_crop_is_cut_only_when_it_is_wanted() -> None:
    def cut() -> NDArray[np.uint8]:
        raise AssertionError("cut for nothing")

    templates = Templates.of(picture(FIRST))
    assert TemplatePolicy(interval=0).advance(templates, 1, 0.9, cut) is templates
    assert TemplatePolicy(interval=9).advance(templates, 1, 0.4, cut) is templates


def test_the_pair_stays_the_same_array_while_nothing_changes() -> None:
    policy = TemplatePolicy(interval=2)
    before = Templates.of(picture(FIRST))
    assert policy.advance(before, 1, 0.9, crop_of(1)).pair is before.pair  # only a candidate
    assert policy.advance(before, 2, 0.1, crop_of(2)).pair is before.pair  # first for first


@pytest.mark.parametrize(
    ("before", "score", "after"),
    [
        ("tracked", 0.40, "tracked"),
        ("tracked", 0.39, "uncertain"),
        ("tracked", 0.19, "lost"),
        ("uncertain", 0.49, "uncertain"),
        ("uncertain", 0.50, "tracked"),
        ("uncertain", 0.20, "uncertain"),
        ("uncertain", 0.19, "lost"),
        ("lost", 0.29, "lost"),
        ("lost", 0.30, "uncertain"),
        ("lost", 0.49, "uncertain"),
        ("lost", 0.50, "tracked"),
    ],
)
def test_states_have_hysteresis(before: TargetState, score: float, after: TargetState) -> None:
    settings = TrackerSettings(
        32, 64, lost_below=0.2, lost_until=0.3, uncertain_below=0.4, uncertain_until=0.5
    )
    assert target_state(before, score, settings) == after
