"""Sources: what may be opened, in which order frames come, and what happens to broken ones."""

from __future__ import annotations

import logging
import os
import socket
import struct
import threading
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from mixformerv2.errors import ConfigError, SourceError
from mixformerv2.video import open_source
from mixformerv2.video.upright import upright
from tests.clips import SIZE, damage_packets, indices, number_of, numbered, turn, write_clip


def write_pictures(folder: Path, names: list[str]) -> None:
    folder.mkdir()
    for number, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), numbered(number))


# What may be opened.


def test_a_video_gives_its_frames_with_numbers_and_times(tmp_path: Path) -> None:
    with open_source(write_clip(tmp_path / "clip.mp4", 20)) as source:
        assert (source.name, source.count, source.fps) == ("clip.mp4", 20, 25.0)
        assert source.size == SIZE
        assert not source.live
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(20))
    assert [frame.time for frame in frames] == pytest.approx([i / 25 for i in range(20)])
    for frame in frames:
        assert frame.image is not None
        assert (frame.image.shape, frame.image.dtype) == ((48, 64, 3), np.uint8)
        assert number_of(frame.image) == frame.index


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"),
    [
        (".avi", "mpeg4", "yuv420p"),
        (".mkv", "ffv1", "yuv444p10le"),
        (".mov", "png", "rgb24"),
        (".mkv", "ffv1", "gray16le"),
        (".mkv", "ffv1", "bgra"),
        (".webm", "libvpx", "yuv420p"),
    ],
)
def test_any_codec_and_pixel_format_comes_as_bgr(
    tmp_path: Path, suffix: str, codec: str, pix_fmt: str
) -> None:
    with open_source(write_clip(tmp_path / f"c{suffix}", 6, codec=codec, pix_fmt=pix_fmt)) as clip:
        images = [frame.image for frame in clip]
    assert len(images) == 6
    for number, image in enumerate(images):
        assert image is not None
        assert (image.shape, image.dtype) == ((48, 64, 3), np.uint8)
        assert number_of(image) == number


def test_pictures_of_a_folder_come_in_natural_order(tmp_path: Path) -> None:
    write_pictures(tmp_path / "f", ["f1.png", "f2.png", "f9.png", "f10.png", "f011.png"])
    (tmp_path / "f" / "notes.txt").write_text("no picture")
    (tmp_path / "f" / "._f1.png").write_bytes(b"\0\5\x16\7Mac OS X")
    with open_source(tmp_path / "f") as source:
        assert (source.name, source.count, source.fps) == ("f", 5, None)
        assert [number_of(frame.image) for frame in source if frame.image is not None] == [
            *range(5)
        ]


@pytest.mark.parametrize("kind", ["glob", "paths", "arrays", "array", "one", "address"])
def test_other_ways_to_name_pictures(tmp_path: Path, kind: str) -> None:
    write_pictures(tmp_path / "f", ["a2.png", "a10.png", "b1.png"])
    given: dict[str, Any] = {
        "glob": str(tmp_path / "f" / "a*.png"),
        "paths": [tmp_path / "f" / "a2.png", str(tmp_path / "f" / "a10.png")],
        "arrays": [numbered(0), numbered(1)],
        "array": np.stack([numbered(0), numbered(1)]),
        "one": str(tmp_path / "f" / "a2.png"),
        "address": (tmp_path / "f" / "a2.png").as_uri(),
    }
    with open_source(given[kind]) as source:
        numbers = [number_of(frame.image) for frame in source if frame.image is not None]
    assert numbers == [0, 1][: 1 if kind in ("one", "address") else 2]


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (np.full((4, 6), 200, np.uint8), (200, 200, 200)),
        (np.full((4, 6), 200 * 257, np.uint16), (200, 200, 200)),
        (np.full((4, 6, 3), (10, 20, 30), np.uint8), (10, 20, 30)),
        (np.full((4, 6, 4), (10, 20, 30, 0), np.uint8), (10, 20, 30)),
        (np.full((4, 6, 3), (257, 514, 65535), np.uint16), (1, 2, 255)),
        (np.full((1, 1, 3), (10, 20, 30), np.uint8), (10, 20, 30)),
    ],
    ids=["grey", "grey16", "bgr", "alpha", "bgr16", "one-pixel"],
)
@pytest.mark.parametrize("as_file", [True, False])
def test_pictures_of_any_depth_come_as_bgr(
    tmp_path: Path, picture: Any, expected: tuple[int, int, int], as_file: bool
) -> None:
    assert cv2.imwrite(str(tmp_path / "p.png"), picture)
    with open_source(str(tmp_path / "p.png") if as_file else [picture]) as source:
        (frame,) = source
    assert frame.image is not None
    assert frame.image.dtype == np.uint8
    assert tuple(frame.image[0, 0].tolist()) == expected


def test_a_name_that_ffmpeg_would_take_for_an_instruction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_clip(tmp_path / "clip.mp4", 3)
    (tmp_path / "clip.mp4").rename(tmp_path / "concat:a|b.mp4")
    monkeypatch.chdir(tmp_path)
    with open_source("concat:a|b.mp4") as source:
        assert indices(source) == [0, 1, 2]


@pytest.mark.parametrize(
    ("given", "shown"),
    [(b"a\nb.mp4", "a?b.mp4"), (b"\xff\x01.mp4", "??.mp4"), (b"-%03d.mp4", None)],
)
def test_a_file_may_be_called_anything(tmp_path: Path, given: bytes, shown: str | None) -> None:
    path = tmp_path / os.fsdecode(given)
    write_clip(tmp_path / "clip.mp4", 3).rename(path)
    with open_source(path) as source:
        assert source.name == (shown or path.name)
        assert indices(source) == [0, 1, 2]


def test_http(tmp_path: Path) -> None:
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *values: Any) -> None: ...

    write_clip(tmp_path / "clip.mp4", 8)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}/clip.mp4"
        with open_source(address) as source:
            assert not source.live
            assert indices(source) == list(range(8))
    finally:
        server.shutdown()
        server.server_close()


class FakeCamera:
    """Three frames, then nothing more."""

    def __init__(self, number: int) -> None:
        self.left = 3 if number == 0 else 0
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802
        return self.left > 0

    def get(self, what: int) -> float:
        return 30.0

    def read(self) -> tuple[bool, Any]:
        self.left -= 1
        return (True, numbered(2 - self.left)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.released = True


@pytest.mark.parametrize("name", [0, "0"])
def test_a_camera_by_its_number(monkeypatch: pytest.MonkeyPatch, name: int | str) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    with open_source(name) as source:
        assert (source.name, source.live, source.count) == ("camera 0", True, None)
        assert indices(source) == [0, 1, 2]
        assert source.cut_short == "the camera stopped sending"


# What cannot be opened.

PILLOW = type("Image", (), {"__module__": "PIL.Image"})
"""What a picture of Pillow says that it is."""


def test_a_folder_of_a_sequence_names_the_one_with_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    (tmp_path / "groundtruth.txt").touch()
    with pytest.raises(SourceError, match=rf"only \.txt, img; give {tmp_path / 'img'}$"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("missing.mp4", "no such file or folder"),
        ("empty.mp4", "is empty"),
        ("text.mp4", "is not a video"),
        ("text.txt", "holds no video"),
        ("cut.mp4", "is not a video"),
        ("empty", "holds no pictures"),
        ("texts", r"holds no pictures, only \.txt"),
        ("broken", "none of its 2 frames can be decoded"),
        ("*.png", "holds no pictures"),
        ("", "empty name"),
        ("http://user:secret@127.0.0.1:9/x.mp4", "^http://127.0.0.1:9/x.mp4 cannot be opened"),
        ([], "is empty"),
        (True, "is no source"),
        ((image for image in ()), "is no source"),
        (-1, "camera -1 cannot be opened"),
        ("a" * 300, "no such file or folder"),
        ("file:///no/such.mp4", "^/no/such.mp4: there is no such file"),
        ("http://[::1/x.mp4?key=secret", r"^http://\[::1/x.mp4\?key=\*\*\* cannot be opened"),
        ([numbered(0), None], "entry 1 is None, as OpenCV gives"),
        ([PILLOW()], r'PIL.Image.Image; give numpy.asarray\(image.convert\("RGB"\)'),
        ([b"a.png"], "entry 0 is of type builtins.bytes; give paths, or arrays"),
        (numbered(0), r"an array of shape \(48, 64, 3\) is one picture"),
        (numbered(0)[..., 0], r"an array of shape \(48, 64\) is one picture"),
    ],
)
def test_what_cannot_be_opened_gives_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Any, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.mp4").touch()
    Path("text.mp4").write_text("hello " * 100)
    Path("text.txt").write_text("hello " * 100)
    Path("cut.mp4").write_bytes(write_clip(tmp_path / "whole.mp4", 9).read_bytes()[:900])
    for folder in ("empty", "texts", "broken"):
        Path(folder).mkdir()
    Path("texts/a.txt").touch()
    for number in range(2):
        Path(f"broken/{number}.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=sentence):
        open_source(name)


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="read_ahead"):
        open_source([numbered(0)], read_ahead=0)
    with pytest.raises(ConfigError, match="first frame is 0"):
        open_source([numbered(0)], start=-1)


# Turned videos.


@pytest.mark.parametrize(
    "matrix",
    [
        (1, 0, 0, 1),
        (0, 1, -1, 0),
        (-1, 0, 0, -1),
        (0, -1, 1, 0),
        (-1, 0, 0, 1),
        (1, 0, 0, -1),
        (0, 1, 1, 0),
        (0, -1, -1, 0),
    ],
)
def test_a_picture_is_turned_as_its_display_matrix_says(matrix: tuple[int, ...]) -> None:
    a, b, c, d = matrix
    image = np.arange(3 * 5 * 3, dtype=np.uint8).reshape(3, 5, 3)
    # By the definition of the matrix, pixel by pixel: x' = a x + c y, y' = b x + d y.
    ys, xs = np.mgrid[0:3, 0:5]
    x, y = a * xs + c * ys, b * xs + d * ys
    expected = np.empty((y.max() - y.min() + 1, x.max() - x.min() + 1, 3), np.uint8)
    expected[y - y.min(), x - x.min()] = image
    one = 1 << 16
    given = np.array([a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30], np.int32)
    assert np.array_equal(upright(image, given), expected)


def test_a_phone_video_comes_upright(tmp_path: Path) -> None:
    with open_source(turn(write_clip(tmp_path / "c.mp4", 4), 0, 1, -1, 0)) as source:
        assert source.size == (48, 64)
        for frame in source:
            assert frame.image is not None
            # A quarter turn clockwise takes columns from left to right to rows downwards.
            assert number_of(frame.image.transpose(1, 0, 2)) == frame.index


def test_a_photograph_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    good, data = cv2.imencode(".jpg", numbered(5))
    assert good
    # One entry: orientation (0x0112), a short, 6: turn a quarter clockwise.
    tiff = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0" + tiff
    marked = data.tobytes()[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    (tmp_path / "p.jpg").write_bytes(marked + data.tobytes()[2:])
    with open_source(tmp_path / "p.jpg") as source:
        assert source.size == (48, 64)
        assert number_of(source.peek().transpose(1, 0, 2)) == 5


def test_a_silent_address_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixformerv2.video.readers._NETWORK_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(SourceError, match=r"did not answer within 0 s"):
            open_source(f"http://127.0.0.1:{port}/clip.mp4")


@pytest.mark.parametrize(
    ("given", "turned", "found"),
    [("16/11", False, "16/11"), ("16/11", True, "11/16"), ("1", False, None), ("64", False, None)],
)
def test_the_shape_of_a_pixel(given: str, turned: bool, found: str | None, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "c.mp4", 2, aspect=Fraction(given))
    with open_source(turn(path, 0, 1, -1, 0) if turned else path) as source:
        assert source.aspect == (found and Fraction(found))


# Broken frames.


def test_a_broken_frame_keeps_the_numbers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # PNG in MOV: each frame for itself, so that one broken packet is one broken frame.
    path = write_clip(tmp_path / "clip.mov", 12, codec="png", pix_fmt="rgb24")
    assert damage_packets(path, [4, 7]) == [4, 7]
    with open_source(path) as source, caplog.at_level(logging.WARNING):
        frames = list(source)
        assert source.broken == 2
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.index for frame in frames if frame.image is None] == [4, 7]
    assert [frame.time for frame in frames] == pytest.approx([i / 25 for i in range(12)])
    good = [frame for frame in frames if frame.image is not None]
    assert [number_of(frame.image) for frame in good if frame.image is not None] == [
        frame.index for frame in good
    ]
    assert caplog.messages == [
        "clip.mov: frame 4 cannot be decoded",
        "clip.mov: 2 frames could not be decoded",
    ]


def test_a_broken_frame_is_placed_by_its_time_of_showing(tmp_path: Path) -> None:
    options = {"bf": "3", "b_strategy": "0", "x264-params": "b-pyramid=none"}
    path = write_clip(tmp_path / "clip.mp4", 16, options=options)
    with av.open(str(path)) as container:
        stamps = [packet.pts or 0 for packet in container.demux(video=0) if packet.size]
    # Frames are stored in another order than they are shown; no other frame needs this one.
    victim = max(n for n, stamp in enumerate(stamps) if stamp < max(stamps[:n], default=0))
    (number,) = damage_packets(path, [victim])
    with open_source(path) as source:
        frames = list(source)
    assert [frame.index for frame in frames] == list(range(16))
    assert [frame.index for frame in frames if frame.image is None] == [number]
    assert [frame.time for frame in frames] == pytest.approx([i / 25 for i in range(16)])


def test_broken_pictures_keep_their_numbers(tmp_path: Path) -> None:
    write_pictures(tmp_path / "f", [f"{i}.png" for i in range(5)])
    (tmp_path / "f" / "0.png").write_bytes(b"no picture")
    (tmp_path / "f" / "3.png").write_bytes(b"")
    with open_source(tmp_path / "f") as source:
        assert source.size == SIZE
        frames = list(source)
    assert [frame.image is None for frame in frames] == [True, False, False, True, False]
    assert source.broken == 2
