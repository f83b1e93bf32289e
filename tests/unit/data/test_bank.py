"""What a bank finds in a folder, and what it says of folders it cannot use."""

from __future__ import annotations

import logging
import shutil

import cv2
import numpy as np
import pytest

from mixformerv2.data.bank import Bank
from mixformerv2.data.warp import bounds
from mixformerv2.errors import DataError


def test_a_bank_sorts_its_pictures(bank):
    assert [len(bank.segments_of[name]) for name in ("masks", "davis16_train")] == [4, 5]
    assert [b.source for b in bank.boxed] == ["boxes"]
    assert [bank.paths[i].name for i in bank.unlabelled] == ["four.jpg"]
    assert bank.video_names == ["kept"]


def test_held_out_videos_are_not_even_pictures(bank):
    assert not any(path.stem.startswith("train_") for path in bank.paths)


def test_hold_out_is_a_choice(bank_folder):
    assert Bank(bank_folder, hold_out=()).video_names == ["kept", "train"]


def test_validation_sees_the_held_out_videos_alone(bank_folder, tmp_path):
    copy = tmp_path / "bank"
    shutil.copytree(bank_folder, copy)
    for path in (copy / "davis16_train").glob("train_00004*"):
        path.unlink()
    found = Bank.for_validation(copy)
    assert {name: len(frames) for name, frames in found.videos.items()} == {"train": 4}


def test_frames_are_boxed_by_their_masks(bank):
    boxes = [bounds(frame.outline) for frame in bank.videos["kept"]]
    np.testing.assert_allclose(boxes[0], [30, 40, 71, 81], atol=0.01)
    np.testing.assert_allclose(boxes[1] - boxes[0], [20, 0, 20, 0], atol=0.01)


def test_a_cutout_is_opaque_where_its_mask_is(bank):
    for number in bank.stills:
        cutout = bank.cutout(number)
        y, x = np.nonzero(cutout.bgra[..., 3] > 127)
        np.testing.assert_allclose(
            bounds(cutout.outline), [x.min(), y.min(), x.max() + 1, y.max() + 1], atol=1.01
        )
        assert bank.cutout(number) is cutout


def test_segment_outlines_lie_in_their_picture(bank):
    for number in bank.stills:
        x, y, w, h = bank.segments[number].box
        np.testing.assert_allclose(
            bounds(bank.segment_outline(number)), [x, y, x + w, y + h], atol=0.01
        )


@pytest.mark.parametrize(
    ("layout", "sentence"),
    [
        ("missing", "does not exist"),
        ("empty", r"holds no SOURCE/NAME\.jpg"),
        ("no mask", "holds no NAME_mask.png"),
        ("bad mask", "cannot be read as a one-channel picture"),
        ("bad csv", "line 2: .* has no id or no numbers x, y, w, h"),
        ("bad picture", "cannot be decoded"),
    ],
)
def test_a_folder_that_is_no_bank_gets_a_sentence(tmp_path, layout, sentence):
    folder = tmp_path / "bank"
    source = folder / "a"
    if layout != "missing":
        source.mkdir(parents=True)
    if layout not in ("missing", "empty"):
        cv2.imwrite(str(source / "p.jpg"), np.zeros((64, 64, 3), np.uint8))
    if layout == "bad mask":
        (source / "p_mask.png").write_bytes(b"nothing")
    if layout in ("bad csv", "bad picture"):
        mask = np.zeros((64, 64), np.uint8)
        mask[10:40, 10:40] = 1
        cv2.imwrite(str(source / "p_mask.png"), mask)
    if layout == "bad csv":
        (source / "boxes.csv").write_text("id,x,y,w,h\np,1,2,wide,4\n")
    if layout == "bad picture":
        (source / "p.jpg").write_bytes(b"nothing")
    with pytest.raises(DataError, match=sentence):
        Bank(folder).load()


def test_ids_that_name_no_picture_are_told_of(bank_folder, tmp_path, caplog):
    shutil.copytree(bank_folder, tmp_path / "bank")
    table = tmp_path / "bank" / "boxes" / "boxes.csv"
    table.write_text("id,x,y,w,h,label\nthree.jpg,20.5,30,50,40,thing\n")
    assert not Bank(tmp_path / "bank").boxed
    assert "1 of its ids name no picture beside it, such as three.jpg" in caplog.text


def test_pictures_of_other_names_are_told_of(bank_folder, tmp_path, caplog):
    """Cameras write IMG.JPG; it would be missed without a word."""
    folder = tmp_path / "bank"
    shutil.copytree(bank_folder, folder)
    (folder / "plain/four.jpg").rename(folder / "plain/four.JPG")
    with caplog.at_level(logging.WARNING):
        Bank(folder)
    said = "1 pictures are not called NAME.jpg, such as four.JPG, and are left out"
    assert caplog.messages == [f"{folder / 'plain'}: {said}"]
