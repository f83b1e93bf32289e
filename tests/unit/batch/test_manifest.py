"""Rows of manifests: what is read, what is a fault of one row, and what of the whole file."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixformerv2.batch import plan as planning
from mixformerv2.batch.manifest import Target, read_manifest
from mixformerv2.batch.plan import Settings, make_plan, shown_name
from mixformerv2.errors import ConfigError, DataError, MixFormerError, OutputError
from mixformerv2.video.address import resolve


def read(path: Path) -> list[Target]:
    return list(read_manifest(str(path), str(path)))


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


ROWS: list[dict[str, Any]] = [
    {"video": "a.mp4", "x": 1, "y": 2.5, "w": 3, "h": 4, "start": 7, "id": 9, "camera": "north"},
    {"video": "a.mp4", "x": 10, "y": 20, "w": 30, "h": 40, "start": None, "id": None},
]


def as_csv(path: Path) -> Path:
    return write(
        path, "video,x,y,w,h,start,id,camera\na.mp4,1,2.5,3,4,7,9,north\na.mp4,10,20,30,40\n"
    )


def as_tsv(path: Path) -> Path:
    text = as_csv(path).read_text().replace(",", "\t")
    return write(path, text)


def as_jsonl(path: Path) -> Path:
    return write(path, "\n\n".join(json.dumps(row) for row in ROWS))


def as_boxes(path: Path) -> Path:
    rows = [{**row, "box": [row.pop(name) for name in "xywh"]} for row in map(dict, ROWS)]
    return write(path, "\n".join(json.dumps(row) for row in rows))


def as_parquet(path: Path) -> Path:
    pq.write_table(
        pa.Table.from_pylist([{**row, "camera": row.get("camera")} for row in ROWS]), path
    )
    return path


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("l.csv", as_csv),
        ("l.tsv", as_tsv),
        ("l.jsonl", as_jsonl),
        ("m.jsonl", as_boxes),
        ("l.parquet", as_parquet),
    ],
)
def test_the_same_rows_in_every_format(tmp_path: Path, name: str, make: Any) -> None:
    first, second = read(make(tmp_path / name))
    whole = str(tmp_path.resolve() / "a.mp4")
    assert first == Target("a.mp4", whole, (1, 2.5, 3, 4), 7, 9, {"camera": "north"})
    assert second == Target("a.mp4", whole, (10, 20, 30, 40))


def test_whole_numbers_as_pandas_writes_a_column_with_gaps(tmp_path: Path) -> None:
    path = write(tmp_path / "l.csv", "video,x,y,w,h,start,id\na,1,2,3,4,120.0,7.0\na,1,2,3,4,,\n")
    first, second = read(path)
    assert (first.start, first.id, first.fault) == (120, 7, None)
    assert (second.start, second.id, second.fault) == (0, None, None)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("a.mp4,1,2,3,,", "row 2 .*four numbers"),
        ("a.mp4,1,2,3,0,", "width 3 and height 0"),
        ("a.mp4,1,2,nan,4,", "not finite"),
        ("a.mp4,1,2,3,4,-1", "start must be a whole number from 0"),
        ("a.mp4,1,2,3,4,1.5", "start must be a whole number from 0, got '1.5'"),
        ("a.mp4,1,2,3,4,first", "start must be a whole number from 0, got 'first'"),
    ],
)
def test_a_bad_row_comes_with_its_fault(tmp_path: Path, row: str, fault: str) -> None:
    good = "a.mp4,1,2,3,4,5"
    path = write(tmp_path / "l.csv", f"video,x,y,w,h,start\n{good}\n{row}\n{good}\n")
    faults = [target.fault for target in read(path)]
    assert faults[0] is faults[2] is None
    assert faults[1] is not None
    with pytest.raises(AssertionError, match=fault):
        raise AssertionError(faults[1])


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("l.csv", "", "must have the columns"),
        ("l.csv", "clip,x,y,w,h\n", "must have the columns"),
        ("l.csv", "video,x,y,w\n", "must have the columns"),
        ("l.csv", "video,x,y,w,h\n,1,2,3,4\n", "row 1 names no video"),
        ("l.jsonl", "{\n", "line 1 is not JSON"),
        ("l.jsonl", "[" * 100_000, "line 1 is not JSON"),
        ("l.jsonl", "[1]\n", "no JSON object"),
        ("l.jsonl", "{}\n", "names no video"),
        ("l.parquet", "PAR1", "cannot be read as Parquet"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, name: str, text: str, sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        read(write(tmp_path / name, text))


def test_a_manifest_of_an_unknown_kind_or_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must end in one of"):
        read(write(tmp_path / "l.xlsx", ""))
    with pytest.raises(DataError, match="No such file"):
        read(tmp_path / "gone.csv")


def test_without_pyarrow_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigError, match="pip install pyarrow"):
        read(as_csv(tmp_path / "l.csv").rename(tmp_path / "l.parquet"))


@pytest.mark.parametrize(
    ("place", "base", "whole"),
    [
        ("a.mp4", "/data/list.csv", "/data/a.mp4"),
        ("../a.mp4", "/data/lists/list.csv", "/data/a.mp4"),
        ("/x/a.mp4", "/data/list.csv", "/x/a.mp4"),
        ("a.mp4", "file:///data/list.csv", "/data/a.mp4"),
        ("file:///x/a%20b.mp4", "/data/list.csv", "/x/a b.mp4"),
        ("clips/a.mp4", "s3://bucket/list.csv", "s3://bucket/clips/a.mp4"),
        ("s3://other/a.mp4", "/data/list.csv", "s3://other/a.mp4"),
        ("rtsp://camera/1", "s3://bucket/list.csv", "rtsp://camera/1"),
        ("~nobody-of-that-name/a.mp4", "/data/list.csv", "/data/~nobody-of-that-name/a.mp4"),
    ],
)
def test_relative_videos_are_beside_the_manifest(place: str, base: str, whole: str) -> None:
    assert resolve(place, base) == whole


@given(st.binary(max_size=300), st.sampled_from([".csv", ".tsv", ".jsonl", ".parquet"]))
def test_any_bytes_are_rows_or_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"fuzz{suffix}"
    path.write_bytes(data if suffix != ".csv" else b"video,x,y,w,h\n" + data)
    with suppress(MixFormerError):
        for target in read(path):
            assert (target.box is None) == (target.fault is not None)


def test_many_rows_go_by_without_being_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the last tenth of 200,000 rows adds to the memory.

    Of a video a hash stays, 130 bytes, and 10,000 rows (2.6 MB) are on their way into files: 3.3
    MB. Rows that are kept would take 600 bytes each, 12 MB.
    """
    rows, each, traced = 200_000, 4, 20_000
    with (tmp_path / "list.csv").open("w") as file:
        file.write("video,x,y,w,h,start,id,camera\n")
        for number in range(rows):
            file.write(f"clips/{number // each:06d}.mp4,{number % 640},10,16,16,,,north\n")
    grown: list[int] = []

    def watched(place: str, path: str) -> Iterator[Target]:
        for number, target in enumerate(read_manifest(place, path), 1):
            if number == rows - traced:
                tracemalloc.start()  # all rows would take a minute: tracing is slow
            yield target
        grown.append(tracemalloc.get_traced_memory()[1])

    monkeypatch.setattr(planning, "read_manifest", watched)
    try:
        plan = make_plan(str(tmp_path / "list.csv"), tmp_path, Settings(shard_size=2000), "0")
    finally:
        tracemalloc.stop()
    assert grown[0] < 6 << 20
    videos = rows // each
    assert (plan.targets, plan.videos, plan.shards) == (rows, videos, videos // 2000)
    last = plan.read(plan.shards - 1)
    assert (len(last), last[-1].name) == (2000, f"clips/{videos - 1:06d}.mp4")
    assert {len(video.targets) for video in last} == {each}


def test_addresses_that_differ_in_what_is_hidden_keep_two_names() -> None:
    first, second = (shown_name(f"http://me:pw@h/get?video={n}&key=pw") for n in ("abc", "abd"))
    assert first != second
    assert first.startswith("http://h/get?video=***&key=***~")
    assert "pw" not in first
    for name in ("a?b=***.mp4", "http://h/a.mp4?channel=1"):
        assert shown_name(name) == name


def test_faults_of_a_manifest_do_not_show_its_password(tmp_path: Path) -> None:
    path = write(tmp_path / "l.csv", "video,x\n")
    with pytest.raises(DataError, match=r"manifest http://h/l.csv\?key=\*\*\* must have") as caught:
        list(read_manifest("http://me:secret@h/l.csv?key=secret", str(path)))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["work", "index.html", "quarantine.csv"])
def test_a_folder_with_files_of_others_is_left_as_it_is(tmp_path: Path, name: str) -> None:
    """`--out .` where somebody has a folder `work` must not clear it away."""
    path = write(tmp_path / "list.csv", "video,x,y,w,h\na.mp4,1,2,3,4\n")
    mine = tmp_path / "mine"
    (mine / name / "deep").mkdir(parents=True)
    with pytest.raises(OutputError, match=f"holds {name} but no plan of a batch"):
        make_plan(str(path), mine, Settings(), "0")
    assert (mine / name / "deep").is_dir()
    assert not (mine / "plan").exists()
