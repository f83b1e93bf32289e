"""Labelling of clips: kept only where the teacher agrees with itself, and readable again."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mixformerv2.data import pseudo, sheet
from mixformerv2.data.bank import Bank
from mixformerv2.data.synthetic import SampleGenerator, SyntheticConfig
from mixformerv2.data.warp import bounds
from mixformerv2.errors import DataError, OutputError


def moving_square(count: int = 60) -> list[np.ndarray]:
    """A bright square over noise, two pixels further right on each frame."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(0, 90, (32, 40, 3), dtype=np.uint8), (320, 256))
    coat = rng.integers(205, 255, (40, 40, 3), dtype=np.uint8)
    frames = []
    for index in range(count):
        frame = ground.copy()
        frame[100:140, 20 + 2 * index : 60 + 2 * index] = coat
        frames.append(frame)
    return frames


class SquareTeacher:
    """Finds the bright square exactly; gives up where there is none."""

    def init(self, image, box):
        self.started = tuple(box)

    def update(self, image):
        y, x = np.nonzero(cv2.medianBlur(image, 5).min(axis=2) > 150)
        if len(x) == 0:
            return False, (0, 0, 0, 0)
        return True, (x.min(), y.min(), x.max() + 1 - x.min(), y.max() + 1 - y.min())


class DriftingTeacher(SquareTeacher):
    """Always moves on to the right, forwards and backwards."""

    def init(self, image, box):
        self.box = list(box)

    def update(self, image):
        self.box[0] += 3
        return True, tuple(self.box)


def test_a_teacher_that_agrees_with_itself_is_kept():
    rng = np.random.default_rng(0)
    found = pseudo.label_clip("clip", moving_square(), SquareTeacher(), rng, starts=1, many=2)
    assert found
    for tracklet in found:
        assert len(tracklet.frames) == len(tracklet.boxes) >= pseudo.SHORTEST // pseudo.STRIDE
        assert np.unique(np.diff(tracklet.frames)).tolist() == [pseudo.STRIDE]
        for index, (x, y, w, h) in zip(tracklet.frames[1:-1], tracklet.boxes[1:-1], strict=True):
            assert (x, y, w, h) == (20 + 2 * index, 100, 40, 40)
        assert tracklet.motion > 0.5


def test_a_teacher_that_drifts_is_not():
    rng = np.random.default_rng(0)
    assert not pseudo.label_clip("clip", moving_square(), DriftingTeacher(), rng, 1, 4)


def test_proposals_find_what_moves():
    frames = moving_square()
    boxes = pseudo.propose(np.random.default_rng(0), frames[10], frames[13], 6)
    square = (40.0, 100.0, 40.0, 40.0)
    assert max(pseudo.iou(box, square) for box in boxes) > 0.3  # near enough to settle on it
    assert all(
        pseudo.iou(a, b) < 0.35 for i, a in enumerate(boxes) for b in boxes[i + 1 :]
    )  # spread out


@pytest.mark.parametrize(
    ("agree", "longest"),
    [
        ([], (0, 0)),
        ([False], (0, 0)),
        ([True, True], (0, 2)),
        ([True, False, True, True, False], (2, 4)),
    ],
)
def test_longest_run(agree, longest):
    assert pseudo._longest(agree) == longest


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    for name in ("square", "pysot_bag"):
        writer = cv2.VideoWriter(
            str(videos / f"{name}.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (320, 256)
        )
        for frame in moving_square():
            writer.write(frame)
        writer.release()
    found = pseudo.label_folder(videos, out, SquareTeacher(), starts=4, many=2)
    assert {tracklet.clip for tracklet in found} == {"square"}  # the other is for validation
    return out


def test_what_is_written_feeds_the_generator(clips, bank_folder):
    bank = Bank(bank_folder)
    only = SyntheticConfig(composites=0, stills=0, pairs=0, clips=1, absent=0.3)
    generator = SampleGenerator(bank, only, seed=0, clips=clips)
    assert bank.tracklet_weights.sum() == pytest.approx(1.0)
    frame = bank.tracklets[0][3]
    index = int(bank.paths[frame.picture].stem)
    np.testing.assert_allclose(
        bounds(frame.outline), [20 + 2 * index, 100, 60 + 2 * index, 140], atol=1.5
    )
    samples = [generator.sample(i) for i in range(12)]
    assert {sample.source for sample in samples} == {"clip:square"}


def test_clips_count_only_where_there_are_clips(bank_folder):
    only = SyntheticConfig(composites=0, stills=0, pairs=0, clips=1)
    with pytest.raises(DataError, match="no folder of clips was given"):
        SampleGenerator(Bank(bank_folder), only)


@pytest.mark.parametrize("content", [None, "{", '{"tracklets": [{"clip": "a"}]}'])
def test_damaged_tracklets_get_a_sentence(tmp_path, bank_folder, content):
    if content is not None:
        (tmp_path / "tracklets.json").write_text(content)
    with pytest.raises(DataError, match="missing or damaged"):
        Bank(bank_folder).add_clips(tmp_path)


def test_missing_things_get_a_sentence(tmp_path):
    with pytest.raises(DataError, match=r"teacher file .* does not exist"):
        pseudo.make_teacher("peer", tmp_path)
    with pytest.raises(DataError, match="say which folder holds them"):
        pseudo.make_teacher("peer")
    with pytest.raises(DataError, match="holds no clip to learn from"):
        pseudo.label_folder(tmp_path, tmp_path / "out", SquareTeacher())
    (tmp_path / "a.avi").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"a\.avi cannot be read \(.*\); remove it"):
        pseudo.read_clip(tmp_path / "a.avi")


def test_the_real_teacher_follows_a_square(shared):
    teacher = pseudo.make_teacher("peer", shared / "data" / "peers" / "nanotrack_v2")
    frames = moving_square(12)
    boxes = pseudo.follow(teacher, frames, (20.0, 100.0, 40.0, 40.0))
    assert len(boxes) == 12
    assert pseudo.iou(boxes[-1], (42.0, 100.0, 40.0, 40.0)) > 0.6


def test_a_damaged_clip_does_not_cost_the_others(clips, tmp_path, caplog):
    """Nor do letters of another size in the end of a name, as cameras write them."""
    videos = tmp_path / "more"
    videos.mkdir()
    (videos / "broken.mp4").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"broken\.mp4 cannot be read"):
        pseudo.label_folder(videos, tmp_path / "none", SquareTeacher())
    (videos / "square.AVI").write_bytes((clips.parent / "videos" / "square.avi").read_bytes())
    found = pseudo.label_folder(videos, tmp_path / "new", SquareTeacher(), starts=4, many=2)
    assert {tracklet.clip for tracklet in found} == {"square"}
    assert "left out: clip" in caplog.text
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        pseudo.label_folder(videos, tmp_path / "file", SquareTeacher())


def test_clips_of_one_stem_do_not_share_frames(clips, tmp_path):
    videos = tmp_path / "more"
    videos.mkdir()
    for name in ("square.AVI", os.fsdecode(b"square.a\xff.avi"), "square.mov"):
        (videos / name).write_bytes((clips.parent / "videos" / "square.avi").read_bytes())
    found = pseudo.label_folder(videos, tmp_path / "new", SquareTeacher(), starts=4, many=2)
    names = {tracklet.clip for tracklet in found}
    assert names == {"square.AVI", "square.mov", os.fsdecode(b"square.a\xff")}
    assert names == {path.name for path in (tmp_path / "new").iterdir() if path.is_dir()}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("none/sheet.png", "cannot write"), ("sheet.txt", "must end in .png or .jpg")],
)
def test_a_sheet_that_cannot_be_written_is_said(bank_folder, tmp_path, name, sentence):
    words = [str(tmp_path / name), "--bank", str(bank_folder), "--count", "1", "--statistics", "1"]
    with pytest.raises(OutputError, match=sentence):
        sheet.main([*words, "--only", "composites"])


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_sheet_has_letters_for_any_name(bank_folder, tmp_path):
    """OpenCV would end the process."""
    samples = SampleGenerator(bank_folder, SyntheticConfig(), seed=0).sample(0)
    odd = replace(samples, source=os.fsdecode(b"clip:\xff"))
    assert sheet.contact_sheet([odd]).any()


@pytest.mark.parametrize(
    "words",
    [
        ["mixformerv2.data.pseudo", "none", "out", "--by", "points"],
        ["mixformerv2.data.sheet", "sheet.png", "--bank", "none"],
        ["mixformerv2.weights.pieces", "join", "none"],
    ],
    ids=lambda words: words[0],
)
def test_errors_of_modules_that_are_commands_are_one_line(words, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode > 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
