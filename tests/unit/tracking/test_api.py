"""`track`: one result for each frame of a source, lazily."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mixformerv2 as mf
from mixformerv2.errors import BoxError, ConfigError, SourceError
from mixformerv2.video import open_source
from mixformerv2.video.live import RECONNECT
from tests.doubles import moving_square

FRAMES = [moving_square()(i) for i in range(6)]
BOX = (20.0, 40.0, 24.0, 24.0)


def test_one_result_for_each_frame(small_bundle: Path) -> None:
    results = list(mf.track(FRAMES, box=BOX, model=small_bundle, engine="onnx"))
    assert [r.frame for r in results] == [0, 1, 2, 3, 4, 5]
    assert (results[0].box, results[0].score, results[0].state) == (BOX, 1.0, "tracked")
    assert results[3].time == pytest.approx(0.1)
    assert next(mf.track(FRAMES, np.array(BOX), small_bundle, "onnx")).box == BOX

    tracker = mf.Tracker(small_bundle, engine="onnx")
    tracker.init(FRAMES[0], BOX)
    assert [r.box for r in results[1:]] == [tracker.update(frame).box for frame in FRAMES[1:]]


def test_a_part_of_the_source(small_bundle: Path) -> None:
    named: dict[str, Any] = {"model": small_bundle, "engine": "onnx"}
    some = list(mf.track(FRAMES, BOX, **named, start_frame=2, max_frames=3))
    assert [r.frame for r in some] == [2, 3, 4]
    assert (some[0].box, some[0].score) == (BOX, 1.0)
    assert some[0].time == pytest.approx(2 / 30)
    alone = list(mf.track(FRAMES[2:5], BOX, **named))
    assert [r.box for r in some] == [r.box for r in alone]


def test_after_the_last_frame_that_is_wanted_the_source_is_closed(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    given: list[int] = []
    monkeypatch.setattr("mixformerv2.video.source.open_source", source_of(FRAMES, closed, given))
    assert len(list(mf.track("clip", BOX, small_bundle, engine="onnx", max_frames=2))) == 2
    assert (closed, given) == ([True], [0, 1])


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ({"box": BOX, "start_frame": -1}, "cannot start at frame -1"),
        ({"box": BOX, "max_frames": 0}, "max_frames must be at least 1"),
        ({"box": BOX, "max_frames": 2.5}, "max_frames must be at least 1"),
        ({"prompts": {0: BOX}, "start_frame": 2}, "leave out start_frame and max_frames"),
        ({"prompts": {0: BOX}, "max_frames": 2}, "leave out start_frame and max_frames"),
    ],
)
def test_a_part_that_cannot_be(named: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        next(mf.track(FRAMES, **named))


def test_settings_reach_the_tracker(small_bundle: Path) -> None:
    settings = {"min_size": 60.0}
    results = mf.track(FRAMES, BOX, small_bundle, engine="onnx", threads=1, settings=settings)
    assert min(list(results)[1].box[2:]) >= 60


@dataclass(frozen=True)
class Frame:
    index: int
    time: float
    image: Any


def source_of(images: list[Any], closed: list[bool], given: list[int] | None = None) -> Any:
    @contextmanager
    def open_source(source: Any, start: int = 0, **named: Any) -> Iterator[Iterator[Frame]]:
        def frames() -> Iterator[Frame]:
            for i, image in enumerate(images):
                if given is not None:
                    given.append(i)
                yield Frame(i, i / 25, image)

        try:
            yield frames()
        finally:
            closed.append(True)

    return open_source


@pytest.mark.parametrize("given", [{"box": BOX}, {"prompts": {0: BOX}, "reverse": False}])
def test_how_long_a_stream_is_tried_again(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]
) -> None:
    named: list[dict[str, Any]] = []

    def opened(source: Any, **options: Any) -> Any:
        named.append(options)
        return open_source(FRAMES[:2])

    monkeypatch.setattr("mixformerv2.video.source.open_source", opened)
    options: Any = {"model": small_bundle, "engine": "onnx", **given}
    list(mf.track("rtsp://a/b", **options, reconnect=7))
    list(mf.track("rtsp://a/b", **options))
    with mf.StreamPool(small_bundle, "onnx") as pool:
        list(pool.track({1: ("rtsp://a/b", BOX)}, reconnect=8))
    assert [one["reconnect"] for one in named] == [7, RECONNECT, 8]


def test_broken_frames_repeat_the_box(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [FRAMES[0], FRAMES[1], None, None, FRAMES[2]]
    monkeypatch.setattr("mixformerv2.video.source.open_source", source_of(images, []))
    results = list(mf.track("clip", BOX, small_bundle, engine="onnx"))
    assert [r.frame for r in results] == [0, 1, 2, 3, 4]
    assert [r.state == "lost" for r in results] == [False, False, True, True, False]
    assert results[2].box == results[3].box == results[1].box
    assert results[3].time == 3 / 25


def test_the_box_waits_for_the_first_readable_frame(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [None, FRAMES[0], FRAMES[1]]
    monkeypatch.setattr("mixformerv2.video.source.open_source", source_of(images, []))
    results = list(mf.track("clip", BOX, small_bundle, engine="onnx"))
    assert [(r.frame, r.score, r.state) for r in results[:2]] == [
        (0, 0.0, "lost"),
        (1, 1.0, "tracked"),
    ]
    assert results[0].box == results[1].box == BOX


def test_lazy_and_closed_when_left(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    given: list[int] = []
    opener = source_of(FRAMES, closed, given)
    monkeypatch.setattr("mixformerv2.video.source.open_source", opener)
    results = mf.track("clip", BOX, small_bundle, engine="onnx")
    assert not given
    next(results)
    next(results)
    assert given == [0, 1]
    assert not closed
    results.close()  # type: ignore[attr-defined]
    assert closed


def test_bad_input_is_refused(small_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BoxError, match="above zero"):
        list(mf.track(FRAMES, (1, 2, 0, 4), small_bundle))
    with pytest.raises(BoxError, match="outside"):
        list(mf.track(FRAMES, (900, 2, 5, 4), small_bundle, engine="onnx"))
    with pytest.raises(SourceError):
        list(mf.track(tmp_path / "none.mp4", BOX, small_bundle))


def test_frames_of_any_kind(small_bundle: Path) -> None:
    greys = [np.ascontiguousarray(frame[..., 0]) for frame in FRAMES]
    assert len(list(mf.track(greys, BOX, small_bundle, engine="onnx"))) == 6
