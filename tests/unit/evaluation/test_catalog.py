"""Benchmarks by name, as they are published; wrong folders are told what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixformerv2.data.datasets import LAYOUTS
from mixformerv2.errors import ConfigError, DataError
from mixformerv2.evaluation import BENCHMARKS, TrackerSpec, evaluate, read_benchmark
from mixformerv2.evaluation.published import published_rows
from tests.unit.data.layouts import MAKERS, put

from .conftest import write_sequence

STILL = TrackerSpec("still")


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name != "own"])
def test_a_benchmark_is_read_and_measured(name: str, tmp_path: Path) -> None:
    benchmark = BENCHMARKS[name]
    assert benchmark.layout is not None
    MAKERS[benchmark.layout](tmp_path)
    assert benchmark.origin == LAYOUTS[benchmark.layout].origin
    assert benchmark.origin[0] in "01"
    report = evaluate(STILL, tmp_path, benchmark=name)
    assert report.failed == ()
    assert report.benchmark == benchmark.title
    assert report.counting.sentence in report.protocol
    if benchmark.server is not None:
        assert report.mean.sequences == 0
    else:
        assert 0 < report.mean.auc < 1
        assert report.counting.first == any(one.errors.frames[0] == 0 for one in report.sequences)  # type: ignore[union-attr]
    if benchmark.count is not None:
        assert "not to be called a result" in report.remarks[0]


def test_absent_frames_count_as_each_benchmark_has_it(tmp_path: Path) -> None:
    MAKERS["lasot"](tmp_path / "lasot")  # four frames, one without a box, one hidden
    report = evaluate(STILL, tmp_path / "lasot", benchmark="lasot")
    assert [one.figures.frames for one in report.sequences] == [4, 4]
    # The given one, and the one after next, in which 4 of 8 and 10 pixels are left.
    assert report.sequences[0].figures.overlap == pytest.approx((1 + 4 / 14) / 4)
    MAKERS["got10k"](tmp_path / "got10k")
    val = evaluate(STILL, tmp_path / "got10k", benchmark="got10k_val")
    assert [one.figures.frames for one in val.sequences] == [2]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_wrong_folder_is_told_what_is_missing(name: str, tmp_path: Path) -> None:
    put(tmp_path / "root" / "holiday.jpg", "")
    with pytest.raises(DataError) as caught:
        read_benchmark(name, tmp_path / "root")
    assert "holiday.jpg" in str(caught.value)
    if name != "own":
        layout = LAYOUTS[str(BENCHMARKS[name].layout)]
        assert f"wanted {layout.form}" in str(caught.value)
    with pytest.raises(DataError, match="is not"):
        read_benchmark(name, tmp_path / "nowhere")


def test_a_part_of_a_benchmark_is_said_to_be_one(tmp_path: Path) -> None:
    MAKERS["lasot"](tmp_path)
    remark = read_benchmark("lasot", tmp_path).remarks[0]
    assert remark.startswith(
        "2 of the 280 sequences of LaSOT; airplane-13, airplane-15, airplane-9"
    )
    assert "and 273 more not found" in remark
    assert read_benchmark("lasot", tmp_path, ["airplane-1"]).remarks == (
        "1 of the 280 sequences of LaSOT, as asked for",
    )
    assert "read as LaSOT" in read_benchmark("own", tmp_path).remarks[0]
    with pytest.raises(ConfigError, match="no benchmark 'laset'; choose from own, lasot"):
        read_benchmark("laset", tmp_path)


@pytest.mark.parametrize(
    ("layout", "benchmark", "file", "text", "name", "expected"),
    [
        ("lasot", "lasot", "att/zebra-10.txt", "0,1" + ",0" * 11 + ",1\n", "zebra-10", "POC ARC"),
        ("uav123", "uav123", "anno/UAV123/att/bike1.txt", "1,0,0,0,0,0,0,0,0,0,1,0", "bike1",
         "SV CM"),
        ("tnl2k", "tnl2k", "annos/att/Square_video_01_attribute.txt", "1" + ",0" * 15 + ",1",
         "Square_video_01", "CM MS"),
        ("otb", "otb100", "anno/att/Car4.txt", "1 0 1 0 0 0 0 0 0 0 0", "Car4", "IV SV"),
        ("otb", "otb100", "Car4/attrs.txt", "IV, SV\n", "Car4", "IV SV"),
    ],
)  # fmt: skip
def test_attributes_are_read_where_they_are_published(
    layout: str, benchmark: str, file: str, text: str, name: str, expected: str, tmp_path: Path
) -> None:
    MAKERS[layout](tmp_path)
    put(tmp_path / file, text)
    found = {one.name: one.attributes for one in read_benchmark(benchmark, tmp_path).sequences}
    assert found[name] == set(expected.split())
    report = evaluate(STILL, tmp_path, benchmark=benchmark)
    assert set(report.attributes) == set(expected.split())


def test_parts_of_a_benchmark_have_attributes_of_their_own(tmp_path: Path) -> None:
    """UAV20L's videos bear names of UAV123's and are others."""
    MAKERS["uav123"](tmp_path)
    for part, flags in (("UAV123", "1" + ",0" * 11), ("UAV20L", "0,1" + ",0" * 10)):
        put(tmp_path / f"anno/{part}/att/bike1.txt", flags)
    for part, expected in (("uav123", "SV"), ("uav20l", "ARC")):
        (bike,) = read_benchmark(part, tmp_path, ["bike1"]).sequences
        assert bike.attributes == {expected}


def test_attributes_of_ones_own(root: Path, tmp_path: Path) -> None:
    put(root / "fam_a" / "attributes.txt", "night, far away\nnight\n")
    found = {one.name: one.attributes for one in read_benchmark("own", root).sequences}
    assert found == {"fam_a": {"night", "far away"}, "fam_b": set(), "other_c": set()}
    put(tmp_path / "elsewhere" / "fam_b.txt", "rain")
    other = read_benchmark("own", root, attributes=tmp_path / "elsewhere").sequences
    assert other[1].attributes == {"rain"}
    put(root / "fam_b" / "attributes.txt", "1,0,1")
    with pytest.raises(DataError, match=r"fam_b.attributes\.txt has 3 flags"):
        read_benchmark("own", root)
    with pytest.raises(DataError, match="is not a folder"):
        read_benchmark("own", root, attributes=tmp_path / "nowhere")


def test_a_benchmark_is_measured_whole_or_said_to_be_cut(tmp_path: Path) -> None:
    """The command does so too; 300 frames are the protocol of one's own folder alone."""
    frames = 302
    write_sequence(tmp_path / "own" / "long", start=0, frames=2)
    for folder in (tmp_path / "otb" / "Car4", tmp_path / "own" / "long"):
        name = "groundtruth_rect.txt" if folder.name == "Car4" else "groundtruth.txt"
        (folder / "img").mkdir(parents=True, exist_ok=True)
        picture = (tmp_path / "own" / "long" / "img" / "000001.png").read_bytes()
        for number in range(1, frames + 1):
            (folder / "img" / f"{number:06d}.png").write_bytes(picture)
        (folder / name).write_text("10,12,8,8\n" * frames)
    whole = evaluate(STILL, tmp_path / "otb", benchmark="otb100")
    assert (whole.max_frames, whole.sequences[0].figures.frames) == (None, frames)
    assert len(whole.remarks) == 1  # that it is one of a hundred
    cut = evaluate(STILL, tmp_path / "otb", benchmark="otb100", max_frames=20)
    assert cut.remarks[1] == (
        "no more than the first 20 frames of each sequence: not to be called a result on OTB-100"
    )
    own = evaluate(STILL, tmp_path / "own")
    assert (own.max_frames, own.sequences[0].figures.frames, own.remarks) == (300, 299, ())
    assert evaluate(STILL, tmp_path / "own", max_frames=None).sequences[0].figures.frames == 301


def test_the_papers_tables() -> None:
    lasot = published_rows("lasot")
    assert lasot[0].tracker == "MixFormerV2-B"
    assert lasot[0].values == {"auc": 0.706, "normalized_at_20": 0.808, "precision": 0.762}
    small = next(row for row in lasot if row.tracker == "MixFormerV2-S")
    assert (small.table, small.values["auc"]) == (6, 0.606)
    assert len(lasot) == 15 + 10
    assert published_rows("got10k_test")[0].values == {"overlap": 0.739}
    assert published_rows("vot2022")[0].values == {
        "eao": 0.556, "accuracy": 0.795, "robustness": 0.851,
    }  # fmt: skip
    assert published_rows("vot2020")[0].values == {"eao": 0.322}
    assert published_rows("trackingnet")[0].values["precision"] == 0.816
    assert published_rows("own") == []
