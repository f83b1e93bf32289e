"""Many videos on one engine: each as if it were alone, whatever becomes of the others."""

from __future__ import annotations

import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2.errors import BoxError, ConfigError, EngineError, SourceError
from mixformerv2.tracking import StreamFailure, StreamPool, Tracker, track
from tests.doubles import moving_square

BOX = (20, 40, 24, 24)
LONG = 30.0


def video(start: int, count: int) -> list[NDArray[np.uint8]]:
    return [moving_square()(start + number) for number in range(count)]


def gather(found: Any) -> dict[Any, list[Any]]:
    results = defaultdict(list)
    for name, result in found:
        results[name].append(result)
    return results


@pytest.mark.parametrize("engine", ["onnx", "openvino-fp32", "torch"])
def test_each_stream_gets_what_it_would_get_alone(small_bundle: Path, engine: str) -> None:
    settings = {"update_interval": 3, "update_threshold": 0.0}
    videos = {name: video(name, 5 + 4 * name) for name in range(4)}
    boxes = {name: (20 + 2 * name, 40, 24, 24) for name in videos}
    with StreamPool(small_bundle, engine, 1, max_wait=0.2, settings=settings) as pool:
        found = gather(pool.track({name: (videos[name], boxes[name]) for name in videos}))
        assert max(pool.batches) > 1
    for name, frames in videos.items():
        alone = list(track(frames, boxes[name], small_bundle, engine, 1, settings))
        assert [one.frame for one in found[name]] == list(range(len(frames)))
        for got, expected in zip(found[name], alone, strict=True):
            np.testing.assert_allclose(got.box, expected.box, atol=1e-3)
            assert got.score == pytest.approx(expected.score, abs=1e-5)
            assert (got.state, got.time) == (expected.state, expected.time)


def test_a_stream_that_fails_ends_alone(small_bundle: Path) -> None:
    sources = {
        "good": (video(0, 6), BOX),
        "not there": ("no/such/clip.mp4", BOX),
        "outside": (video(0, 6), (900, 900, 5, 5)),
        "also good": (video(3, 6), BOX),
    }
    with StreamPool(small_bundle, "onnx", 1) as pool:
        found = gather(pool.track(sources))  # type: ignore[arg-type]
    assert [len(found[name]) for name in ("good", "also good")] == [6, 6]
    for name, kind in (("not there", SourceError), ("outside", BoxError)):
        (failure,) = found[name]
        assert isinstance(failure, StreamFailure)
        assert isinstance(failure.error, kind)


def test_a_stream_that_hangs_holds_nobody_up(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its frames stop coming; the others reach their ends, and so does the pool."""
    from mixformerv2.tracking import streams

    hang, follow = threading.Event(), streams.follow

    def slow(source: Any, *rest: Any, **named: Any) -> Any:
        for number, result in enumerate(follow(source, *rest, **named)):
            if len(source) == 7 and number == 2:
                hang.wait(LONG)
            yield result

    monkeypatch.setattr(streams, "follow", slow)
    monkeypatch.setattr(streams, "_PATIENCE", 0.1)
    with StreamPool(small_bundle, "onnx", 1, max_wait=0.01) as pool:
        found = pool.track({"hangs": (video(0, 7), BOX), "goes": (video(0, 9), BOX)})
        got = [next(found)[0] for _ in range(11)]
        assert (got.count("hangs"), got.count("goes")) == (2, 9)
        found.close()  # type: ignore[attr-defined]
    hang.set()


@pytest.mark.parametrize(
    ("sources", "sentence"),
    [
        ({"good": ([], BOX), "bad": ("clip.mp4",)}, r"stream 'bad' .* got \('clip.mp4',\)"),
        ({"bad": "clip.mp4"}, "stream 'bad'"),
        ({"bad": "ab"}, "stream 'bad'"),
        ({"bad": ("clip.mp4", 1, 2, 3, 4)}, "stream 'bad'"),
        ({"bad": None}, "stream 'bad'"),
        ([("clip.mp4", BOX)], "a mapping; got a list"),
    ],
    ids=str,
)
def test_sources_made_otherwise_are_named(small_bundle: Path, sources: Any, sentence: str) -> None:
    before = set(threading.enumerate())
    with StreamPool(small_bundle, "onnx", 1) as pool, pytest.raises(ConfigError, match=sentence):
        next(pool.track(sources))
    assert set(threading.enumerate()) <= before


def test_whatever_ends_a_thread_ends_its_stream(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mixformerv2.tracking import streams

    def leaves(*_: Any, **named: Any) -> Any:
        raise SystemExit(3)

    monkeypatch.setattr(streams, "follow", leaves)
    with StreamPool(small_bundle, "onnx", 1) as pool:
        ((name, failure),) = pool.track({"leaves": ([], BOX)})
    assert name == "leaves"
    assert isinstance(failure, StreamFailure)
    assert isinstance(failure.error, SystemExit)


def test_ending_early_ends_the_streams(small_bundle: Path) -> None:
    before = set(threading.enumerate())
    with StreamPool(small_bundle, "onnx", 1) as pool:
        found = pool.track({name: (video(0, 400), BOX) for name in range(3)})
        next(found)
        found.close()  # type: ignore[attr-defined]
    assert set(threading.enumerate()) <= before


def test_trackers_of_ones_own(small_bundle: Path) -> None:
    frames = video(0, 4)
    alone = Tracker(small_bundle, "onnx", 1)
    alone.init(frames[0], BOX)
    pool = StreamPool(small_bundle, "onnx", 1)
    assert pool.info.name == "onnx"
    with pool.stream() as tracker:
        tracker.init(frames[0], BOX)
        for frame in frames[1:]:
            assert tracker.update(frame) == alone.update(frame)
    assert pool.batches == {1: 3}
    pool.close()
    with pytest.raises(EngineError, match="was closed"):
        tracker.update(frames[1])


def test_nothing_to_follow_and_settings_that_cannot_work(small_bundle: Path) -> None:
    with StreamPool(small_bundle, "onnx", 1) as pool:
        assert list(pool.track({})) == []
    before = set(threading.enumerate())
    with pytest.raises(ConfigError):
        StreamPool(small_bundle, "onnx", 1, settings={"search_factor": 99.0})
    assert set(threading.enumerate()) <= before
