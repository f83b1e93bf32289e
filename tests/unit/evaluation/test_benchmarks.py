"""Folders of sequences: what is read, and what is refused with a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixformerv2.errors import DataError
from mixformerv2.evaluation.benchmarks import read_sequences, read_truth, write_truth
from tests.clips import number_of, write_clip


def test_sequences_are_found_in_order_and_read_frame_by_frame(root: Path) -> None:
    sequences = read_sequences(root)
    assert [one.name for one in sequences] == ["fam_a", "fam_b", "other_c"]
    assert [one.family for one in sequences] == ["fam", "fam", "other"]
    first = sequences[0]
    assert len(first) == 5
    assert first.box.xywh == (10.0, 12.0, 8.0, 8.0)
    frames = list(first.frames())
    assert len(frames) == 5
    for frame, (x, y, _, _) in zip(frames, first.truth.astype(int), strict=True):
        assert frame[y, x].tolist() == [255, 255, 255]
        assert frame[y, x - 1].tolist() == [90, 90, 90]
    np.testing.assert_array_equal(first.frame(3), frames[3])
    assert len(list(first.first(2).frames())) == 2


def test_pictures_come_in_natural_order(root: Path) -> None:
    pictures = root / "fam_a" / "img"
    for number in range(1, 6):
        (pictures / f"{number:06d}.png").rename(pictures / f"frame{number + 7}.png")
    sequence = read_sequences(root, ["fam_a"])[0]
    xs = [int(np.argmax(frame[15, :, 0] == 255)) for frame in sequence.frames()]
    assert xs == [10, 12, 14, 16, 18]


def test_unlabelled_rows_are_kept_and_the_first_label_starts(root: Path) -> None:
    file = root / "fam_a" / "groundtruth.txt"
    file.write_text("nan,nan,nan,nan\n12,12,8,8\nnan nan nan nan\n16\t12\t8\t8\n18,12,8,8\n")
    sequence = read_sequences(root, ["fam_a"])[0]
    assert sequence.start == 1
    assert len(sequence) == 4
    assert np.isnan(sequence.truth[1]).all()
    assert next(iter(sequence.frames()))[15, 12].tolist() == [255, 255, 255]
    np.testing.assert_array_equal(sequence.frame(0), next(iter(sequence.frames())))


@given(st.lists(st.tuples(*[st.floats(-1e4, 1e4)] * 4), min_size=1, max_size=5))
def test_truth_is_written_and_read_without_rounding(rows: list[tuple[float, ...]]) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        write_truth(Path(folder) / "t.txt", np.asarray(rows))
        np.testing.assert_array_equal(read_truth(Path(folder) / "t.txt"), np.asarray(rows))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("1,2,3,4\n1,2,3\n", "line 2: '1,2,3' is not four numbers"),
        ("1,2,3,four\n", "line 1"),
    ],
)
def test_bad_truth_is_named(tmp_path: Path, content: str, sentence: str) -> None:
    file = tmp_path / "groundtruth.txt"
    file.write_text(content)
    with pytest.raises(DataError, match=sentence):
        read_truth(file)


def test_bad_folders_are_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        read_sequences(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no sequence"):
        read_sequences(tmp_path / "empty")
    with pytest.raises(DataError, match="'fam_x'; it has fam_a, fam_b, other_c"):
        read_sequences(root, ["fam_x"])
    (root / "fam_b" / "img" / "000002.png").unlink()
    with pytest.raises(DataError, match=r"groundtruth\.txt has 5 rows but .*img has 4 pictures"):
        read_sequences(root, ["fam_b"])
    (root / "fam_a" / "img" / "000002.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"000002\.png cannot be read"):
        list(read_sequences(root, ["fam_a"])[0].frames())
    (root / "other_c" / "groundtruth.txt").write_text("nan,nan,nan,nan\n" * 5)
    with pytest.raises(DataError, match="no labelled frame"):
        read_sequences(root, ["other_c"])


def test_two_sequences_of_one_name_are_refused(root: Path) -> None:
    """They would share their files of results."""
    write_clip(root / "fam_a.avi", count=5)
    write_truth(root / "fam_a.txt", np.full((5, 4), 5.0))
    with pytest.raises(DataError, match="holds 2 sequences called fam_a; rename one of them"):
        read_sequences(root)
    names = ["fam_b", "other_c", "fam_b", "2"]  # 2 is fam_b by its number
    assert [one.name for one in read_sequences(root, names)] == ["fam_b", "other_c"]


def test_a_clip_is_a_sequence_too(tmp_path: Path) -> None:
    write_clip(tmp_path / "fam_clip.mp4", count=12)
    truth = np.full((12, 4), np.nan)
    truth[3], truth[9] = (6, 0, 2, 9), (18, 0, 2, 9)
    write_truth(tmp_path / "fam_clip.txt", truth)
    (sequence,) = read_sequences(tmp_path)
    assert (sequence.name, sequence.start, len(sequence)) == ("fam_clip", 3, 9)
    assert [number_of(frame) for frame in sequence.frames()] == list(range(3, 12))
    assert number_of(sequence.frame(6)) == 9

    write_truth(tmp_path / "fam_clip.txt", np.full((14, 4), 5.0))
    with pytest.raises(DataError, match="ends after 12 frames, but its truth has 14 rows"):
        list(read_sequences(tmp_path)[0].frames())
