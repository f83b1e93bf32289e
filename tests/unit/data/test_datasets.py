"""Published layouts: which frames, which boxes, from which pixel; and what is absent."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mixformerv2.data.datasets import LAYOUTS, AnnotatedSequence, Findings, read_dataset
from mixformerv2.errors import DataError
from tests.unit.data.layouts import MAKERS, box_of, boxes_of, make_got10k, make_lasot, put

# Sequences (in order), split, and for the first: numbers of frames without a box and absent ones.
EXPECTED = {
    "got10k": (
        [f"GOT-10k_{one}" for one in ("Train_000001", "Train_000002", "Val_000001", "Test_000001")],
        5, [2], [2, 4], "camel", "got10k/train",
    ),
    "lasot": (["airplane-1", "airplane-2", "zebra-10"], 4, [1], [1, 3], "airplane", "lasot/test"),
    "lasot_ext": (["atv-1", "wingsuit-10"], 4, [1], [1, 3], "atv", "lasot_ext"),
    "trackingnet": (["d_2", "a_b-0", "c_1"], 3, [1, 2], [], None, "trackingnet/test"),
    "tnl2k": (["Square_video_01"] * 2, 3, [1], [1], None, "tnl2k/test"),
    "otb": (["Car4", "Football1", "Human4", "Jogging-1", "Jogging-2"], 4, [], [], None, "otb"),
    "uav123": (["bike1", "truck4_1", "truck4_2"], 4, [2], [2], None, "uav123"),
    "nfs": (["ball"], 2, [], [], None, "nfs/30"),
    "vot": (["rect", "polygon", "mask"], 4, [2], [2], None, "vot"),
    "vid": (
        [f"ILSVRC2015_{one}_00000000.{n}" for one in ("train", "val") for n in (0, 1)],
        4, [2], [2], "n02084071", "vid/train",
    ),
    "coco": (["1-7", "2-8"], 1, [], [], "car", "coco/train2017"),
    "davis": (["bear", "two-1", "two-9"], 4, [2], [2], None, "davis"),
    "youtube": (["0043f083b5-1", "0043f083b5-2"], 3, [2], [], "sedan", "youtube/train"),
}  # fmt: skip


def assert_boxes_are_on_the_pixels(sequence: AnnotatedSequence) -> None:
    """The square of each frame lies exactly where the box says."""
    assert len(list(sequence.frames)) == len(sequence)
    for index in np.flatnonzero(sequence.labelled):
        white = np.argwhere((sequence.frames[index] == 255).all(axis=2))
        (top, left), (bottom, right) = white.min(axis=0), white.max(axis=0)
        pixels = (left, top, right - left + 1, bottom - top + 1)
        np.testing.assert_array_equal(sequence.boxes[index], pixels, err_msg=sequence.name)


@pytest.mark.parametrize("name", MAKERS)
def test_a_published_layout_is_known_and_read(name: str, tmp_path: Path) -> None:
    MAKERS[name](tmp_path / "set")
    dataset = read_dataset(tmp_path / "set")
    names, count, unboxed, absent, category, source = EXPECTED[name]
    assert dataset.layout == name
    assert dataset.names == names
    first = dataset[0]
    assert (first.name, len(first), first.category, first.source) == (
        names[0], count, category, source,
    )  # fmt: skip
    assert np.flatnonzero(~first.labelled).tolist() == unboxed
    assert np.flatnonzero(first.absent).tolist() == absent
    assert first.visible.tolist() == (first.labelled & ~first.absent).tolist()
    others = {"0043f083b5-2", "two-9"} | {n for n in names if n.endswith(".1")}
    for sequence in dataset:
        if sequence.name not in others:  # their square is another one
            assert_boxes_are_on_the_pixels(sequence)


def test_every_published_layout_has_a_made_folder() -> None:
    own = {"own", "csv", "cvat", "mot", "cocovid"}
    assert set(MAKERS) == set(LAYOUTS) - own == set(EXPECTED)


@pytest.mark.parametrize(
    ("name", "split", "count"),
    [
        ("got10k", "train", 2),
        ("got10k", "val", 1),
        ("got10k", "test", 1),
        ("lasot", "train", 1),
        ("lasot", "test", 2),
        ("trackingnet", "train", 2),
        ("trackingnet", "train_3", 1),
        ("trackingnet", "test", 1),
        ("tnl2k", "train", 1),
        ("uav123", "uav20l", 1),
        ("nfs", "240", 1),
        ("vid", "val", 2),
        ("coco", "train", 2),
        ("davis", "train", 2),
        ("davis", "val", 1),
        ("youtube", "train", 2),
    ],
)
def test_splits(name: str, split: str, count: int, tmp_path: Path) -> None:
    MAKERS[name](tmp_path)
    assert len(read_dataset(tmp_path, split=split)) == count


def test_lasot_test_set_is_four_of_each_of_seventy_classes() -> None:
    from mixformerv2.data.datasets.lasot import test_set

    names = test_set()
    assert len(names) == 280
    counts = Counter(name.rpartition("-")[0] for name in names)
    assert (len(counts), set(counts.values())) == (70, {4})


def test_lasot_goes_by_its_own_list_where_there_is_one(tmp_path: Path) -> None:
    make_lasot(tmp_path)
    put(tmp_path / "testing_set.txt", "airplane-2\n")
    assert read_dataset(tmp_path, split="test").names == ["airplane-2"]


def test_a_split_of_got10k_alone_is_read_by_its_folder(tmp_path: Path) -> None:
    make_got10k(tmp_path)
    for split in ("train", "test"):
        assert read_dataset(tmp_path / split)[0].source == f"got10k/{split}"


def test_later_objects_of_a_mask_folder(tmp_path: Path) -> None:
    MAKERS["youtube"](tmp_path)
    late = read_dataset(tmp_path)[1]
    np.testing.assert_array_equal(late.boxes[1], (3, 4, 5, 6))
    assert late.absent.tolist() == [True, False, False]
    (tmp_path / "train/meta.json").unlink()
    assert [one.category for one in read_dataset(tmp_path)] == [None, None]
    MAKERS["davis"](tmp_path / "davis")
    two = read_dataset(tmp_path / "davis")[2]
    np.testing.assert_array_equal(two.boxes, [(40, 30, 5, 6)] * 4)


def test_objects_of_vid_are_as_long_as_their_video(tmp_path: Path) -> None:
    MAKERS["vid"](tmp_path)
    second = read_dataset(tmp_path)[1]
    assert second.absent.tolist() == [True, True, False, False]
    np.testing.assert_array_equal(second.boxes[3], (1, 2, 3, 4))


def test_names_choose_by_name_or_by_number(tmp_path: Path) -> None:
    MAKERS["got10k"](tmp_path / "set")
    listed = put(tmp_path / "vottrain.txt", "1\n")
    assert read_dataset(tmp_path / "set", split="train", names=listed).names == [
        "GOT-10k_Train_000002"
    ]
    chosen = read_dataset(tmp_path / "set", names=["GOT-10k_Val_000001"])
    assert chosen.names == ["GOT-10k_Val_000001"]
    with pytest.raises(DataError, match="no sequence 'GOT-x'; it has GOT-10k_Test_000001"):
        read_dataset(tmp_path / "set", names=["GOT-x"])
    with pytest.raises(DataError, match=r"none\.txt cannot be read"):
        read_dataset(tmp_path / "set", names=tmp_path / "none.txt")


def test_sequences_travel_to_other_processes(tmp_path: Path) -> None:
    MAKERS["lasot"](tmp_path)
    sequence = read_dataset(tmp_path)[0]
    again = pickle.loads(pickle.dumps(sequence))
    np.testing.assert_array_equal(again.frames[2], sequence.frames[2])
    np.testing.assert_array_equal(again.boxes, sequence.boxes)
    assert [frame.shape for frame in again.frames[1:3]] == [(48, 64, 3)] * 2


GOT = "train/GOT-10k_Train_000001"
VID = "Annotations/VID/train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000000"


@pytest.mark.parametrize(
    ("name", "path", "text", "sentence"),
    [
        ("got10k", f"{GOT}/groundtruth.txt", "1,2,3,4\n1,2,3\n", "line 2: '1,2,3'"),
        ("got10k", f"{GOT}/groundtruth.txt", "1,2,3,4\n", "has 1 rows"),
        ("got10k", f"{GOT}/cover.label", "8\n9\n8\n8\n8\n", "cover.label, line 2: '9'"),
        ("got10k", f"{GOT}/absence.label", "0\n", "1 flags, cover.label 5"),
        ("lasot", "airplane/airplane-1/out_of_view.txt", "0,1", "out_of_view.txt has 2 flags"),
        ("lasot", "airplane/airplane-1/full_occlusion.txt", "0,x,0,0", "line 1: 'x' is no whole"),
        ("trackingnet", "TEST/anno/d_2.txt", "", "is empty"),
        ("otb", "Car4/groundtruth_rect.txt", "1 2 3 4\n1 2 3 a\n", "line 2"),
        ("vot", "rect/groundtruth.txt", "1,2,3,4\n1,2,3,4,5\n", "line 2: .* a polygon or a mask"),
        ("vid", f"{VID}/000001.xml",
         "<annotation>\n<object>", "000001.xml, line 2: column"),
        ("coco", "annotations/instances_train2017.json", "{\n\n,", "json, line 3"),
        ("coco", "annotations/instances_train2017.json", "{}", "is no COCO file"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_file_and_line(
    name: str, path: str, text: str, sentence: str, tmp_path: Path
) -> None:
    MAKERS[name](tmp_path)
    (tmp_path / path).write_text(text)
    with pytest.raises(DataError, match=sentence):
        read_dataset(tmp_path, layout=name)[0]


def test_all_that_is_wrong_can_be_collected(tmp_path: Path) -> None:
    MAKERS["got10k"](tmp_path)
    place = tmp_path / "train/GOT-10k_Train_000001"
    put(place / "groundtruth.txt", "1,2,3,4\na\n1,2,-3,4\nb\ninf,1,1,1\n")
    findings = Findings(strict=False)
    sequence = read_dataset(tmp_path).entries[0].load(findings)
    assert [re.findall(r"line \d", sentence)[0] for sentence in findings.wrong] == [
        "line 2",
        "line 4",
    ]
    assert "line 3: width -3" in findings.odd[0]
    assert np.flatnonzero(sequence.labelled).tolist() == [0]


def test_what_no_layout_fits_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"in no known way \(it holds nothing\)"):
        read_dataset(tmp_path)
    with pytest.raises(DataError, match="is not there"):
        read_dataset(tmp_path / "none")
    with pytest.raises(DataError, match="there is no layout 'lasso'"):
        read_dataset(tmp_path, layout="lasso")
    with pytest.raises(DataError, match="vot has no split 'train'; it has no splits"):
        read_dataset(tmp_path, layout="vot", split="train")
    with pytest.raises(DataError, match="choose from train, val, test"):
        read_dataset(tmp_path, layout="got10k", split="dev")
    MAKERS["uav123"](tmp_path)
    (tmp_path / "anno/UAV20L/bike1.txt").unlink()
    with pytest.raises(DataError, match="no sequence of split uav20l"):
        read_dataset(tmp_path, split="uav20l")


def test_truth_starts_from_pixel_0_everywhere(tmp_path: Path) -> None:
    """Where files count from 1, one is taken off once: boxes of all layouts are the same."""
    for name in ("got10k", "lasot", "otb", "uav123", "vot", "davis"):
        MAKERS[name](tmp_path / name)
        np.testing.assert_array_equal(read_dataset(tmp_path / name)[0].boxes[0], box_of(0))
    assert boxes_of(2)[1] == box_of(1)
