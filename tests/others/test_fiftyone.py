"""FiftyOne's own datasets, samples and frames hold our results.

Its database is a MongoDB that it downloads when it is first used. Here mongomock stands in for
it, in memory: what FiftyOne writes comes back as it would. Only queries over frames need the real
one (mongomock has no `$lookup` with `let`); `MIXFORMERV2_MONGODB=mongodb://...` runs them too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mixformerv2 import ConfigError, DataError, TrackResult
from mixformerv2.integrations.fiftyone import to_dataset, to_sample
from mixformerv2.video.formats.journal import JournalWriter, RunHeader

from .conftest import DEMO

REAL = os.environ.get("MIXFORMERV2_MONGODB")


def _stand_in() -> None:
    import mongoengine.connection
    import mongomock
    import mongomock.codec_options
    import pymongo
    from mongomock.store import ServerStore

    store = ServerStore()

    class Client(mongomock.MongoClient):  # type: ignore[misc]
        _closed = False

        def __init__(self, *arguments: Any, **named: Any) -> None:
            named.pop("appname", None)
            super().__init__(*arguments, _store=store, **named)

    def any_options(options: Any) -> Any:
        return None if options is None else mongomock.codec_options.CodecOptions()

    mongomock.codec_options.is_supported = any_options
    pymongo.MongoClient = mongoengine.connection.MongoClient = Client


@pytest.fixture(scope="module")
def fo() -> Iterator[Any]:
    os.environ["FIFTYONE_DATABASE_URI"] = REAL or "mongodb://localhost:27017"
    os.environ["FIFTYONE_DATABASE_NAME"] = "mixformerv2-tests"
    os.environ["FIFTYONE_DATABASE_VALIDATION"] = "0"
    os.environ["FIFTYONE_DISABLE_SERVICES"] = os.environ["FIFTYONE_DO_NOT_TRACK"] = "1"
    if REAL is None:
        _stand_in()
    import fiftyone

    yield fiftyone
    for name in fiftyone.list_datasets():
        fiftyone.delete_dataset(name)


@pytest.fixture
def journal(tmp_path: Path, results: dict[int, TrackResult]) -> Path:
    """Three objects in frame 4, counted from 0."""
    path = tmp_path / "run.jsonl"
    with JournalWriter(path, RunHeader("demo.mp4", 200, 100, fps=25.0)) as out:
        for number, result in results.items():
            out.write(number, result)
    return path


def test_a_dataset_gives_back_what_went_in(fo: Any, journal: Path) -> None:
    dataset = to_dataset({DEMO: journal}, name="runs", label="kite")
    assert isinstance(dataset, fo.Dataset)
    assert (dataset.name, dataset.media_type, len(dataset)) == ("runs", "video", 1)
    sample = fo.load_dataset("runs").first()
    assert Path(sample.filepath) == DEMO
    assert list(sample.frames) == [5]  # FiftyOne counts from 1
    found = {one.index: one for one in sample.frames[5].tracks.detections}
    assert {number: one.state for number, one in found.items()} == {
        7: "tracked",
        2: "uncertain",
        9: "lost",
    }
    assert found[7].bounding_box == pytest.approx([0.0525, 0.2025, 0.2, 0.3])
    assert (found[7].label, found[7].confidence) == ("kite", 0.9)
    assert "tracks" in dataset.get_frame_field_schema()
    with pytest.raises(ConfigError, match="already"):
        to_dataset({DEMO: journal}, name="runs")
    if REAL:
        kept = dataset.filter_labels("frames.tracks", fo.ViewField("state") != "lost")
        assert kept.count_values("frames.tracks.detections.state") == {
            "tracked": 1,
            "uncertain": 1,
        }


def test_a_sample_for_a_dataset_of_ones_own(fo: Any, journal: Path) -> None:
    sample = to_sample(DEMO, journal, field="ours")
    assert sample.media_type == "video"
    dataset = fo.Dataset("own")
    dataset.add_sample(sample)
    assert len(dataset.first().frames[5].ours.detections) == 3


def test_a_damaged_journal_leaves_no_half_dataset(fo: Any, journal: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("nonsense\n")
    with pytest.raises(DataError, match=r"bad\.jsonl"):
        to_dataset({DEMO: journal, "other.mp4": tmp_path / "bad.jsonl"}, name="half")
    assert not fo.dataset_exists("half")
