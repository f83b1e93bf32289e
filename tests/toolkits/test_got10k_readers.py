"""The got10k toolkit (0.1.3) reads the made folders too: the same frames, the same boxes.

It keeps boxes as the files have them; so where a benchmark counts pixels from 1, so does it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import got10k.datasets as theirs
import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2.data.datasets import AnnotatedSequence, read_dataset
from mixformerv2.data.datasets.lasot import test_set as our_test_set
from mixformerv2.data.datasets.uav123 import STARTS
from tests.unit.data.layouts import MAKERS, box_of, put, rows

LISTS = Path(theirs.__file__).parent


def assert_same(
    ours: AnnotatedSequence, files: Sequence[str], boxes: NDArray[np.float64], origin: int
) -> None:
    """Frames by their paths; boxes where there is one, and no box of theirs where we have none."""
    place = ours.frames.store.place
    assert [place / name for name in ours.frames.names] == [Path(file) for file in files]
    shifted = ours.boxes + np.array([origin, origin, 0, 0])
    labelled = ours.labelled
    np.testing.assert_array_equal(shifted[labelled], boxes[labelled])
    assert labelled.any()
    assert all(np.isnan(row).any() or min(row[2:]) <= 0 for row in boxes[~labelled])


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_got10k(split: str, tmp_path: Path) -> None:
    MAKERS["got10k"](tmp_path)
    toolkit = theirs.GOT10k(str(tmp_path), subset=split)
    dataset = read_dataset(tmp_path, split=split)
    assert dataset.names == toolkit.seq_names
    for ours, (files, boxes) in zip(dataset, toolkit, strict=True):
        if split == "test":  # it gives the first row alone
            boxes = np.concatenate([boxes, np.full((len(files) - 1, 4), np.nan)])
        assert_same(ours, files, boxes, origin=0)
    if split != "test":
        meta = theirs.GOT10k(str(tmp_path), subset=split, return_meta=True)[0][2]
        expected = (meta["absence"] == 1) | (meta["cover"] == 0)
        np.testing.assert_array_equal(dataset[0].absent, expected)
        assert dataset[0].category == meta["object_class"]


def test_lasot(tmp_path: Path) -> None:
    splits = json.loads((LISTS / "lasot.json").read_text())
    assert our_test_set() == set(splits["test"])
    assert not our_test_set() & set(splits["train"])
    MAKERS["lasot"](tmp_path)
    # Its constructor calls a method with one argument too many; the reading itself works.
    toolkit = theirs.LaSOT.__new__(theirs.LaSOT)
    dataset = read_dataset(tmp_path)
    toolkit.return_meta = True
    toolkit.seq_names = dataset.names
    places = [tmp_path / name.rpartition("-")[0] / name for name in dataset.names]
    toolkit.seq_dirs = [str(place / "img") for place in places]
    toolkit.anno_files = [str(place / "groundtruth.txt") for place in places]
    for ours, (files, boxes, meta) in zip(dataset, toolkit, strict=True):
        assert_same(ours, files, boxes, origin=1)
        absent = (meta["full_occlusion"] == 1) | (meta["out_of_view"] == 1)
        np.testing.assert_array_equal(ours.absent, absent)


@pytest.mark.parametrize("name", ["a_b-0", "c_1"])
def test_trackingnet(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MAKERS["trackingnet"](tmp_path)
    ours = read_dataset(tmp_path, split="train", names=[name])[0]
    part = ours.source.rpartition("/")[2].upper()
    folder = tmp_path / part / "frames" / name
    # Its constructor forgets `frames`, and it takes a whole path for a number: from within the
    # folder both are right.
    monkeypatch.chdir(folder)
    toolkit = theirs.TrackingNet.__new__(theirs.TrackingNet)
    toolkit.seq_names, toolkit.seq_dirs = [name], [""]
    toolkit.anno_files = [str(tmp_path / part / "anno" / f"{name}.txt")]
    files, boxes = toolkit[0]
    assert_same(ours, [str(folder / file) for file in files], boxes, origin=0)


def test_otb(tmp_path: Path) -> None:
    MAKERS["otb"](tmp_path)
    toolkit = theirs.OTB(str(tmp_path), version=2015, download=False)
    dataset = read_dataset(tmp_path)
    assert [name.replace(".", "-") for name in toolkit.seq_names] == dataset.names
    for ours, (files, boxes) in zip(dataset, toolkit, strict=True):
        assert_same(ours, files, boxes, origin=1)


@pytest.mark.parametrize("split", ["30", "240"])
def test_nfs(split: str, tmp_path: Path) -> None:
    MAKERS["nfs"](tmp_path)
    toolkit = theirs.NfS(str(tmp_path), fps=int(split))
    dataset = read_dataset(tmp_path, split=split)
    assert dataset.names == toolkit.seq_names
    for ours, (files, boxes) in zip(dataset, toolkit, strict=True):
        assert_same(ours, files, boxes, origin=0)


def test_uav123(tmp_path: Path) -> None:
    metas = json.loads((LISTS / "uav123.json").read_text())["UAV123"]
    cut = {name: meta for name, meta in metas.items() if meta["folder_name"] != name}
    ours_cut = {
        f"{video}_{number}": (video, start)
        for video, starts in STARTS.items()
        for number, start in enumerate(starts, 1)
    }
    assert ours_cut == {n: (meta["folder_name"], meta["start_frame"]) for n, meta in cut.items()}
    assert all(meta["start_frame"] == 1 for name, meta in metas.items() if name not in cut)
    for name in ("truck4_1", "truck4_2", "uav1_3", "car16_2", "bike3"):
        meta = metas[name]
        folder = tmp_path / "data_seq/UAV123" / meta["folder_name"]
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, meta["end_frame"] + 1):
            (folder / f"{number:06d}.jpg").touch()
        count = meta["end_frame"] - meta["start_frame"] + 1
        boxes = [None if i == 3 else box_of(i % 9) for i in range(count)]
        put(tmp_path / f"anno/UAV123/{name}.txt", rows(boxes, 1, gap="NaN,NaN,NaN,NaN"))
    put(tmp_path / "readme.txt", "it wants more than three entries")
    put(tmp_path / "licence.txt", "")
    toolkit = theirs.UAV123(str(tmp_path), version="UAV123")
    dataset = read_dataset(tmp_path)
    assert set(toolkit.seq_names) == set(dataset.names)
    for ours in dataset:
        files, boxes = toolkit[ours.name]
        assert_same(ours, files, boxes, origin=1)


def test_vot(tmp_path: Path) -> None:
    MAKERS["vot"](tmp_path)
    toolkit = theirs.VOT(str(tmp_path), version=2017, anno_type="default", download=False)
    dataset = read_dataset(tmp_path)
    assert toolkit.seq_names == dataset.names
    rectangle, polygon = dataset[0], dataset[1]  # it knows no masks
    assert_same(rectangle, *toolkit["rect"], origin=0)
    files, corners = toolkit["polygon"]
    xs, ys = corners[:, 0::2], corners[:, 1::2]
    left, top = xs.min(axis=1), ys.min(axis=1)
    around = np.stack([left, top, xs.max(axis=1) - left, ys.max(axis=1) - top], axis=1)
    assert_same(polygon, files, around, origin=0)


@pytest.mark.parametrize("split", ["train", "val"])
def test_imagenet_vid(split: str, tmp_path: Path) -> None:
    MAKERS["vid"](tmp_path / "set")
    root, cache = str(tmp_path / "set"), str(tmp_path / "cache")
    toolkit = theirs.ImageNetVID(root, subset=split, cache_dir=cache)
    dataset = read_dataset(tmp_path / "set", split=split)
    assert toolkit.seq_names == dataset.names
    for ours in dataset:  # it leaves out frames without the target; ours are all of the video
        files, boxes = toolkit[ours.name]
        here = np.flatnonzero(ours.labelled)
        place = ours.frames.store.place
        assert [place / ours.frames.names[i] for i in here] == [Path(file) for file in files]
        np.testing.assert_array_equal(ours.boxes[here], boxes)
