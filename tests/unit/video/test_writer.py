"""The MP4 writer: what can be played afterwards, also when nobody closed it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2.errors import ConfigError, FrameError, OutputError
from mixformerv2.video import VideoWriter, open_source
from tests.clips import number_of, numbered


def read(path: Path) -> list[tuple[float, NDArray[np.uint8]]]:
    """Times and pictures by PyAV alone."""
    with av.open(str(path)) as container:
        return [
            (frame.time, np.asarray(frame.to_ndarray(format="bgr24"), np.uint8))
            for frame in container.decode(video=0)
        ]


def boxes_of(path: Path) -> list[str]:
    """Names of the outermost parts of an MP4."""
    data, at, names = path.read_bytes(), 0, []
    while at + 8 <= len(data):
        names.append(data[at + 4 : at + 8].decode("latin1"))
        at += int.from_bytes(data[at : at + 4], "big")
    return names


def test_frames_come_back_in_order_and_time(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", fps=25) as out:
        for index in range(30):
            out.write(numbered(index))
    assert out.frames == 30
    found = read(tmp_path / "out.mp4")
    assert [number_of(image) for _, image in found] == list(range(30))
    assert [time for time, _ in found] == pytest.approx([i / 25 for i in range(30)])


def test_it_is_what_browsers_play(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", fps=25) as out:
        for index in range(60):
            out.write(numbered(index))
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.format.name == "yuv420p"
        assert stream.average_rate == 25
        assert container.duration == pytest.approx(60 / 25 * 1e6)
    # Once it is closed it is an ordinary file: one index, no fragments.
    assert [name for name in boxes_of(tmp_path / "out.mp4") if name != "free"] == [
        "ftyp",
        "mdat",
        "moov",
    ]


@pytest.mark.parametrize(
    ("fps", "times"),
    [
        (30000 / 1001, [i * 1001 / 30000 for i in range(6)]),
        (25.0, [0.0, 0.04, 0.2, 0.24, 1.0]),
        (30.0, [7.5 + i / 30 for i in range(4)]),
        (None, [0.0, 0.1, 0.35]),
        (1 / 3600, [0.0, 3600.0, 7200.0]),
    ],
    ids=["ntsc", "gaps", "late-start", "no-rate", "one-an-hour"],
)
def test_frames_keep_the_times_of_their_source(
    tmp_path: Path, fps: float | None, times: Sequence[float]
) -> None:
    with VideoWriter(tmp_path / "out.mp4", fps=fps) as out:
        for index, time in enumerate(times):
            out.write(numbered(index), time)
    # A clock of at least 10,000 ticks a second.
    expected = [time - times[0] for time in times]
    assert [time for time, _ in read(tmp_path / "out.mp4")] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("fps", [1e-5, 1 / 1500, 0.5, 24000 / 1001, 240])
def test_a_rate_is_kept(tmp_path: Path, fps: float) -> None:
    with VideoWriter(tmp_path / "out.mp4", fps=fps) as out:
        for index in range(3):
            out.write(numbered(index))
    assert [time for time, _ in read(tmp_path / "out.mp4")] == pytest.approx([0, 1 / fps, 2 / fps])


def test_pixels_keep_their_shape(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", aspect=16 / 11) as out:
        out.write(numbered(0))
    with open_source(tmp_path / "out.mp4") as source:
        assert source.aspect == Fraction(16, 11)


def test_whatever_a_tracker_takes_is_written(tmp_path: Path) -> None:
    grey = np.full((48, 64), 90, np.uint8)
    with VideoWriter(tmp_path / "out.mp4") as out:
        for image in (grey, np.dstack([grey] * 4), np.float32(grey / 255), grey[..., None]):
            out.write(image)
    for _, image in read(tmp_path / "out.mp4"):
        assert image.mean() == pytest.approx(90, abs=2)  # 8-bit YUV and back


@pytest.mark.parametrize(
    ("options", "image", "time", "kind", "sentence"),
    [
        ({"fps": float("inf")}, numbered(0), 0.0, ConfigError, "fps must be .*, got inf"),
        ({"fps": float("nan")}, numbered(0), 0.0, ConfigError, "fps must be .*, got nan"),
        ({"fps": -5}, numbered(0), 0.0, ConfigError, "fps must be .*, got -5"),
        ({"quality": 99}, numbered(0), 0.0, ConfigError, "quality must be .*, got 99"),
        ({"aspect": 0.0}, numbered(0), 0.0, ConfigError, "aspect is .*, got 0.0"),
        ({}, numbered(0), float("nan"), ConfigError, "finite seconds, got nan"),
        ({}, numbered(0) * 2.0, 0.0, FrameError, "must lie in 0..1"),
        ({}, None, 0.0, FrameError, "the frame is None"),
        ({}, np.zeros((20, 20000, 3), np.uint8), 0.0, OutputError, "of 20000 x 20 pixels make no"),
    ],
)
def test_what_is_no_video_is_said(
    tmp_path: Path, options: Any, image: Any, time: float, kind: type[Exception], sentence: str
) -> None:
    with (
        pytest.raises(kind, match=sentence),
        VideoWriter(tmp_path / "out.mp4", **options) as out,
    ):
        out.write(image, time)
    assert list(tmp_path.iterdir()) == []


def test_a_source_whose_clock_runs_backwards_is_still_written(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", fps=25) as out:
        for index, time in enumerate([0.0, 0.04, 0.04, 0.01, 0.08]):
            out.write(numbered(index), time)
    times = [time for time, _ in read(tmp_path / "out.mp4")]
    assert len(times) == 5
    assert times == sorted(set(times))


@pytest.mark.parametrize(
    ("size", "written"),
    [
        ((64, 48), (64, 48)),
        ((63, 48), (64, 48)),
        ((63, 47), (64, 48)),
        ((1, 1), (16, 16)),
        ((3, 301), (16, 302)),
    ],
)
def test_any_size_is_written_and_the_picture_stays_at_the_top_left(
    tmp_path: Path, size: tuple[int, int], written: tuple[int, int]
) -> None:
    width, height = size
    image = np.full((height, width, 3), 60, np.uint8)
    image[: height // 2 + 1] = 200
    with VideoWriter(tmp_path / "out.mp4") as out:
        out.write(image)
    ((_, found),) = read(tmp_path / "out.mp4")
    assert (found.shape[1], found.shape[0]) == written
    assert np.abs(found[:height, :width].astype(int) - image).mean() < 6  # what H.264 loses
    # What is added is more of the edge, not black.
    assert np.abs(found[0, width - 1].astype(int) - found[0, -1]).max() < 12


def test_a_frame_of_another_size_is_fitted_in(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4") as out:
        out.write(np.full((48, 64, 3), 90, np.uint8))
        out.write(np.full((96, 32, 3), 200, np.uint8))
    first, second = (image for _, image in read(tmp_path / "out.mp4"))
    assert first.shape == second.shape
    columns = second.astype(float).mean((0, 2))
    assert columns[28:36].mean() > 190  # 16 wide in the middle, black bars beside it
    assert columns[:20].mean() < 10
    assert columns[44:].mean() < 10


@pytest.mark.parametrize("colour", [(20, 40, 220), (30, 200, 60), (220, 60, 30), (128, 128, 128)])
def test_colours_stay(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    with VideoWriter(tmp_path / "out.mp4") as out:
        out.write(np.full((64, 64, 3), colour, np.uint8))
    with av.open(str(tmp_path / "out.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range) == (1, 1)  # BT.709, limited: said in the file
        found = frame.to_ndarray(format="bgr24").reshape(-1, 3).mean(0)
    assert found == pytest.approx(colour, abs=5)  # 8-bit YUV and back


KILLED = """
import os, sys
sys.path.insert(0, {root!r})
from mixformerv2.video import VideoWriter
from tests.clips import numbered
out = VideoWriter({path!r}, fps=10)
for index in range(60):
    out.write(numbered(index % 32))
os.kill(os.getpid(), 9)
"""


def test_a_killed_run_leaves_a_video_that_plays(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    root = str(Path(__file__).parents[3])
    code = KILLED.format(root=root, path=str(path))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    found = read(path)
    # A fragment a second; the encoder and the last fragment held back two at most.
    assert 40 <= len(found) <= 60
    assert [number_of(image) for _, image in found] == [i % 32 for i in range(len(found))]


FULL = """
import resource, sys
sys.path.insert(0, {root!r})
import numpy as np
from mixformerv2.errors import OutputError
from mixformerv2.video import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
draw = np.random.default_rng(0)
try:
    with VideoWriter({path!r}, fps=10) as out:
        for _ in range(100):
            out.write(draw.integers(0, 255, (96, 96, 3), np.uint8))
except OutputError as error:
    print(out.frames, error)
"""


def test_a_full_disk_is_an_output_error_and_leaves_what_fits(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    code = FULL.format(root=str(Path(__file__).parents[3]), path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    frames, _, sentence = done.stdout.partition(" ")
    assert "cannot be written any further: File too large" in sentence
    assert int(frames) < 100
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).width == 96


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("out.avi", "are written as .mp4"),
        ("no/such/out.mp4", "there is no folder"),
        ("taken.mp4", "cannot be written: Is a directory"),
    ],
)
def test_where_nothing_can_be_written(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "taken.mp4").mkdir()
    with (
        pytest.raises(OutputError, match=sentence),
        VideoWriter(tmp_path / name) as out,
    ):
        out.write(numbered(0))


def test_without_frames_there_is_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4"):
        pass
    assert list(tmp_path.iterdir()) == []
