"""Files that are damaged, wrong or too many: left out or refused, in a sentence."""

from __future__ import annotations

import logging
import os
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from mixformerv2.data.bank import Bank
from mixformerv2.data.datasets import read_dataset
from mixformerv2.data.pack import frame_files, pack_files
from mixformerv2.data.store import VideoStore, decode_picture, open_store
from mixformerv2.data.synthetic import SampleGenerator, SyntheticConfig
from mixformerv2.errors import DataError

DEMO = Path(__file__).parents[3] / "src" / "mixformerv2" / "assets" / "demo.mp4"


@pytest.fixture
def bank_copy(bank_folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(bank_folder, tmp_path / "bank")
    return tmp_path / "bank"


def test_a_damaged_picture_is_left_out_and_said_once(
    bank_copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a run of hours, the one picture that cannot be read must not be the end."""
    (bank_copy / "plain" / "four.jpg").write_bytes(b"\xff\xd8\xff and no more")
    generator = SampleGenerator(bank_copy, SyntheticConfig(clips=0), seed=1)
    with caplog.at_level(logging.WARNING):
        first = [generator.sample(number) for number in range(40)]
    said = [one for one in caplog.messages if "four.jpg" in one]
    assert said == [f"left out: picture {bank_copy / 'plain' / 'four.jpg'} cannot be decoded; "
                    "remove it"]  # fmt: skip
    again = SampleGenerator(bank_copy, SyntheticConfig(clips=0), seed=1)
    for number in (0, 17, 39):  # still a function of the seed and the number
        np.testing.assert_array_equal(again.sample(number).search, first[number].search)


def test_a_bank_of_which_nothing_can_be_read_is_refused(bank_copy: Path) -> None:
    for path in bank_copy.rglob("*.jpg"):
        path.write_bytes(b"nothing")
    generator = SampleGenerator(bank_copy, SyntheticConfig(clips=0), seed=1)
    with pytest.raises(DataError, match="cannot be decoded; remove it"):
        generator.sample(0)


def test_a_mask_of_another_size_teaches_nothing(bank_copy: Path) -> None:
    path = bank_copy / "masks" / "one_mask.png"
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    cv2.imwrite(str(path), mask[::2, ::2])
    bank = Bank(bank_copy)
    number = next(n for n, p in enumerate(bank.paths) if p.name == "one.jpg")
    with pytest.raises(DataError, match="160 x 120 pixels, its mask of 80 x 60; remove"):
        bank.picture(number)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("three,nan,3,20,20,thing", "line 2: x, y, w, h .*nan.* is no box"),
        ("three,inf,3,20,20,thing", "is no box"),
        ("three,1e9,3,20,20,thing", "is no box"),
        ("three,20,30,-5,-40,thing", "is no box"),
        ("three,20,30,0,40,thing", "is no box"),
        ("three,20,30", "line 2: .* has no id or no numbers"),
    ],
)
def test_boxes_that_are_none_are_refused(bank_copy: Path, row: str, sentence: str) -> None:
    (bank_copy / "boxes" / "boxes.csv").write_text(f"id,x,y,w,h,label\n{row}\n")
    with pytest.raises(DataError, match=rf"boxes\.csv, {sentence}|boxes\.csv.*{sentence}"):
        Bank(bank_copy)


def test_boxes_without_a_name_are_refused(bank_copy: Path) -> None:
    (bank_copy / "boxes" / "boxes.csv").write_text("x,y,w,h\n1,2,30,40\n")
    with pytest.raises(DataError, match="has no id or no numbers"):
        Bank(bank_copy)


def test_crops_may_be_large(bank_folder: Path) -> None:
    """Noise is cut from a table, which was too small for crops of 320 pixels."""
    config = SyntheticConfig(search_size=320, template_size=160, clips=0)
    generator = SampleGenerator(bank_folder, config, seed=0)
    assert all(generator.sample(number).search.shape == (320, 320, 3) for number in range(12))


def damaged(kind: str, path: Path) -> None:
    """A zip with one entry `a.txt` that cannot be unpacked."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", os.urandom(500) * 8)
    data = bytearray(path.read_bytes())
    central = data.rindex(b"PK\x01\x02")
    if kind == "deflate":
        data[60:90] = bytes(30)
    elif kind == "encrypted":
        data[6] |= 1
        data[central + 8] |= 1
    else:  # Deflate64
        data[8] = data[central + 10] = 9
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["deflate", "encrypted", "deflate64"])
def test_entries_that_cannot_be_unpacked_are_a_sentence(tmp_path: Path, kind: str) -> None:
    damaged(kind, tmp_path / "it.zip")
    with pytest.raises(DataError, match=r"it\.zip.*a\.txt cannot be read"):
        open_store(tmp_path / "it.zip").read("a.txt")


def test_a_header_that_promises_too_many_pixels_is_no_picture() -> None:
    data = bytearray(cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes())
    data[16:24] = (60000).to_bytes(4, "big") * 2
    assert decode_picture(bytes(data), cv2.IMREAD_COLOR) is None


def test_few_clips_are_open_at_once(tmp_path: Path) -> None:
    """Each open one is a thread and a decoder; a set may have thousands."""
    stores = []
    for number in range(20):
        (tmp_path / f"{number}.mp4").symlink_to(DEMO)
        stores.append(VideoStore(tmp_path / f"{number}.mp4"))
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    pictures = [store.frame("1") for store in stores]
    assert sum(store._source is not None for store in stores) == 8
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) <= before + 12
    np.testing.assert_array_equal(stores[0].frame("1"), pictures[0])  # opened anew
    np.testing.assert_array_equal(stores[0].frame("2"), stores[19].frame("2"))
    for store in stores:
        store.close()
    assert not any(store._source for store in stores)


def sequence(folder: Path, sizes: list[tuple[int, int]], rows: list[str]) -> None:
    (folder / "img").mkdir(parents=True)
    for number, (width, height) in enumerate(sizes):
        cv2.imwrite(
            str(folder / "img" / f"{number + 1:06d}.jpg"), np.zeros((height, width, 3), np.uint8)
        )
    (folder / "groundtruth.txt").write_text("\n".join(rows) + "\n")


def test_each_frame_is_packed_by_its_own_scale(tmp_path: Path) -> None:
    boxes = ["400,300,200,100", "400,300,200,100", "200,150,100,50"]
    sequence(tmp_path / "set" / "a", [(800, 600), (800, 600), (400, 300)], boxes)
    pack_files(frame_files(read_dataset(tmp_path / "set"), short_side=150), tmp_path / "it.zip")
    (found,) = list(read_dataset(tmp_path / "it.zip"))
    np.testing.assert_allclose(found.boxes, [[100, 75, 50, 25]] * 3, atol=0.01)


def test_a_box_without_width_is_no_absence(tmp_path: Path) -> None:
    """A slip, or a target too small for whole numbers: nobody said that it is gone."""
    rows = ["10,10,20,20", "10,10,0,30", "0,0,0,0", "12,10,20,20"]
    sequence(tmp_path / "set" / "a", [(90, 60)] * 4, rows)
    data = read_dataset(tmp_path / "set")
    (found,) = list(data)
    assert found.absent.tolist() == [False, False, True, False]
    assert np.isnan(found.boxes).any(axis=1).tolist() == [False, True, True, False]


def test_sequences_of_one_name_stay_two(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sequence(tmp_path / "set" / "a", [(90, 60)] * 2, ["1,1,20,20"] * 2)
    sequence(tmp_path / "other" / "a", [(90, 60)] * 3, ["2,2,20,20"] * 3)
    both = [*read_dataset(tmp_path / "set"), *read_dataset(tmp_path / "other")]
    with caplog.at_level(logging.WARNING):
        names = [name for name, _ in frame_files(both)]  # type: ignore[arg-type]
    assert [name for name in names if name.endswith(".txt")] == [
        "a/groundtruth.txt", "a-2/groundtruth.txt",
    ]  # fmt: skip
    assert "packed as a-2" in caplog.text
