"""Videos that are not what they should be: a sentence or marked frames, and never a crash."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.clips import numbered, write_clip

from mixformerv2.errors import MixFormerError, SourceError
from mixformerv2.tracking import track
from mixformerv2.video import open_source, readers, upright

COUNT = 8


def damaged(path: Path, change: Callable[[bytearray], bytes | bytearray]) -> Path:
    """The file with its bytes changed."""
    path.write_bytes(change(bytearray(path.read_bytes())))
    return path


def noise(data: bytearray) -> bytearray:
    """Everything between the header and the last bytes replaced by noise."""
    middle = slice(len(data) // 8, -len(data) // 8)
    data[middle] = np.random.default_rng(1).bytes(len(data[middle]))
    return data


def audio_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = 8000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return path


def bomb(path: Path, side: int = 12_000) -> Path:
    """A picture of a few kilobytes that unfolds to `side` x `side` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    head = side.to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])  # one bit a pixel
    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("zero.mp4", lambda path: damaged(write_clip(path), lambda data: b"")),
        ("cut.mp4", lambda path: damaged(write_clip(path), lambda data: data[: len(data) // 2])),
        ("zeros.mp4", lambda path: damaged(write_clip(path), lambda data: bytes(len(data)))),
        ("text.mkv", lambda path: damaged(write_clip(path), lambda data: b"hello" * 999)),
        ("sound.mp4", audio_only),
        (
            "unknown.mp4",
            lambda path: damaged(write_clip(path), lambda data: data.replace(b"avc1", b"zzzz")),
        ),
    ],
)
def test_what_is_no_video_is_a_sentence(
    tmp_path: Path, name: str, make: Callable[[Path], Path]
) -> None:
    with pytest.raises(SourceError, match=name):
        open_source(make(tmp_path / name))


@pytest.mark.parametrize("suffix", [".ts", ".avi"])
def test_noise_in_the_middle_loses_frames_and_not_the_rest(tmp_path: Path, suffix: str) -> None:
    path = damaged(write_clip(tmp_path / f"clip{suffix}", 40, options={"g": "5"}), noise)
    with open_source(path) as source:
        frames = list(source)
    assert 0 < len(frames) <= 40
    assert [frame.index for frame in frames] == list(range(len(frames)))
    times = [frame.time for frame in frames]
    assert times == sorted(times)


def test_another_codec_inside_than_the_header_says(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.avi", COUNT, codec="mpeg4")
    damaged(path, lambda data: data.replace(b"FMP4", b"H264").replace(b"fmp4", b"h264"))
    with pytest.raises(SourceError, match=r"none of its|holds no frame|cannot"):
        open_source(path)


def test_a_stream_whose_pictures_change_their_size_is_followed(
    tmp_path: Path, small_bundle: Path
) -> None:
    sizes = [(64, 48), (128, 96), (32, 32)]
    parts = [write_clip(tmp_path / f"{w}.ts", COUNT, size=(w, h)).read_bytes() for w, h in sizes]
    path = tmp_path / "changing.ts"
    path.write_bytes(b"".join(parts))
    with open_source(path) as source:
        seen = [frame.image.shape[1::-1] for frame in source if frame.image is not None]
    assert [size for n, size in enumerate(seen) if n == 0 or size != seen[n - 1]] == sizes
    results = list(track(path, (20, 10, 16, 16), model=small_bundle, engine="onnx", threads=1))
    assert len(results) == 3 * COUNT
    times = [result.time for result in results]
    assert times == sorted(set(times))


@pytest.mark.parametrize("size", [(16, 16), (7680, 4320)])
def test_the_smallest_and_the_largest_frames(
    tmp_path: Path, small_bundle: Path, size: tuple[int, int]
) -> None:
    width, height = size
    picture = np.full((height, width, 3), 90, np.uint8)
    picture[height // 4 : height // 2, width // 4 : width // 2] = 220
    box = (width / 4, height / 4, width / 4, height / 4)
    results = list(track([picture] * 2, box, model=small_bundle, engine="onnx", threads=1))
    assert results[0].box == box
    x, y, w, h = results[1].box
    assert -1 <= x <= x + w <= width + 1
    assert -1 <= y <= y + h <= height + 1


def test_frames_at_uneven_times_keep_them(tmp_path: Path) -> None:
    stamps = [0, 10, 15, 100, 101, 350, 1000]  # hundredths of a second
    path = tmp_path / "uneven.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        for index, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(numbered(index), format="bgr24")
            frame.pts, frame.time_base = stamp, Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with open_source(path) as source:
        assert [frame.time for frame in source] == pytest.approx([n / 100 for n in stamps])


def test_a_picture_that_unfolds_to_more_than_any_frame(tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.png")
    assert path.stat().st_size < 100_000
    done = subprocess.run(
        [sys.executable, "-m", "mixformerv2", "track", str(path), "--box", "1,2,3,4"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "OPENCV_IO_MAX_IMAGE_PIXELS"},
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: bomb.png: none of its 1 frames")


def test_a_video_of_more_pixels_than_any_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = write_clip(tmp_path / "small.ts", COUNT).read_bytes()
    large = write_clip(tmp_path / "large.ts", COUNT, size=(128, 96)).read_bytes()
    for module in (readers, upright):  # of the stream's own size, and of each frame's
        monkeypatch.setattr(module, "MOST_PIXELS", 64 * 48)
    with pytest.raises(SourceError, match="frames of 128 x 96 pixels"):
        open_source(tmp_path / "large.ts")
    (tmp_path / "grows.ts").write_bytes(small + large)
    with open_source(tmp_path / "grows.ts") as source:
        assert [frame.image is not None for frame in source] == [True] * COUNT + [False] * COUNT


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("originals")
    return {end: write_clip(folder / f"c.{end}", 4).read_bytes() for end in ("mp4", "mkv", "ts")}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    end=st.sampled_from(["mp4", "mkv", "ts"]),
    changes=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=6),
    keep=st.floats(0.1, 1),
)
def test_any_damage_gives_frames_or_a_sentence(
    tmp_path: Path,
    originals: dict[str, bytes],
    end: str,
    changes: list[tuple[float, bytes]],
    keep: float,
) -> None:
    data = bytearray(originals[end])
    for place, value in changes:
        start = int(place * (len(data) - len(value)))
        data[start : start + len(value)] = value
    path = tmp_path / f"fuzz.{end}"
    path.write_bytes(data[: int(keep * len(data))])
    with suppress(MixFormerError), open_source(path) as source:
        for number, frame in enumerate(source):
            assert frame.index == number
            assert frame.image is None or frame.image.dtype == np.uint8
