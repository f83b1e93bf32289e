"""Rectangles of Label Studio are followed; the backend's class is tried with its library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2 import DataError, Tracker
from mixformerv2.integrations.label_studio import follow_regions
from tests.clips import write_clip
from tests.doubles import ScriptedEngine, config

SIZE = (100, 80)


def region(*frames: int, off: tuple[int, ...] = (), **value: Any) -> dict[str, Any]:
    """A rectangle of 20 by 20 pixels in a picture of 100 by 80, drawn at these frames."""
    keys = [
        {"frame": n, "enabled": n not in off, "x": 40, "y": 37.5, "width": 20, "height": 25}
        for n in frames
    ]
    content = {"labels": ["kite"], "sequence": keys, **value}
    return {"id": f"r{frames}", "type": "videorectangle", "value": content}


def pictures(count: int) -> list[NDArray[np.uint8]]:
    return [np.zeros((SIZE[1], SIZE[0], 3), np.uint8) for _ in range(count)]


def follow(regions: list[dict[str, Any]], video: Any, scores: Any = (), **named: Any) -> Any:
    engine = ScriptedEngine(scores, corners=(0.4, 0.375, 0.65, 0.625))  # 2 pixels to the right
    return follow_regions(Tracker.with_engine(engine, config()), video, regions, **named)


def numbers(answer: dict[str, Any]) -> list[int]:
    return [key["frame"] for key in answer["value"]["sequence"]]


def test_a_rectangle_is_followed_from_its_last_key_on() -> None:
    given = region(2, 4, 8, off=(8,))
    (answer,) = follow([given], pictures(9), [0.9, 0.9, 0.05])
    assert numbers(answer) == [2, 4, 5, 6, 7, 8, 9]
    assert answer["value"]["labels"] == ["kite"]
    assert answer["id"] == given["id"]
    keys = {key["frame"]: key for key in answer["value"]["sequence"]}
    assert keys[8] == given["value"]["sequence"][2]  # what somebody drew stays
    assert [keys[n]["enabled"] for n in (4, 5, 6, 7)] == [True, True, True, False]
    assert keys[5]["x"] == pytest.approx(42)  # percent: two pixels of a hundred
    assert keys[5]["y"] == pytest.approx(37.5)
    assert keys[6]["x"] == pytest.approx(44)
    assert len(given["value"]["sequence"]) == 3


def test_several_rectangles_and_what_is_none() -> None:
    brush = {"id": "b", "type": "brushlabels", "value": {}}
    answers = follow([region(1), brush, region(3), region(2, off=(2,))], pictures(6), frames=2)
    assert [numbers(answer) for answer in answers] == [[1, 2, 3], [3, 4, 5]]
    assert follow([brush], "no such file") == []


def test_frames_are_matched_by_time_where_label_studio_counts_otherwise(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 20, fps=10, size=SIZE)  # two seconds
    fine = follow([region(1, framesCount=48, duration=2.0)], clip)[0]
    assert numbers(fine)[:4] == [1, 3, 6, 8]  # 24 a second: 0, 2.4, 4.8, 7.2
    assert fine["value"]["sequence"][-1]["time"] == pytest.approx(2.0, abs=0.1)
    coarse = follow([region(2, framesCount=10, duration=2.0)], clip)[0]
    assert numbers(coarse) == list(range(2, 12))
    same = follow([region(3, framesCount=20, duration=2.004)], clip)[0]
    assert numbers(same) == list(range(3, 21))


@pytest.mark.parametrize(
    "damage",
    [{"value": {}}, {"value": None}, {"value": {"sequence": [{"frame": 1, "x": 5}]}}],
)
def test_a_damaged_region_is_named(damage: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="region 'r"):
        follow([{**region(1), **damage}], pictures(2))
