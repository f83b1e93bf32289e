"""`mixformerv2 data`: what is found, what is wrong, the sheet, and packing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mixformerv2.cli.main import main
from mixformerv2.data.check import check_dataset, draw_sheet
from mixformerv2.data.datasets import LAYOUTS, read_dataset
from mixformerv2.data.pack import frame_files, pack_files, pack_store
from mixformerv2.data.store import open_store
from mixformerv2.errors import DataError, OutputError
from tests.clips import number_of, write_clip
from tests.unit.data.layouts import MAKERS, boxes_of, make_got10k, make_lasot, put, write_frames


def test_a_good_set_is_counted(tmp_path: Path) -> None:
    make_got10k(tmp_path)
    report = check_dataset(read_dataset(tmp_path), every_frame=True)
    assert (report.wrong, report.odd) == ([], [])
    assert (report.sequences, report.frames, report.labelled, report.absent) == (4, 20, 13, 6)
    assert (report.shortest, report.longest, dict(report.sizes)) == (5, 5, {"64 x 48": 4})
    assert report.sources["got10k/train"] == 2


def test_what_is_wrong_or_odd_is_told_with_file_and_line(tmp_path: Path) -> None:
    def one(name: str, truth: str, count: int = 3) -> Path:
        write_frames(tmp_path / name / "img", boxes_of(count), "{:04d}.png")
        put(tmp_path / name / "groundtruth.txt", truth)
        return tmp_path / name

    good = "10,12,8,8\n"
    one("a_rows", good * 2)
    one("b_line", f"{good}x\n{good}")
    one("c_outside", f"{good}{good}70,12,8,8\n")
    (one("d_damaged", good * 3) / "img/0003.png").write_bytes(b"no")
    one("e_empty", "nan,nan,nan,nan\n" * 3)
    one("f_jump", f"{good}1,1,4,4\n50,40,4,4\n")
    (one("g_gap", good * 3, 4) / "img/0002.png").unlink()
    write_frames(tmp_path / "g_gap/img", boxes_of(1), "{:04d}.png", first=9)
    put(tmp_path / "g_gap/groundtruth.txt", good * 4)
    cv2.imwrite(str(one("h_size", good * 3) / "img/0003.png"), np.zeros((50, 70, 3), np.uint8))
    report = check_dataset(read_dataset(tmp_path))
    assert [sentence.removeprefix(f"{tmp_path}/") for sentence in report.wrong] == [
        f"a_rows/groundtruth.txt has 2 rows but {tmp_path}/a_rows/img has 3 pictures",
        "b_line/groundtruth.txt, line 2: 'x' is not four numbers x, y, w, h",
        "c_outside/groundtruth.txt, line 3: box 70, 12, 8, 8 (from pixel 0) lies outside the "
        "picture of 64 x 48",
        f"picture {tmp_path}/d_damaged/img/0003.png cannot be read; it is damaged or of an unknown "
        "kind",
        "e_empty/groundtruth.txt: e_empty has no frame with a box",
    ]
    assert [sentence.removeprefix(f"{tmp_path}/") for sentence in report.odd] == [
        "c_outside/groundtruth.txt, line 3: the box jumps by 8 times its size",
        "f_jump/groundtruth.txt, line 3: the box jumps by 16 times its size",
        "g_gap/img/0003.png follows number 1: are pictures missing?",
        "g_gap/img/0009.png follows number 4: are pictures missing?",
        "h_size/img/0003.png is 70 x 50, the first frame 64 x 48",
    ]


def test_wrong_boxes_of_an_export_have_lines_too(tmp_path: Path) -> None:
    write_frames(tmp_path / "a", boxes_of(3), "{}.png")
    put(tmp_path / "a.csv", "frame,x,y,w,h\n2,9,9,9,9\n0,70,1,2,2\n1,9,9,-9,9\n")
    report = check_dataset(read_dataset(tmp_path))
    file = tmp_path / "a.csv"
    assert report.wrong == [
        f"{file}, object 1, line 3: box 70, 1, 2, 2 (from pixel 0) lies outside the picture of "
        "64 x 48"
    ]
    assert report.odd == [f"{file}, object 1, line 4: width -9 and height 9: no box, left out"]


def test_the_sheet_shows_each_sequence_with_its_box(tmp_path: Path) -> None:
    make_lasot(tmp_path)
    put(tmp_path / "zebra/zebra-10/groundtruth.txt", "0,0,0,0\n" * 4)  # cannot be drawn
    sheet = draw_sheet(read_dataset(tmp_path))
    assert sheet is not None
    assert sheet.shape == (142, 2 * 700, 3)
    orange = (sheet == (0, 150, 255)).all(axis=2)
    assert orange[:, :700].any()
    assert orange[:, 700:].any()
    assert draw_sheet(read_dataset(tmp_path, names=["zebra-10"])) is None


@pytest.mark.parametrize("suffix", [".zip", ".lmdb"])
@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_packed_set_is_read_like_its_folder(name: str, suffix: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path / "set")
    out = tmp_path / f"set{suffix}"
    count = pack_store(open_store(tmp_path / "set"), out)
    assert count == sum(path.is_file() for path in (tmp_path / "set").rglob("*"))
    before, after = read_dataset(tmp_path / "set"), read_dataset(out)
    assert (after.layout, after.names) == (before.layout, before.names)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.absent, other.absent)
        assert one.frames.names == other.frames.names
        np.testing.assert_array_equal(one.frames[-1], other.frames[-1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set", f"set{suffix}"]


def test_frames_of_any_layout_become_a_folder_of_ones_own(tmp_path: Path) -> None:
    make_lasot(tmp_path / "lasot", ("airplane-1",))
    pack_files(frame_files(read_dataset(tmp_path / "lasot"), short_side=24), tmp_path / "a.zip")
    dataset = read_dataset(tmp_path / "a.zip")
    assert dataset.layout == "own"
    (sequence,) = dataset
    assert sequence.frames[0].shape == (24, 32, 3)
    np.testing.assert_allclose(sequence.boxes[0], (5, 6, 4, 4))
    assert sequence.absent.tolist() == [False, True, False, True]
    (tmp_path / "clips").mkdir()
    write_clip(tmp_path / "clips/one.mp4", count=4)
    put(tmp_path / "clips/one.txt", "2,0,2,48\n" * 4)
    pack_files(frame_files(read_dataset(tmp_path / "clips")), tmp_path / "b.lmdb")
    (clip,) = read_dataset(tmp_path / "b.lmdb")
    assert [number_of(frame) for frame in clip.frames] == [0, 1, 2, 3]


def test_a_packed_clip_is_read_from_inside(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    write_clip(tmp_path / "set/one.mp4", count=4)
    put(tmp_path / "set/one.txt", "2,0,2,48\n" * 4)
    pack_store(open_store(tmp_path / "set"), tmp_path / "set.zip")
    (clip,) = read_dataset(tmp_path / "set.zip")
    assert [number_of(frame) for frame in clip.frames] == [0, 1, 2, 3]


def test_packing_refuses_what_cannot_work(tmp_path: Path) -> None:
    make_lasot(tmp_path / "set")
    store = open_store(tmp_path / "set")
    with pytest.raises(OutputError, match=r"must end in \.zip or \.lmdb"):
        pack_store(store, tmp_path / "set.tar")
    put(tmp_path / "there.zip", "mine")
    with pytest.raises(OutputError, match="is there already"):
        pack_store(store, tmp_path / "there.zip")
    with pytest.raises(OutputError, match="cannot be written"):
        pack_store(store, tmp_path / "none/set.zip")
    with pytest.raises(OutputError, match="takes 511"):
        pack_files(iter([("n" * 512, b"x")]), tmp_path / "long.lmdb")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="in no known way"):
        pack_store(open_store(tmp_path / "empty"), tmp_path / "empty.zip")


@pytest.mark.parametrize("suffix", [".zip", ".lmdb"])
def test_a_pack_that_fails_leaves_nothing(suffix: str, tmp_path: Path) -> None:
    def files():  # type: ignore[no-untyped-def]
        yield "a.txt", b"1"
        raise DataError("b.jpg cannot be read")

    with pytest.raises(DataError, match=r"b\.jpg"):
        pack_files(files(), tmp_path / f"out{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_lasot(tmp_path / "set")
    assert main(["data", "check", "set"]) == 0
    shown = capsys.readouterr().out
    assert "LaSOT in set" in shown
    assert "sequences  3  (lasot/test 2, lasot/train 1)" in shown
    assert "nothing is wrong" in shown
    assert cv2.imread("check.jpg") is not None
    assert main(["data", "pack", "set", "set.lmdb"]) == 0
    assert main(["data", "check", "set.lmdb", "--split", "train", "--no-sheet"]) == 0
    assert "sequences  1  (lasot/train 1)" in capsys.readouterr().out
    put(tmp_path / "set/airplane/airplane-1/groundtruth.txt", "1,2,3,4\n[b]\n1,2,3,4\n1,2,3,4\n")
    assert main(["data", "check", "set", "--sheet", "sheet.png"]) == 9
    out, err = capsys.readouterr()
    assert "wrong: set/airplane/airplane-1/groundtruth.txt, line 2: '[b]' is not four" in out
    assert "error: 1 thing is wrong with set" in err
    assert main(["data", "pack", "set", "b.zip", "--short-side", "32"]) == 2
    assert main(["data", "pack", "set.lmdb", "b.zip", "--frames", "--short-side", "32"]) == 0
    assert "b.zip: 15 files" in capsys.readouterr().out
    assert main(["data", "check", "set", "--sheet", "none/a.png"]) == 5
    assert main(["data", "check", "set", "--sheet", "a.gif"]) == 5
    assert main(["data", "layouts"]) == 0
    listed = capsys.readouterr().out
    assert all(f" {name} " in listed for name in LAYOUTS)


def test_docs_name_every_layout_and_its_origin() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs/data.md").read_text(encoding="utf-8")
    for name, layout in LAYOUTS.items():
        assert f"| `{name}` | {layout.title} | {layout.origin} |" in text
