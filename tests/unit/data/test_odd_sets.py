"""Data sets as they come: odd names, links, archives of other programs, labels that are none."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mixformerv2.cli.main import main
from mixformerv2.data.check import check_dataset, draw_sheet
from mixformerv2.data.datasets import Findings, read_dataset, vot
from mixformerv2.data.datasets.text import rows_of
from mixformerv2.data.pack import frame_files, pack_files, pack_store
from mixformerv2.data.store import open_store
from mixformerv2.errors import DataError, OutputError

from .layouts import boxes_of, make_got10k, make_youtube, put, write_frames

LINE = "1,1,9,9\n"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    write_frames(tmp_path / "own/car/img", boxes_of(2), "{:06d}.png")
    put(tmp_path / "own/car/groundtruth.txt", LINE * 2)
    return tmp_path / "own"


@pytest.mark.parametrize("rows", ["1e12,1e12,5,5\n" * 2, "1e308,1e308,1e308,1e308\n" * 2])
def test_a_box_beyond_all_numbers_is_told_and_drawn(own: Path, rows: str) -> None:
    put(own / "car/groundtruth.txt", rows)
    report = check_dataset(read_dataset(own))
    assert [sentence.partition(": box")[0] for sentence in report.wrong] == [
        f"{own}/car/groundtruth.txt, line 1",
        f"{own}/car/groundtruth.txt, line 2",
    ]
    assert draw_sheet(read_dataset(own)) is not None


def test_brackets_in_names_are_shown(
    own: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own.parent)
    for name in ("a [old]", "b[[i]", "c:cat:"):
        own = own.rename(own.with_name(name))
        assert main(["data", "check", own.name, "--no-sheet"]) == 0
        assert f"in {own.name}\n" in capsys.readouterr().out


def test_what_cannot_be_read_is_counted_too(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "car/groundtruth.txt").write_bytes(b"\xff\xfe")
    assert main(["data", "check", str(own), "--no-sheet"]) == 9
    assert "sequences  1\n" in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_no_text_is_checked_and_not_packed(own: Path, tmp_path: Path) -> None:
    """OpenCV's letters would end the process."""
    (own / "car").rename(own / os.fsdecode(b"b\xffd"))
    dataset = read_dataset(own)
    assert draw_sheet(dataset) is not None
    for suffix in (".zip", ".lmdb"):
        with pytest.raises(OutputError, match="no UTF-8; rename it"):
            pack_store(open_store(own), tmp_path / f"a{suffix}")
        with pytest.raises(OutputError, match="no UTF-8; rename it"):
            pack_files(frame_files(dataset), tmp_path / f"a{suffix}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own"]


def test_links_that_lead_back_are_followed_once(own: Path, tmp_path: Path) -> None:
    (own / "car/back").symlink_to("..")
    (own / "car/itself").symlink_to(".")
    assert check_dataset(read_dataset(own)).wrong == []
    assert pack_store(open_store(own), tmp_path / "a.zip") == 3


def test_a_link_to_itself_is_a_picture_that_cannot_be_read(own: Path) -> None:
    (own / "loop").symlink_to("loop")
    (own / "car/img/000001.png").unlink()
    (own / "car/img/000001.png").symlink_to("000001.png")
    (wrong,) = check_dataset(read_dataset(own)).wrong
    assert wrong.startswith(f"{own}/car/img/000001.png cannot be read: ")


@pytest.mark.parametrize("form", ["./", "\\", "twice"])
def test_archives_of_other_programs(own: Path, tmp_path: Path, form: str) -> None:
    """Entries that begin with ./, are parted as on Windows, or are there twice: the later holds."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted(own.rglob("*.*")):
            name = path.relative_to(own).as_posix()
            for data in (b"an older one", path.read_bytes())[form != "twice" :]:
                entry = zipfile.ZipInfo("unlike")
                entry.filename = {"./": f"./{name}", "\\": name.replace("/", "\\")}.get(form, name)
                archive.NameToInfo.pop(entry.filename, None)  # it would warn
                archive.writestr(entry, data)
    (sequence,) = read_dataset(tmp_path / "a.zip")
    assert (sequence.name, len(sequence)) == ("car", 2)
    np.testing.assert_array_equal(sequence.frames[1], read_dataset(own)[0].frames[1])


def test_numbers_with_strokes_stay_folders_of_their_own(tmp_path: Path) -> None:
    """Deeper down nobody would look for them, and a path upwards is nothing to be unpacked."""
    write_frames(tmp_path / "set/v", boxes_of(2), "{}.png")
    head = "video,frame,id,x,y,w,h\n"
    put(tmp_path / "set/a.csv", head + "v,0,a/b,1,1,9,9\nv,0,../../c,1,1,9,9\nv,0,.,1,1,9,9\n")
    pack_files(frame_files(read_dataset(tmp_path / "set")), tmp_path / "a.zip")
    assert read_dataset(tmp_path / "a.zip").names == ["v-.", "v-..-..-c", "v-a-b"]


def exported(tmp_path: Path, name: str, text: str | bytes) -> list[str]:
    """What is wrong with an export beside two frames of a video `v`."""
    write_frames(tmp_path / "v", boxes_of(2), "{}.png")
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    try:
        return check_dataset(read_dataset(path)).wrong
    except DataError as error:
        return [str(error)]


def test_lines_may_end_as_on_any_system(tmp_path: Path) -> None:
    text = "video,frame,x,y,w,h\rv,0,1,1,9,9\rv,1,1,1,9,9\r"
    assert exported(tmp_path, "a.csv", text) == []
    assert read_dataset(tmp_path).layout == "csv"


TWO = "video,frame,x,y,w,h\nv,0,1,1,9,9\nv,{},{},1,9,9\n"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.csv", TWO.format(0, 30), "line 3: frame 0 of object 1 has a box already; give each"),
        ("a.csv", TWO.format(1, "9" * 200_000), "it is no CSV: field larger"),
        ("a.csv", TWO.format(1.7e12, 1), "line 3: no frame from 0 and four numbers"),
        ("v.mot", "1,1,1,1,9,9\n1, 1 ,2,2,9,9\n", "line 2: frame 0 of object 1 has a box already"),
        ("a.json", "[" * 100_000, "cannot be read as labels"),
        ("a.json", '{"videos": ' + "9" * 5000 + "}", "cannot be read as labels"),
        ("a.xml", "<?xml version='1.0' encoding='klingon'?><annotations/>", "save it as UTF-8"),
    ],
)  # fmt: skip
def test_labels_that_cannot_be_meant(name: str, text: str, sentence: str, tmp_path: Path) -> None:
    (wrong,) = exported(tmp_path, name, text)
    assert sentence in wrong


@pytest.mark.parametrize(
    ("number", "said"), [({}, "None"), ({"frame_id": None}, "None"), ({"frame_id": -1}, "-1")]
)
def test_cocovid_images_say_which_frame_they_are(
    number: dict[str, object], said: str, tmp_path: Path
) -> None:
    """Without, all would be frame 0, and of many boxes one would be left."""
    images = [{"id": i, "video_id": 1, "file_name": f"v/{i}.png", **number} for i in (1, 2)]
    notes = [{"id": i, "image_id": i, "track_id": 1, "bbox": [1, 1, 9, 9]} for i in (1, 2)]
    content = {"videos": [{"id": 1, "name": "v"}], "images": images, "annotations": notes}
    (wrong,) = exported(tmp_path, "a.json", json.dumps(content))
    assert wrong.endswith(f"needs its number in the video as frame_id, from 0, got {said}")


def test_cocovid_objects_want_numbers_of_their_own(tmp_path: Path) -> None:
    images = [{"id": 1, "video_id": 1, "file_name": "v/1.png", "frame_id": 0}]
    notes = [{"id": i, "image_id": 1, "bbox": [i, 1, 9, 9]} for i in (1, 2)]
    content = {"videos": [{"id": 1, "name": "v"}], "images": images, "annotations": [*notes, "x"]}
    again, other = exported(tmp_path, "a.json", json.dumps(content))
    assert "annotation 2: frame 0 of object 1 has a box already" in again
    assert "annotation 2: TypeError" in other


def test_an_export_is_read_as_its_ending_says(tmp_path: Path) -> None:
    assert exported(tmp_path, "a.csv", TWO.format(1, 1)) == []
    with pytest.raises(DataError, match="is read as csv, by its ending, and not as mot"):
        read_dataset(tmp_path / "a.csv", layout="mot")
    with pytest.raises(DataError, match="csv has no split 'train'; it has no splits"):
        read_dataset(tmp_path / "a.csv", split="train")


@pytest.mark.parametrize("value", ["inf", "0.5"])
def test_flags_are_whole_numbers(tmp_path: Path, value: str) -> None:
    make_got10k(tmp_path)
    path = tmp_path / "val/GOT-10k_Val_000001/absence.label"
    lines = path.read_text().splitlines()
    put(path, "\n".join([value, *lines[1:]]))
    findings = Findings(strict=False)
    read_dataset(tmp_path, split="val").entries[0].load(findings)
    (wrong,) = findings.wrong
    assert f"absence.label, line 1: {value!r} is no whole number from 0 to 1" in wrong


@pytest.mark.parametrize("mask", ["m inf,0,4,4,1", "m0,0,1000000,1000000,5", "m0,0,4,4,5,5e12"])
def test_masks_larger_than_any_picture_are_none(mask: str) -> None:
    findings = Findings(strict=False)
    assert np.isnan(rows_of(mask, "truth", findings, vot._row, "a mask")).all()
    assert findings.wrong == [f"truth, line 1: {mask!r} is not a mask"]


@pytest.mark.parametrize(
    "meta", ["[]", '{"videos": null}', '{"videos": {"a": {"objects": {"b": {}}}}}']
)
def test_a_file_of_objects_that_is_none(tmp_path: Path, meta: str) -> None:
    make_youtube(tmp_path)
    put(tmp_path / "train/meta.json", meta)
    with pytest.raises(DataError, match=r"meta\.json is no file of YouTube-VOS"):
        read_dataset(tmp_path)


def test_cut_videos_may_be_numbered_behind_letters(tmp_path: Path) -> None:
    write_frames(tmp_path / "data_seq/UAV123/bird1", boxes_of(3), "img{:04d}.png")
    put(tmp_path / "anno/UAV123/bird1_1.txt", LINE * 3)
    (sequence,) = read_dataset(tmp_path, layout="uav123")
    assert len(sequence) == 3


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_listed_names_may_have_spaces(own: Path, tmp_path: Path, mark: str) -> None:
    (own / "car").rename(own / "my car")
    names = put(tmp_path / "names.txt", f"{mark}my car\n\n")
    assert read_dataset(own, names=names).names == ["my car"]
