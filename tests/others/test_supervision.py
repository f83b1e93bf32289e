"""supervision takes our results: annotators draw them, its sink writes them, filters sort them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import supervision as sv

from mixformerv2 import TrackResult
from mixformerv2.integrations.supervision import to_detections

Results = dict[int, TrackResult]


def test_every_value_arrives(results: Results) -> None:
    found = to_detections(results, class_id=3, label="kite")
    assert isinstance(found, sv.Detections)
    assert len(found) == 3
    np.testing.assert_array_equal(found.xyxy[0], [10.5, 20.25, 50.5, 50.25])
    assert found.tracker_id is not None
    assert found.tracker_id.tolist() == [7, 2, 9]
    assert found.confidence is not None
    np.testing.assert_allclose(found.confidence, [0.9, 0.45, 0.05])
    assert found.class_id is not None
    assert found.class_id.tolist() == [3, 3, 3]
    assert found["class_name"].tolist() == ["kite"] * 3
    assert found["state"].tolist() == ["tracked", "uncertain", "lost"]
    kept = found[found.data["state"] != "lost"]
    assert kept.tracker_id.tolist() == [7, 2]


def test_one_result_and_none() -> None:
    one = to_detections(TrackResult((1.0, 2.0, 3.0, 4.0), 0.5, "tracked", 0, 0.0))
    assert (one.xyxy.tolist(), one.tracker_id.tolist()) == ([[1, 2, 4, 6]], [1])
    none = to_detections({})
    assert len(none) == 0
    assert none.xyxy.shape == (0, 4)
    merged = sv.Detections.merge([none, one])
    assert merged["state"].tolist() == ["tracked"]


def test_annotators_zone_and_sink(results: Results, tmp_path: Path) -> None:
    found = to_detections(results)
    picture = np.zeros((100, 200, 3), np.uint8)
    drawn = sv.BoxAnnotator().annotate(picture.copy(), found)
    drawn = sv.LabelAnnotator().annotate(drawn, found)
    drawn = sv.TraceAnnotator().annotate(drawn, found)
    assert drawn.any()
    zone = sv.PolygonZone(np.array([[0, 0], [60, 0], [60, 60], [0, 60]]))
    assert zone.trigger(found).tolist() == [True, False, True]
    with sv.CSVSink(str(tmp_path / "out.csv")) as sink:
        sink.append(found, {"frame": 4})
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["tracker_id"] for row in rows] == ["7", "2", "9"]
    assert [row["state"] for row in rows] == ["tracked", "uncertain", "lost"]
