"""`demo`: the figure that it prints, and the clip that it needs."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from mixformerv2.box import Box
from mixformerv2.cli.boxes import read_boxes
from mixformerv2.cli.demo import ASSETS, mean_iou
from mixformerv2.cli.main import main
from mixformerv2.errors import DataError
from mixformerv2.tracking.result import TrackResult
from mixformerv2.video import open_source
from mixformerv2.video.formats.journal import JournalWriter, RunHeader
from tests.clips import sounding_clip


def journal(folder: Path, boxes: list[tuple[float, float, float, float]]) -> Path:
    path = folder / "run.jsonl"
    with JournalWriter(path, RunHeader("clip.mp4", 64, 48)) as writer:
        for frame, box in enumerate(boxes):
            writer.write(1, TrackResult(box, 1.0, "tracked", frame, 0.0))
    return path


def test_the_mean_leaves_out_the_given_frame_and_frames_without_truth(tmp_path: Path) -> None:
    path = journal(tmp_path, [(0, 0, 9, 9), (0, 0, 10, 10), (5, 0, 10, 10), (40, 0, 10, 10)])
    truth = {0: Box(0, 0, 9, 9), 1: Box(0, 0, 10, 10), 2: Box(0, 0, 10, 10)}
    assert mean_iou(path, truth) == pytest.approx((1 + 1 / 3) / 2)


def test_without_a_common_frame_there_is_no_mean(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no frame in common"):
        mean_iou(journal(tmp_path, [(0, 0, 9, 9)]), {0: Box(0, 0, 9, 9)})


def test_the_shipped_clip_has_a_truth_for_each_frame() -> None:
    truth = read_boxes(ASSETS / "demo.csv")
    with open_source(ASSETS / "demo.mp4") as clip:
        frames = list(clip)
        width, height = clip.size
        assert clip.broken == 0
    assert sorted(truth) == [frame.index for frame in frames]
    for box in truth.values():
        assert box.intersect(width, height) is not None


def test_the_clip_is_copied_for_the_examples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["demo", "--clip", str(tmp_path / "new")]
    assert main(words) == 0
    clip, truth = tmp_path / "new" / "clip.mp4", tmp_path / "new" / "truth.csv"
    assert capsys.readouterr() == (f"{clip}\n{truth}\n", "")
    assert clip.read_bytes() == (ASSETS / "demo.mp4").read_bytes()
    assert truth.read_bytes() == (ASSETS / "demo.csv").read_bytes()
    assert main(words) == 0  # once more, over the same


@pytest.mark.parametrize(("codec", "sounds"), [("aac", 1), ("pcm_s16le", 0)])
def test_a_video_of_the_users_own_keeps_its_sound(
    small_bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    codec: str,
    sounds: int,
) -> None:
    clip, out = sounding_clip(tmp_path / "mine.mkv", codec), tmp_path / "out"
    words = ["demo", "--video", str(clip), "--box", "9,9,20,20", "--out", str(out)]
    assert main([*words, "--model", str(small_bundle), "--engine", "onnx"]) == 0
    with av.open(str(out / "mine_tracked.mp4")) as made:
        assert len(made.streams.audio) == sounds
    told = f"video: {out / 'mine_tracked.mp4'}" + "; without sound: pcm_s16le" * (1 - sounds)
    assert told in capsys.readouterr().out


def test_a_clip_of_the_users_own_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"mine")
    assert main(["demo", "--clip", str(tmp_path)]) == 5
    assert "is another file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    assert (tmp_path / "clip.mp4").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--clip", ".", "--video", "mine.mp4"], 2, "leave out --video and --box"),
        (["--port", "8400"], 2, "--video without --box"),
        (["--box", "1,2,3,4"], 3, "--box belongs to a --video"),
        (["--video", "missing.mp4", "--box", "1,2,3,4"], 4, "no such file"),
        (["--out", "file"], 5, "folder file cannot be made"),
    ],
)
def test_what_goes_wrong_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert main(["demo", *words]) == code
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1
    assert sentence in printed.err
