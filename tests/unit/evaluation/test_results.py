"""Result files of ours and of others: layouts, coordinates, lengths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mixformerv2.errors import DataError
from mixformerv2.evaluation import (
    BENCHMARKS,
    Sequence,
    TrackerSpec,
    evaluate,
    measure,
    read_benchmark,
)
from mixformerv2.evaluation.results import Run, load_run, save_run
from tests.unit.data.layouts import MAKERS, put

from .conftest import write_sequence

BOXES = "10,12,8,8\n12,12,8,8\n14,12,8,8\n16,12,8,8\n18,12,8,8\n"


@pytest.fixture
def sequence(root: Path) -> Sequence:
    return read_benchmark("own", root, ["fam_a"]).sequences[0]


@pytest.mark.parametrize(
    ("boxes", "times"),
    [
        ("fam_a.txt", "fam_a_time.txt"),
        ("fam_a/fam_a_001.txt", "fam_a/fam_a_time.txt"),
        ("fam_a_001.txt", "times/fam_a_time.txt"),
        ("fam_a.csv", "fam_a_time.txt"),
    ],
)
def test_layouts_of_others(boxes: str, times: str, sequence: Sequence, tmp_path: Path) -> None:
    put(tmp_path / boxes, BOXES.replace(",", "\t"))
    put(tmp_path / times, "0.5,0.5\n0.25,0.25\n" + "0.1\n" * 3)
    run = load_run(tmp_path, sequence)
    np.testing.assert_array_equal(run.boxes, sequence.truth)
    assert run.seconds.tolist() == [0.5, 0.25, 0.1, 0.1, 0.1]
    assert np.isnan(run.scores).all()


@pytest.mark.parametrize(
    ("layout", "benchmark", "name", "file"),
    [
        ("uav123", "uav123", "bike1", "uav_bike1.txt"),
        ("nfs", "nfs", "zebra-fish", "nfs_zebra_fish.txt"),
        ("otb", "otb100", "Jogging-1", "Jogging_1.txt"),
        ("otb", "otb100", "Human4", "Human4_2.txt"),
    ],
)
def test_names_of_pytracking(
    layout: str, benchmark: str, name: str, file: str, sequence: Sequence, tmp_path: Path
) -> None:
    one = replace(sequence, name=name, layout=layout)
    shifted = BOXES if one.origin == 0 else BOXES.replace(",12,", ",13,")
    put(tmp_path / file, shifted.replace(",", "\t"))
    put(tmp_path / file.replace(".txt", "_time.txt"), "0.5\n" * 5)
    run = load_run(tmp_path, one)
    assert run.boxes[0, 1] == 12
    assert run.seconds[0] == 0.5
    assert BENCHMARKS[benchmark].layout == layout
    with pytest.raises(DataError, match=f"no results of {name}"):
        load_run(tmp_path, replace(one, layout="own"))  # may be another sequence


def test_two_runs_at_once_do_not_share_a_half_written_file(
    sequence: Sequence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing, parts = np.zeros(5), []

    def put_away(part: Path, file: Path) -> None:
        parts.append(part.name)
        part.rename(file)

    monkeypatch.setattr("mixformerv2.evaluation.results.os.replace", put_away)
    for process in (7, 8):
        monkeypatch.setattr("mixformerv2.evaluation.results.os.getpid", lambda n=process: n)
        save_run(tmp_path, sequence, Run(sequence.truth, nothing, nothing, nothing))
    assert parts == ["fam_a.7.part", "fam_a.8.part"]


def test_a_folder_without_any_result_is_no_tracker_of_zeros(root: Path, tmp_path: Path) -> None:
    put(tmp_path / "theirs" / "uav_bike1.txt", BOXES)
    wanted = r"none of the 3 sequences: looked for fam_a\.txt, .*, found uav_bike1\.txt; give the"
    with pytest.raises(DataError, match=wanted):
        evaluate(TrackerSpec(f"results:{tmp_path / 'theirs'}"), root)


def test_boxes_are_in_the_coordinates_of_the_benchmark(tmp_path: Path) -> None:
    MAKERS["lasot"](tmp_path / "set")
    sequence = read_benchmark("lasot", tmp_path / "set", ["airplane-1"]).sequences[0]
    assert sequence.origin == 1
    nothing = np.zeros(4)
    boxes = np.random.default_rng(1).uniform(0, 60, (4, 4))
    run = Run(boxes, nothing, nothing, nothing).in_files_of(sequence)
    save_run(tmp_path, sequence, run)
    first = (tmp_path / "airplane-1.txt").read_text().split(",")[0]
    assert float(first) == pytest.approx(boxes[0, 0] + 1)
    np.testing.assert_array_equal(load_run(tmp_path, sequence, ours=True).boxes, run.boxes)
    # Others keep a folder for each class.
    put(tmp_path / "others" / "airplane" / "airplane-1.txt", "11 13 8 8\n" * 4)
    others = load_run(tmp_path / "others", sequence)
    assert others.boxes[0].tolist() == [10, 12, 8, 8]


def test_sequences_that_would_share_a_file_are_refused(sequence: Sequence, tmp_path: Path) -> None:
    both = [sequence, replace(sequence, name="fam_a_time")]
    with pytest.raises(DataError, match=r"fam_a and of fam_a_time would share .* fam_a_time\.txt"):
        measure(TrackerSpec("still"), both, out=tmp_path)
    assert measure(TrackerSpec("still"), both).mean.sequences == 2  # nothing is written


def test_lengths(sequence: Sequence, tmp_path: Path) -> None:
    put(tmp_path / "fam_a.txt", BOXES + "0,0,1,1\n")  # a row too many is cut off
    put(tmp_path / "fam_a_time.txt", "0.1\n" * 4)  # without the given frame
    put(tmp_path / "fam_a_score.txt", "0.1\n")  # too short to be of use
    run = load_run(tmp_path, sequence)
    assert len(run.boxes) == 5
    assert np.isnan(run.seconds[0])
    assert run.seconds[1] == 0.1
    assert np.isnan(run.scores).all()
    with pytest.raises(DataError, match="6 rows, but fam_a has 5 frames"):
        load_run(tmp_path, sequence, ours=True)
    put(tmp_path / "fam_a.txt", BOXES[:20])
    with pytest.raises(DataError, match="2 rows, but fam_a has 5"):
        load_run(tmp_path, sequence)
    put(tmp_path / "fam_a.txt", "")
    with pytest.raises(DataError, match=r"^\S*fam_a\.txt is empty$"):  # and no truth
        load_run(tmp_path, sequence)
    later = replace(sequence, start=2).pick([2, 3, 4])
    put(tmp_path / "fam_a.txt", BOXES)  # a row for each frame of the file, the first two unlabelled
    assert load_run(tmp_path, later).boxes[0, 0] == 14


@pytest.mark.parametrize("limit", [None, 25, 24, 20, 6])
def test_results_of_a_sequence_that_starts_late(limit: int | None, tmp_path: Path) -> None:
    """With a row for each picture or from the first label on, cut wherever one likes."""
    write_sequence(tmp_path / "set" / "late", start=2, frames=30)
    file = tmp_path / "set" / "late" / "groundtruth.txt"
    rows = file.read_text().splitlines(keepends=True)
    file.write_text("nan,nan,nan,nan\n" * 5 + "".join(rows[5:]))
    times = [f"{number}\n" for number in range(30)]
    (sequence,) = read_benchmark("own", tmp_path / "set").sequences
    sequence = sequence.first(limit)
    for name, first in (("all", 0), ("labelled", 5)):
        put(tmp_path / name / "late.txt", "".join(rows[first:]))
        put(tmp_path / name / "late_time.txt", "".join(times[first + 1 :]))
        run = load_run(tmp_path / name, sequence)
        np.testing.assert_array_equal(run.boxes, sequence.truth)
        assert run.seconds[1:].tolist() == list(range(6, 5 + len(sequence)))
    # Ours never have rows for other pictures: these are of another truth.
    put(tmp_path / "all" / "late_score.txt", "1\n" * 30)
    put(tmp_path / "all" / "late_time.txt", "1\n" * 30)
    with pytest.raises(DataError, match=f"30 rows, but late has {len(sequence)} frames"):
        load_run(tmp_path / "all", sequence, ours=True)


def test_results_of_others_are_a_tracker(root: Path, tmp_path: Path) -> None:
    put(tmp_path / "theirs" / "fam_a.txt", BOXES)
    spec = TrackerSpec(f"best=results:{tmp_path / 'theirs'}")
    report = evaluate(spec, root)
    assert report.tracker == "best"
    assert report.sequences[0].figures.auc == pytest.approx(20 / 21)
    assert [one.name for one in report.failed] == ["fam_b", "other_c"]
    assert "has no results of fam_b" in str(report.failed[0].error)
    assert report.mean.auc == pytest.approx(20 / 21 / 3)


@pytest.mark.parametrize(
    ("text", "kind", "label"),
    [
        ("t", "bundle", "t"),
        ("my.module:Tracker", "class", "Tracker"),
        ("python:my.module:Tracker", "class", "Tracker"),
        ("opencv:csrt", "opencv", "opencv-csrt"),
        ("results:some/where/SiamX", "results", "SiamX"),
        ("mine=opencv:mil", "opencv", "mine"),
        ("a b=./bundle", "bundle", "a b"),
        (r"C:\models\mine", "bundle", r"C:\models\mine"),
        ("still", "still", "still"),
    ],
)
def test_kinds_of_trackers(text: str, kind: str, label: str) -> None:
    spec = TrackerSpec(text)
    assert (spec.kind, spec.label) == (kind, label)
