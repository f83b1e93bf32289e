"""A packed bank: small enough, whole or not at all, and the same bank to whoever reads it."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest

from mixformerv2.cli.data import app
from mixformerv2.data.bank import Bank
from mixformerv2.data.bank_pack import pack_bank
from mixformerv2.data.synthetic import SampleGenerator
from mixformerv2.data.warp import bounds
from mixformerv2.errors import DataError, OutputError


@pytest.fixture
def clips(tmp_path):
    """One tracklet of four frames."""
    folder = tmp_path / "clips"
    (folder / "walk").mkdir(parents=True)
    for index in range(0, 8, 2):
        image = np.full((128, 160, 3), 20 * index, np.uint8)
        cv2.imwrite(str(folder / "walk" / f"{index:05d}.jpg"), image)
    entry = {
        "clip": "walk", "frames": [0, 2, 4, 6], "boxes": [[8 * i, 16, 32, 40] for i in range(4)],
        "motion": 0.5,
    }  # fmt: skip
    (folder / "tracklets.json").write_text(json.dumps({"format": 1, "tracklets": [entry]}))
    return folder


def test_a_packed_bank_is_the_same_bank_at_half_the_size(bank, bank_folder, clips, tmp_path):
    out = tmp_path / "bank.zip"
    packed = pack_bank(bank_folder, out, clips=clips, short_side=60)
    assert packed.short_side == 60
    assert packed.megabytes == pytest.approx(out.stat().st_size / 1e6)
    small = Bank(out)
    assert len(small.paths) == len(bank.paths) + 4
    assert len(small.segments) == len(bank.segments)
    for a, b in zip(small.segments, bank.segments, strict=True):
        assert (a.label, a.source) == (b.label, b.source)
        half = np.array(b.box) * 60 / min(bank.picture(b.picture).shape[:2])
        np.testing.assert_allclose(a.box, half, atol=1.01)
    np.testing.assert_allclose(
        bounds(small.boxed[0].outline), bounds(bank.boxed[0].outline) * 0.6, atol=0.02
    )
    assert small.video_names == ["kept"]  # held-out videos are not packed
    first, second = (bounds(small.tracklets[0][i].outline) for i in (0, 1))
    np.testing.assert_allclose(first, np.array([0, 16, 32, 56]) * 60 / 128, atol=0.02)
    np.testing.assert_allclose(second - first, np.array([8, 0, 8, 0]) * 60 / 128, atol=0.02)
    assert small.picture(small.tracklets[0][0].picture).shape == (60, 75, 3)
    assert {SampleGenerator(small, seed=1).sample(i).source.split(":")[0] for i in range(40)} == {
        "composite", "still", "video", "clip",
    }  # fmt: skip


def test_packing_a_packed_bank_keeps_its_tracklets(bank_folder, clips, tmp_path):
    pack_bank(bank_folder, tmp_path / "a.zip", clips=clips, short_side=100)
    pack_bank(tmp_path / "a.zip", tmp_path / "b.zip", short_side=50)
    a, b = (Bank(tmp_path / name) for name in ("a.zip", "b.zip"))
    assert len(a.paths) == len(b.paths)
    np.testing.assert_allclose(
        bounds(b.tracklets[0][2].outline), bounds(a.tracklets[0][2].outline) / 2, atol=0.02
    )


def test_tracklets_beside_those_of_a_packed_bank_are_left_out(bank_folder, clips, tmp_path):
    pack_bank(bank_folder, tmp_path / "a.zip", clips=clips)
    (clips / "walk").rename(clips / "run")
    text = (clips / "tracklets.json").read_text()
    (clips / "tracklets.json").write_text(text.replace("walk", "run"))
    pack_bank(tmp_path / "a.zip", tmp_path / "b.zip", clips=clips)
    again = Bank(tmp_path / "b.zip")
    assert [again.paths[frame.picture].parent.name for frame in again.tracklets[0]] == ["walk"] * 4


def test_an_lmdb_is_as_small_as_asked(bank_folder, tmp_path):
    """It keeps each picture in pages of its own."""
    shutil.copytree(bank_folder, tmp_path / "bank")
    for number in range(80):
        shutil.copy(bank_folder / "plain/four.jpg", tmp_path / f"bank/plain/{number}.jpg")
    limit = 1.2 * pack_bank(tmp_path / "bank", tmp_path / "a.zip").megabytes
    with pytest.raises(DataError, match="does not fit"):  # it has 100 pages and more
        pack_bank(tmp_path / "bank", tmp_path / "a.lmdb", megabytes=limit)
    packed = pack_bank(tmp_path / "bank", tmp_path / "a.lmdb", megabytes=2 * limit)
    assert limit < packed.megabytes <= 2 * limit


@pytest.mark.parametrize("name", ["a.tar", "none/a.zip"])
def test_where_nothing_can_be_written_is_said_first(tmp_path, name):
    with pytest.raises(OutputError, match=r"must end in|its folder is not there"):
        pack_bank(tmp_path / "no bank", tmp_path / name)


def test_webp_is_smaller_and_reads_alike(bank_folder, tmp_path):
    jpeg = pack_bank(bank_folder, tmp_path / "a.zip", short_side=100, quality=70)
    webp = pack_bank(bank_folder, tmp_path / "b.zip", short_side=100, quality=70, codec="webp")
    assert webp.megabytes < jpeg.megabytes
    a, b = (Bank(tmp_path / name) for name in ("a.zip", "b.zip"))
    assert len(a.paths) == len(b.paths)
    apart = cv2.absdiff(a.picture(0), b.picture(0))
    assert 0 < apart.mean() < 6


def test_the_short_side_is_the_largest_that_fits(bank_folder, tmp_path):
    whole = pack_bank(bank_folder, tmp_path / "whole.zip")
    limit = 0.8 * whole.megabytes
    less = pack_bank(bank_folder, tmp_path / "less.zip", megabytes=limit)
    assert less.megabytes <= limit
    assert less.short_side < whole.short_side
    with pytest.raises(DataError, match="more than"):
        pack_bank(
            bank_folder, tmp_path / "more.zip", megabytes=limit, short_side=less.short_side + 16
        )


def test_what_cannot_be_packed_gets_a_sentence(bank_folder, tmp_path):
    with pytest.raises(DataError, match=r"does not fit into 0\.001 MB even at a short side of 64"):
        pack_bank(bank_folder, tmp_path / "a.zip", megabytes=0.001)
    with pytest.raises(DataError, match=r"at a short side of 100 pixels .* more than 0\.001"):
        pack_bank(bank_folder, tmp_path / "a.zip", megabytes=0.001, short_side=100)
    with pytest.raises(OutputError, match=r"must end in .zip or .lmdb"):
        pack_bank(bank_folder, tmp_path / "a.tar")
    (tmp_path / "b.zip").write_bytes(b"mine")
    with pytest.raises(OutputError, match="is there already"):
        pack_bank(bank_folder, tmp_path / "b.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip"]


def test_the_command_says_what_it_made(bank_folder, tmp_path):
    from typer.testing import CliRunner

    out = tmp_path / "bank.zip"
    done = CliRunner().invoke(
        app,
        [
            "pack-bank",
            str(bank_folder),
            str(out),
            "--short-side",
            "80",
            "--quality",
            "70",
            "--webp",
        ],
    )
    assert done.exit_code == 0, done.output
    assert f"{out}: 17 files, short side 80 px" in done.output


def test_pictures_that_have_room_keep_their_size(bank_folder, tmp_path):
    assert pack_bank(bank_folder, tmp_path / "a.zip").short_side == 120  # of the largest


def test_a_comma_at_the_end_of_a_row_is_no_hindrance(bank_folder, tmp_path):
    shutil.copytree(bank_folder, tmp_path / "bank")
    table = tmp_path / "bank" / "boxes" / "boxes.csv"
    table.write_text("id,x,y,w,h,label\nthree,20.5,30,50,40,thing,\n")
    pack_bank(tmp_path / "bank", tmp_path / "a.zip", short_side=50)
    np.testing.assert_allclose(
        bounds(Bank(tmp_path / "a.zip").boxed[0].outline), [10.25, 15, 35.25, 35], atol=0.02
    )
