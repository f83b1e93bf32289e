"""A run over sequences: files as they end, resumed, and a tracker that fails."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mixformerv2 import __version__
from mixformerv2.box import XYWH
from mixformerv2.errors import ConfigError, OutputError
from mixformerv2.evaluation import (
    Counting,
    Report,
    TrackerSpec,
    evaluate,
    measure,
    read_benchmark,
    read_sequences,
)
from mixformerv2.evaluation.benchmarks import read_truth
from mixformerv2.evaluation.report import Speed
from mixformerv2.evaluation.run import results_folder
from mixformerv2.evaluation.trackers import Answer, Frame, OpenCVTracker
from tests.unit.data.layouts import MAKERS


class Finder:
    """Finds the white square; counts how often it was started."""

    started = 0

    def init(self, frame: Frame, box: XYWH) -> None:
        Finder.started += 1

    def update(self, frame: Frame) -> Answer:
        rows, columns = np.nonzero(frame[..., 0] == 255)
        x, y = int(columns.min()), int(rows.min())
        return Answer((x, y, int(columns.max()) - x + 1, int(rows.max()) - y + 1), 0.25)


class Plain(Finder):
    """Answers a plain box."""

    def update(self, frame: Frame) -> XYWH:  # type: ignore[override]
        return super().update(frame).box


class Crash(Finder):
    """Fails in the second sequence, whose square starts at 11."""

    def init(self, frame: Frame, box: XYWH) -> None:
        self.bad = box[0] == 11

    def update(self, frame: Frame) -> Answer:
        if self.bad:
            raise ValueError("the sky fell")
        return super().update(frame)


class Unmade:
    """Cannot be made here."""

    def __init__(self) -> None:
        raise RuntimeError("no weights")


class Half:
    """Lacks a method."""

    def init(self, frame: Frame, box: XYWH) -> None: ...


class Killer(Finder):
    """Ends its process in the second sequence."""

    def init(self, frame: Frame, box: XYWH) -> None:
        if box[0] == 11:
            os._exit(3)


def test_a_perfect_tracker_gets_the_best_figures(root: Path) -> None:
    report = evaluate(Finder, root)
    assert report.mean.auc == pytest.approx(20 / 21)
    assert report.mean.precision == report.mean.normalized_precision == 1.0
    assert report.mean.sequences == 3
    assert report.families["fam"].sequences == 2
    assert [one.updates for one in report.sequences] == [4, 4, 4]
    assert report.mean.fps > 0


def test_a_still_box_is_scored_by_hand(root: Path) -> None:
    report = evaluate(TrackerSpec("still"), root, names=["fam_a"])
    # The square moves 2, 4, 6, 8 of its 8 pixels: IoU 3/5, 1/3, 1/7, 0.
    assert report.mean.auc == pytest.approx((12 + 7 + 3 + 0) / 21 / 4)
    assert report.tracker == "still"


def test_results_are_files_of_floats_and_are_not_run_again(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    Finder.started = 0
    first = evaluate(Finder, root, out=out)
    assert Finder.started == 3
    np.testing.assert_array_equal(
        read_truth(out / "fam_a.txt"), read_truth(root / "fam_a" / "groundtruth.txt")
    )
    assert (out / "fam_a_score.txt").read_text().split() == ["1.0", "0.25", "0.25", "0.25", "0.25"]
    assert len((out / "fam_a_time.txt").read_text().split()) == 5

    (out / "fam_b.txt").unlink()
    second = evaluate(Finder, root, out=out)
    assert Finder.started == 4
    assert _figures(second) == _figures(first)

    (out / "fam_a.txt").write_text("1,2,3,4\n")  # of another length
    (out / "other_c_score.txt").write_text("not a number\n")
    assert _figures(evaluate(Finder, root, out=out)) == _figures(first)
    assert Finder.started == 6


def test_a_crash_is_recorded_and_the_rest_goes_on(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen = []
    report = evaluate(Crash, root, out=out, progress=lambda one: seen.append(one.name))
    assert seen == ["fam_a", "fam_b", "other_c"]
    assert [one.name for one in report.failed] == ["fam_b"]
    assert "the sky fell" in str(report.failed[0].error)
    assert report.mean.auc == pytest.approx(2 / 3 * 20 / 21)  # it counts with zeros
    assert "the sky fell" in (out / "fam_b_error.txt").read_text()
    assert not (out / "fam_b.txt").exists()

    assert evaluate(Finder, root, out=out).failed == ()
    assert not (out / "fam_b_error.txt").exists()


def test_a_crash_hits_nothing_while_the_target_is_away(root: Path) -> None:
    """Where absent frames are hits of distance, those of a tracker that failed are none."""
    (root / "fam_b" / "groundtruth.txt").write_text("11,12,8,8\n" + "0,0,0,0\n" * 3 + "19,12,8,8")
    found = read_sequences(root, ["fam_b"])
    report = measure(Crash, found, counting=Counting(absent="near"))
    assert report.failed
    assert (report.mean.precision, report.mean.normalized_precision) == (0.0, 0.0)
    assert report.sequences[0].figures.frames == 4


def test_first_pictures_that_are_gone_cost_one_sequence(tmp_path: Path) -> None:
    """Results of others need a picture only for its size, which GOT-10k clips boxes to."""
    MAKERS["got10k"](tmp_path / "set")
    (found,) = read_benchmark("got10k_val", tmp_path / "set").sequences
    (tmp_path / f"{found.name}.txt").write_text("10,12,8,8\n" * len(found))
    picture = tmp_path / "set" / "val" / found.name / "00000001.jpg"
    picture.write_bytes(b"no picture")
    spec = TrackerSpec(f"results:{tmp_path}")
    report = evaluate(spec, tmp_path / "set", benchmark="got10k_val")
    assert "cannot be read" in str(report.failed[0].error)
    assert report.mean.overlap == 0.0


def test_the_f_score_is_of_all_sequences_and_of_labelled_frames(root: Path) -> None:
    """One sequence with an absence and frames that nobody labelled, one without, one that fails."""
    truth = "10,12,8,8\nnan,nan,nan,nan\n0,0,0,0\nnan,nan,nan,nan\n18,12,8,8\n"
    (root / "fam_a" / "groundtruth.txt").write_text(truth)
    report = evaluate(Finder, root, names=["fam_a", "other_c"])
    found = report.long_term
    assert found is not None
    # Of two known frames of the first the target is there in one, and found; all of the other's.
    assert (found.precision, found.recall) == (pytest.approx((0.5 + 1) / 2), 1.0)
    found = evaluate(Crash, root, names=["fam_a", "fam_b"]).long_term
    assert found is not None
    assert (found.precision, found.recall) == (0.25, 0.5)
    assert evaluate(Finder, root, names=["other_c"]).long_term is None


def test_processes_answer_the_same(root: Path, tmp_path: Path) -> None:
    spec = TrackerSpec("still")
    alone = evaluate(spec, root)
    both = evaluate(spec, root, jobs=2, out=tmp_path / "out")
    assert _figures(both) == _figures(alone)
    assert alone.remarks == ()
    assert both.remarks == (
        "speeds are those of sequences that were tracked at once, on shared machines",
    )
    assert (tmp_path / "out" / "other_c.txt").is_file()


def test_workers_leave_the_same_bytes_as_one_process(
    root: Path, small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the times; the bundle's folder may be named from where the user stands."""
    monkeypatch.chdir(small_bundle.parent)
    spec = TrackerSpec(f"./{small_bundle.name}", engine="onnx", threads=1)
    alone = evaluate(spec, root, out=tmp_path / "one")
    assert _figures(evaluate(spec, root, jobs=2, out=tmp_path / "two")) == _figures(alone)
    assert _bytes(tmp_path / "two") == _bytes(tmp_path / "one")
    assert len(_bytes(tmp_path / "one")) == 2 * 3


def _bytes(folder: Path) -> dict[str, bytes]:
    timed = ("_time.txt", "_decode.txt")
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.endswith(timed)}


def test_what_auto_takes_is_decided_once(small_bundle: Path, tmp_path: Path) -> None:
    spec = TrackerSpec(str(small_bundle)).anywhere()
    assert spec.engine == "openvino-fp32" or spec.engine.startswith("openvino-")
    assert (spec.label, spec.what) == (small_bundle.name, str(small_bundle.resolve()))
    odd = shutil.copytree(small_bundle, tmp_path / "run (1)")
    spec = TrackerSpec(str(odd)).anywhere()  # a folder's name need not be fit for a label
    assert (spec.label, spec.kind, spec.what) == ("run (1)", "bundle", str(odd.resolve()))
    assert TrackerSpec(f"mine={odd}").anywhere().label == "mine"
    assert TrackerSpec("t", engine="onnx-int8").anywhere().engine == "onnx-int8"
    assert TrackerSpec("still").anywhere() == TrackerSpec("still")


def test_a_tracker_that_ends_its_process_costs_one_sequence(root: Path, tmp_path: Path) -> None:
    report = evaluate(TrackerSpec(f"{__name__}:Killer"), root, jobs=2, out=tmp_path)
    assert [one.name for one in report.failed] == ["fam_b"]
    assert "ended its process" in str(report.failed[0].error)
    assert report.mean.auc == pytest.approx(2 / 3 * 20 / 21)
    assert (tmp_path / "fam_b_error.txt").is_file()
    assert (tmp_path / "other_c.txt").is_file()


def test_a_broken_picture_costs_one_sequence(root: Path) -> None:
    (root / "fam_a" / "img" / "000003.png").write_bytes(b"no picture")
    report = evaluate(Finder, root)
    assert [one.name for one in report.failed] == ["fam_a"]
    assert "000003.png cannot be read" in str(report.failed[0].error)
    assert report.failed[0].figures.frames == 4  # all of them misses


def test_speed_is_told_with_and_without_decoding(root: Path) -> None:
    report = evaluate(Finder, root)
    plain, whole = report.speed, report.speed_with_decoding
    assert 0 < plain.median <= plain.p95
    assert plain.mean < whole.mean
    assert plain.fps == pytest.approx(1000 / plain.mean)
    assert np.isnan(Speed.of([]).fps)


def test_a_report_is_json_without_nan(root: Path) -> None:
    (root / "fam_a" / "groundtruth.txt").write_text("10,12,8,8\n" + "nan,nan,nan,nan\n" * 4)
    report = evaluate(Finder, root)
    assert report.mean.sequences == 2
    assert report.mean.auc == pytest.approx(20 / 21)
    plain = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert plain["sequences"][0]["auc"] is None
    assert plain["convention"] == "size"


def test_the_first_frames_alone_can_be_used(root: Path) -> None:
    report = evaluate(TrackerSpec("still"), root, max_frames=2)
    assert [one.updates for one in report.sequences] == [1, 1, 1]
    assert report.mean.auc == pytest.approx(12 / 21)


def test_trackers_of_others(root: Path) -> None:
    own = evaluate(TrackerSpec(f"python:{__name__}:Plain"), root)
    assert own.mean.auc == pytest.approx(20 / 21)
    mil = evaluate(TrackerSpec("opencv:mil", threads=1), root, names=["fam_a"], max_frames=3)
    assert mil.failed == ()
    assert mil.sequences[0].figures.frames == 2


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("opencv:kcf", "opencv:kcf is not known here"),
        ("opencv:nano:", r"one \*backbone\*\.onnx, found 0"),
        ("python:nowhere:Tracker", "cannot be imported"),
        ("python:json:Nothing", "cannot be imported"),
        ("python:", "cannot be imported"),
        (
            "{here}:Unmade",
            r"cannot be made \(RuntimeError: no weights\); give a class that is made",
        ),
        ("{here}:json", r"cannot be made \(TypeError: 'module' object is not callable"),
        ("{here}:Half", "has no method update; give a class that is made without arguments"),
    ],
)
def test_unknown_trackers_are_refused(spec: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        TrackerSpec(spec.format(here=__name__)).identity()


def test_what_a_module_raises_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_gpu.py").write_text("raise RuntimeError('no GPU')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"cannot be imported \(RuntimeError: no GPU\)"):
        TrackerSpec("needs_gpu:Tracker").identity()


def test_networks_that_opencv_cannot_load_are_refused(tmp_path: Path) -> None:
    for part in ("backbone", "head"):
        (tmp_path / f"{part}.onnx").write_bytes(b"no graph")
    with pytest.raises(ConfigError, match=r"OpenCV cannot load .*backbone\.onnx and .*head\.onnx"):
        TrackerSpec(f"opencv:nano:{tmp_path}").identity()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"engine": "foo"}, "engine must be one of auto"),
        ({"threads": 0}, "threads must be a whole number from 1"),
        ({"settings": (("nonsense", 1),)}, "unknown setting"),
        ({"settings": (("search_factor", -3),)}, "search_factor must be from 1"),
    ],
)
def test_options_that_a_bundle_cannot_take_are_refused(
    options: dict[str, Any], sentence: str, small_bundle: Path
) -> None:
    spec = TrackerSpec(str(small_bundle), **{"engine": "onnx", **options})
    with pytest.raises(ConfigError, match=sentence):
        spec.identity()


def test_what_decides_the_boxes(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine that auto takes, our version, the source of a class, OpenCV and its networks."""
    found = TrackerSpec(str(small_bundle)).identity()
    assert found["engine"].startswith("openvino-")
    assert found["version"] == __version__

    (tmp_path / "mine.py").write_text("from theirs import T\n")
    (tmp_path / "theirs.py").write_text("class T:\n init = update = print\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = TrackerSpec("mine:T").identity()
    assert list(before["files"]) == ["mine", "theirs"]
    (tmp_path / "theirs.py").write_text("class T:\n init = update = repr\n")
    assert TrackerSpec("mine:T").identity() != before

    net = tmp_path / "net.onnx"
    net.write_bytes(b"one")
    monkeypatch.setattr(OpenCVTracker, "load", lambda self: None)
    before = TrackerSpec(f"opencv:vit:{net}").identity()
    net.write_bytes(b"two")
    after = TrackerSpec(f"opencv:vit:{net}").identity()
    assert before.pop("files") != after.pop("files")
    assert before == after
    assert before["opencv"] == cv2.__version__


def test_results_from_another_box_are_run_again(root: Path, tmp_path: Path) -> None:
    still, truth = TrackerSpec("still"), root / "fam_a" / "groundtruth.txt"
    evaluate(still, root, out=tmp_path / "out")
    stored = (tmp_path / "out" / "fam_a.txt").read_text()
    evaluate(still, root, out=tmp_path / "out")
    assert (tmp_path / "out" / "fam_a.txt").read_text() == stored
    truth.write_text(truth.read_text().replace("10.0,12.0,8.0,8.0", "11,12,8,8"))
    report = evaluate(still, root, out=tmp_path / "out")
    assert (tmp_path / "out" / "fam_a.txt").read_text() == stored.replace("10.0", "11.0")
    assert _figures(report) == _figures(evaluate(still, root))


def test_another_protocol_gets_another_folder(root: Path, tmp_path: Path) -> None:
    still = TrackerSpec("still")
    folders = {
        results_folder(tmp_path, spec, root, limit)
        for spec in (still, TrackerSpec("still", threads=1))
        for limit in (300, None)
    }
    assert len(folders) == 4
    again = results_folder(tmp_path, still, root, 300)
    assert again in folders
    assert json.loads((again / "run.json").read_text())["max_frames"] == 300


def test_bad_settings_are_refused(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_frames must be at least 2"):
        evaluate(Finder, root, max_frames=1)
    with pytest.raises(ConfigError, match="jobs must be at least 1"):
        evaluate(Finder, root, jobs=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        evaluate(Finder, root, out=tmp_path / "file" / "out")


def test_the_reference_figure_of_a_still_box(shared: Path) -> None:
    report = evaluate(TrackerSpec("still"), shared / "data" / "sequences")
    assert report.mean.sequences == 20
    assert report.mean.auc == pytest.approx(0.34, abs=0.005)  # ../shared/README.md, two digits


def _figures(report: Report) -> list[object]:
    return [(one.name, one.figures) for one in report.sequences]
