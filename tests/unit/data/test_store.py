"""One interface to frames: folder, zip, LMDB and video give the same names and pixels."""

from __future__ import annotations

import gc
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mixformerv2.data.pack import pack_files
from mixformerv2.data.packed import LmdbStore, ZipStore
from mixformerv2.data.store import FrameStore, VideoStore, open_store
from mixformerv2.errors import DataError
from tests.clips import damage_packets, number_of, write_clip
from tests.unit.data.layouts import boxes_of, put, write_frames


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    write_frames(root / "a/img", boxes_of(11), "{}.png")
    put(root / "a/groundtruth.txt", "\ufeff1,2,3,4\n")
    put(root / ".hidden", "x")
    put(root / "__MACOSX/a/1.png", "x")
    return root


def packed(folder: Path, suffix: str) -> Path:
    names = sorted(path for path in folder.rglob("*") if path.is_file())
    out = folder.with_suffix(suffix)
    pack_files(((path.relative_to(folder).as_posix(), path.read_bytes()) for path in names), out)
    return out


@pytest.fixture(params=["", ".zip", ".lmdb"])
def store(request: pytest.FixtureRequest, folder: Path) -> FrameStore:
    return open_store(packed(folder, request.param) if request.param else folder)


def test_all_kinds_hold_the_same(store: FrameStore, folder: Path) -> None:
    assert store.folders() == ["a"]
    assert store.files() == []
    assert store.folders("a") == ["a/img"]
    assert store.files("a") == ["a/groundtruth.txt"]
    assert store.pictures("a/img") == [f"a/img/{number}.png" for number in range(1, 12)]
    assert store.pictures("a") == store.files("none") == store.folders("none") == []
    assert store.has("a/img/11.png")
    assert not store.has("a/img")
    assert not store.has("a/img/12.png")
    assert store.text("a/groundtruth.txt") == "1,2,3,4\n"
    assert store.read("a/img/3.png") == (folder / "a/img/3.png").read_bytes()
    frame = store.frame("a/img/3.png")
    assert frame.shape == (48, 64, 3)
    assert frame[12, 14].tolist() == [255, 255, 255]
    assert frame[12, 13].tolist() == [90, 90, 90]
    assert len(list(store.walk())) == 12


def test_what_cannot_be_read_is_named(store: FrameStore) -> None:
    with pytest.raises(DataError, match=r"a/img/12\.png cannot be read"):
        store.frame("a/img/12.png")
    with pytest.raises(DataError, match=r"picture .*a/groundtruth\.txt cannot be read; it is dam"):
        store.frame("a/groundtruth.txt")
    with pytest.raises(DataError, match=r"a/img/1\.png is not text in UTF-8"):
        store.text("a/img/1.png")


def test_a_store_is_opened_anew_after_pickling_and_in_other_processes(store: FrameStore) -> None:
    expected = store.read("a/img/3.png")
    assert pickle.loads(pickle.dumps(store)).read("a/img/3.png") == expected
    opened = store._own()
    store._owner = os.getpid() + 1  # as in a forked process
    assert store.read("a/img/3.png") == expected
    assert opened is None or store._own() is not opened or not isinstance(store, ZipStore)


def test_an_lmdb_of_others_is_a_folder_with_data_mdb(tmp_path: Path) -> None:
    import lmdb

    with lmdb.open(str(tmp_path / "theirs")) as base, base.begin(write=True) as change:
        change.put(b"train/list.txt", b"x")
    store = open_store(tmp_path / "theirs")
    assert isinstance(store, LmdbStore)
    assert store.files("train") == ["train/list.txt"]


def test_places_that_are_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none is not there"):
        open_store(tmp_path / "none")
    for name in ("a.txt", "a.zip"):
        with pytest.raises(DataError, match=f"{name} is no data set"):
            open_store(put(tmp_path / name, "no"))
    with pytest.raises(DataError, match="is no LMDB that can be read"):
        open_store(put(tmp_path / "a.lmdb", "no")).files()
    with pytest.raises(DataError, match="cannot be read"):
        open_store(put(tmp_path / "a.mp4", "no")).frame("0")


def test_a_damaged_member_of_a_zip_is_named(folder: Path) -> None:
    path = packed(folder, ".zip")
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("a/img/3.png")
    data = bytearray(path.read_bytes())
    data[entry.header_offset + 60] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"set\.zip:a/img/3\.png cannot be read"):
        open_store(path).read("a/img/3.png")


def test_frames_of_a_video_by_number_in_any_order(tmp_path: Path) -> None:
    store = open_store(write_clip(tmp_path / "clip.mp4", count=12))
    assert isinstance(store, VideoStore)
    assert store.files() == [str(number) for number in range(12)]
    assert store.folders() == store.files("0") == []
    assert store.has("11")
    assert not store.has("12")
    for number in (0, 1, 1, 5, 11, 3, 3, 4):
        assert number_of(store.frame(str(number))) == number
    assert store.read("2").startswith(b"\x89PNG")
    assert number_of(pickle.loads(pickle.dumps(store)).frame("7")) == 7
    with pytest.raises(EOFError) as end:
        store.frame("12")
    assert end.value.args == (12,)
    assert number_of(store.frame("1")) == 1


def test_a_broken_frame_repeats_the_last_good_one(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.avi", count=12, codec="mjpeg", pix_fmt="yuvj420p")
    (broken,) = damage_packets(clip, [5])
    store = VideoStore(clip)
    found = [number_of(store.frame(str(number))) for number in range(12)]
    expected = list(range(12))
    expected[broken] = broken - 1
    assert found == expected


def test_a_clip_inside_a_packed_file_is_unpacked_and_goes_again(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", count=4)
    out = tmp_path / "set.zip"
    pack_files(iter([("one/clip.mp4", clip.read_bytes())]), out)
    store = open_store(out)
    video = store.clip("one/clip.mp4")
    assert store.clip("one/clip.mp4") is video
    assert number_of(video.frame("3")) == 3
    assert video.where("3").endswith("set.zip:one/clip.mp4, frame 3")
    place = video.place
    assert place.exists()
    del video, store
    gc.collect()
    assert not place.exists()
    np.testing.assert_array_equal(
        open_store(out).clip("one/clip.mp4").frame("2"), VideoStore(clip).frame("2")
    )
