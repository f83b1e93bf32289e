"""`mixformerv2 track` as a user calls it: a real bundle, real files, another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mixformerv2.cli.main import main
from mixformerv2.video import open_source
from mixformerv2.video.formats.journal import Journal
from tests.clips import sounding_clip, write_clip
from tests.doubles import moving_square

COUNT = 12
BOX = "20,40,24,24"


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of a moving square, and everything that is not quite a video."""
    folder = tmp_path_factory.mktemp("material")
    draw = moving_square()
    for name, count in (("clip.mp4", COUNT), ("long.mp4", 400)):
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
            for index in range(count):
                frame = av.VideoFrame.from_ndarray(draw(index % 50), format="bgr24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("hello " * 100)
    data = (folder / "clip.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(data[: len(data) // 2])  # its index was at the end
    for name in ("nothing", "pictures", "one", "locked"):
        (folder / name).mkdir()
    for index in range(4):
        picture = draw(index)
        if index == 1:
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        elif index == 2:
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA).astype(np.uint16) * 257
        assert cv2.imwrite(str(folder / f"pictures/{index}.png"), picture)
    assert cv2.imwrite(str(folder / "one/1.png"), np.zeros((1, 1, 3), np.uint8))
    return folder


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Outputs without a name go to an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIXFORMERV2_DEBUG", raising=False)
    return tmp_path


@pytest.fixture
def how(small_bundle: Path) -> list[str]:
    return ["--model", str(small_bundle), "--engine", "onnx", "--threads", "1"]


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "mixformerv2", *map(str, words)]


def test_without_names_it_says_what_it_chose(material: Path, here: Path, how: list[str]) -> None:
    done = subprocess.run(
        command("track", material / "clip.mp4", "--box", BOX, *how),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"clip.mp4: {COUNT} frames" in done.stdout
    assert "video: clip_tracked.mp4" in done.stdout
    assert "journal: clip_tracked.jsonl" in done.stdout
    assert sorted(path.name for path in here.iterdir()) == [
        "clip_tracked.jsonl",
        "clip_tracked.mp4",
    ]
    rows = list(Journal("clip_tracked.jsonl"))
    assert [row.result.frame for row in rows] == list(range(COUNT))
    assert rows[0].result.box == (20, 40, 24, 24)
    assert len({row.result.box for row in rows}) > 2  # it moves
    with open_source("clip_tracked.mp4") as video:
        assert video.size == (160, 120)
        assert len(list(video)) == COUNT


@pytest.mark.parametrize(
    "where", [["--box", "9,9,20,20", "--start-frame", "1"], ["--prompt", "1:9,9,20,20"]]
)
def test_the_sound_stays_with_the_pictures(
    here: Path, how: list[str], where: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    sounding_clip(here / "loud.mp4")
    for words, tracks in ((["--out", "a.mp4"], 1), (["--out", "b.mp4", "--no-sound"], 0)):
        assert main(["track", "loud.mp4", *where, *words, *how]) == 0
        assert "without sound" not in capsys.readouterr().out
        with av.open(words[1]) as made:
            assert len(made.streams.audio) == tracks


def test_every_format_of_two_objects_in_one_run(material: Path, here: Path, how: list[str]) -> None:
    names = ["a.csv", "a.mot", "a.json", "a.xml", "a.labelstudio.json"]
    words = [word for name in names for word in ("--boxes", name)]
    (here / "second.txt").write_text("90 20 30 30\n")
    source = str(material / "clip.mp4")
    more = ["--label", "cup", "--label", "cat", "--thin", "2"]
    assert main(["track", source, "--box", BOX, "-b", "second.txt", *words, *more, *how]) == 0
    assert {path.name for path in here.iterdir()} == {*names, "a.jsonl", "second.txt"}
    assert Journal("a.jsonl").ids() == [1, 2]
    assert Journal("a.jsonl").labels() == {"cup": 1, "cat": 2}
    for form, name in (("csv", "a.csv"), ("mot", "a.mot"), ("cvat", "a.xml"), ("coco", "a.json")):
        # The same again from the journal alone, as after a crash.
        again = ["formats", "a.jsonl", "--to", form, "--out", "again", "--quiet", "--thin", "2"]
        assert main(again) == 0
        assert (here / "again").read_bytes() == (here / name).read_bytes()


def test_pictures_and_part_of_a_source(
    material: Path, here: Path, how: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--start-frame", "1", "--max-frames", "2", "--boxes", "p.csv", "--quiet"]
    assert main(["track", str(material / "pictures"), "--box", BOX, *words, *how]) == 0
    assert [row.result.frame for row in Journal("p.jsonl")] == [1, 2]
    assert not (here / "pictures_tracked.mp4").exists()
    assert capsys.readouterr() == ("", "")


def test_a_picture_of_one_pixel(material: Path, how: list[str]) -> None:
    assert main(["track", str(material / "one"), "--box", "0,0,1,1", *how]) == 0
    with av.open("one_tracked.mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) == 1


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["missing.mp4", "--box", BOX], 4, "no such file"),
        (["empty.mp4", "--box", BOX], 4, "is empty"),
        (["text.mp4", "--box", BOX], 4, "is not a video"),
        (["cut.mp4", "--box", BOX], 4, "is it whole?"),
        (["nothing", "--box", BOX], 4, "holds no pictures"),
        (["clip.mp4"], 2, "--box X,Y,W,H, or --select"),
        (["clip.mp4", "--box", BOX, "--reverse"], 2, "--prompt N:X,Y,W,H"),
        (["clip.mp4", "--box", "1,2,3"], 3, "neither four numbers"),
        (["clip.mp4", "--box", "nan,1,2,3"], 3, "not finite"),
        (["clip.mp4", "--box", "1,1,0,5"], 3, "above zero"),
        (["clip.mp4", "--box", "500,500,9,9"], 3, "lies outside the picture"),
        (["clip.mp4", "--box", BOX, "--start-frame", "99"], 4, "ends before frame 99"),
        (["clip.mp4", "--box", BOX, "--out", "clip.mp4"], 5, "is the input itself"),
        (["clip.mp4", "--box", BOX, "--out", "no/such.mp4"], 5, "there is no folder"),
        (["clip.mp4", "--box", BOX, "--out", "a.avi"], 2, "are written as .mp4"),
        (["clip.mp4", "--box", BOX, "--boxes", "a.foo"], 2, "stands for no format"),
        (["clip.mp4", "--box", BOX, "--boxes", "/dev/full", "--format", "csv"], 5, "No space left"),
        (["clip.mp4", "--box", BOX, "--model", "nope"], 6, "no bundle is called 'nope'"),
        (["clip.mp4", "--box", BOX, "--engine", "abacus"], None, "abacus"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_goes_wrong_is_one_sentence_and_a_code(
    material: Path,
    here: Path,
    small_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    code: int | None,
    sentence: str,
) -> None:
    for name in ("clip.mp4", "empty.mp4", "text.mp4", "cut.mp4", "nothing"):
        (here / name).symlink_to(material / name)
    before = sorted(here.iterdir())
    extra = [] if "--model" in words else ["--model", str(small_bundle)]
    found = main(["track", *words, *extra])
    assert found == code if code is not None else found in (2, 7)
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("error: ")
    assert sentence in line
    left = [path for path in here.iterdir() if path not in before]
    assert all(path.suffix == ".jsonl" for path in left)  # at most the journal of what was tracked


@pytest.fixture
def long_run(material: Path, how: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A run that has got past 60 of 400 frames and is slow enough to be caught on the way."""
    words = ["track", material / "long.mp4", "--box", BOX, "--out", "v.mp4", "--boxes", "v.csv"]
    slow = (
        "import sys, time\n"
        "from mixformerv2.tracking import Tracker\n"
        "step_all = Tracker.step_all\n"
        "Tracker.step_all = lambda *a: (time.sleep(0.01), step_all(*a))[1]\n"
        "from mixformerv2.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", slow, *map(str, words), *how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        journal = Path("v.jsonl")
        for _ in range(6000):
            if journal.exists() and journal.read_bytes().count(b"\n") > 60:
                break
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.01)
        yield process
        if process.poll() is None:
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_cleanly(
    long_run: subprocess.Popen[str], number: signal.Signals, code: int
) -> None:
    long_run.send_signal(number)
    out, err = long_run.communicate(timeout=60)
    assert (long_run.returncode, err) == (code, "")
    assert f"stopped by {number.name}" in out
    frames = [row.result.frame for row in Journal("v.jsonl")]
    assert 60 <= len(frames) < 400
    assert json.loads(Path("v.jsonl").read_text().splitlines()[-1])["frames"] == len(frames)
    assert len(Path("v.csv").read_text().splitlines()) == 1 + len(frames)
    with open_source("v.mp4") as video:
        assert len(list(video)) == len(frames)


def test_a_killed_run_leaves_what_it_had(long_run: subprocess.Popen[str]) -> None:
    long_run.kill()
    long_run.communicate(timeout=60)
    assert not Path("v.csv").exists()
    assert main(["formats", "v.jsonl", "--to", "csv", "--quiet"]) == 0
    tracked = len(Path("v.csv").read_text().splitlines()) - 1
    assert tracked >= 59
    with open_source("v.mp4") as video:
        # All but the last fragment, of a second, and what the encoder held back.
        assert len([frame for frame in video if frame.image is not None]) >= tracked - 60


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_closed_streams_do_no_harm(material: Path, how: list[str], closed: tuple[int, ...]) -> None:
    done = subprocess.run(
        command("track", material / "clip.mp4", "--box", BOX, *how),
        preexec_fn=lambda: [os.close(number) for number in closed],  # type: ignore[func-returns-value]
        check=False,
    )
    assert done.returncode == 0
    assert len(list(Journal("clip_tracked.jsonl"))) == COUNT
    with open_source("clip_tracked.mp4") as video:
        assert len(list(video)) == COUNT


def test_a_reader_that_went_away_does_no_harm(material: Path, how: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        done = subprocess.run(
            command("track", material / "clip.mp4", "--box", BOX, *how),
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(Journal("clip_tracked.jsonl"))) == COUNT


def test_a_box_drawn_in_the_browser(material: Path, how: list[str]) -> None:
    with subprocess.Popen(
        command("track", material / "clip.mp4", "--select", *how),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"BROWSER": "true"},
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        address = line.partition("browser: ")[2].strip()
        with urllib.request.urlopen(f"{address}frame.jpg", timeout=10) as answer:
            assert answer.read(2) == b"\xff\xd8"
        request = urllib.request.Request(f"{address}boxes", b"[[20, 40, 24, 24]]", method="POST")
        urllib.request.urlopen(request, timeout=10).close()
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert next(iter(Journal("clip_tracked.jsonl"))).result.box == (20, 40, 24, 24)


def test_a_damaged_video_is_tracked_to_its_end(
    how: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_clip(here / "clip.avi", 40, codec="mpeg4", size=(160, 120))
    with av.open(str(path)) as container:
        end = [packet.pos for packet in container.demux(video=0)][25]
    path.write_bytes(path.read_bytes()[:end])
    assert main(["track", str(path), "--box", BOX, *how]) == 0
    assert "ended early" in capsys.readouterr().err
    assert len(list(Journal("clip_tracked.jsonl"))) == 25
