"""`mixformerv2 batch` as a user calls it, with real workers that are killed by kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.clips import write_clip

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")

VIDEOS = 4
LONG = 120  # frames: long enough to be met at work, short enough for a test


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    clip = write_clip(folder / "0.mp4", LONG).read_bytes()
    for number in range(1, VIDEOS):
        (folder / f"{number}.mp4").write_bytes(clip)
    rows = [f"{number}.mp4,20,10,16,16" for number in range(VIDEOS)]
    (folder / "list.csv").write_text("\n".join(["video,x,y,w,h", *rows]))
    return folder


@pytest.fixture
def command(material: Path, small_bundle: Path, tmp_path: Path) -> list[str]:
    words = ("batch", material / "list.csv", "--out", tmp_path / "out", "--model", small_bundle)
    how = ("--inference", "onnx", "--shard-size", 1, "--workers", 1)
    return [sys.executable, "-m", "mixformerv2", *map(str, (*words, *how))]


@pytest.fixture
def start(command: list[str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def run(*more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def at_work(out: Path, process: subprocess.Popen[str]) -> Path:
    """Wait until a worker is in the middle of the second shard or a later one."""
    for _ in range(6000):
        assert process.poll() is None, process.communicate()
        with suppress(OSError):  # a shard that is done goes away under the search
            for journal in out.glob("work/*/journal.*.jsonl"):
                if not journal.parent.name.startswith("000000") and journal.stat().st_size > 2000:
                    return journal.parent
        time.sleep(0.01)
    raise AssertionError("no worker began")


def workers(process: subprocess.Popen[str]) -> list[int]:
    """The worker processes: children that are no helper of multiprocessing."""
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(process.pid)],
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "spawn_main" in line]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def results(out: Path) -> dict[str, bytes]:
    """Every table of results."""
    return {p.parent.name: p.read_bytes() for p in (out / "shards").glob("*/results.csv")}


@pytest.fixture(scope="module")
def undisturbed(
    material: Path, small_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    words = ("batch", material / "list.csv", "--out", out, "--model", small_bundle)
    how = ("--inference", "onnx", "--shard-size", 1, "--workers", 2)
    done = subprocess.run(
        [sys.executable, "-m", "mixformerv2", *map(str, (*words, *how))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == f"4 of 4 videos done: 4 targets, {4 * LONG} frames"
    return results(out)


def test_a_killed_worker_loses_and_repeats_nothing(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]], undisturbed: dict[str, bytes]
) -> None:
    process = start()
    at_work(tmp_path / "out", process)
    (worker,) = workers(process)
    os.kill(worker, signal.SIGKILL)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert "its worker process died" in err
    assert len(err.splitlines()) == 1
    assert results(tmp_path / "out") == undisturbed


def test_a_killed_worker_with_several_videos_at_once_loses_and_repeats_nothing(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]], undisturbed: dict[str, bytes]
) -> None:
    process = start("--shard-size", "4", "--streams", "3")
    for _ in range(6000):
        assert process.poll() is None, process.communicate()
        if len(list((tmp_path / "out").glob("work/*/journal.*.jsonl"))) >= 2:
            break
        time.sleep(0.01)
    (worker,) = workers(process)
    os.kill(worker, signal.SIGKILL)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert "one of the videos" in err
    assert not (tmp_path / "out/crashes.jsonl").exists()  # none of them was to blame
    tables = [undisturbed[shard].splitlines(keepends=True) for shard in sorted(undisturbed)]
    whole = b"".join([*tables[0], *(line for table in tables[1:] for line in table[1:])])
    assert results(tmp_path / "out") == {"000000": whole}


def test_after_a_killed_driver_the_same_command_does_the_rest(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]], undisturbed: dict[str, bytes]
) -> None:
    process = start()
    at_work(tmp_path / "out", process)
    (worker,) = workers(process)
    process.kill()
    process.communicate()
    for _ in range(500):
        if gone(worker):
            break
        time.sleep(0.02)
    assert gone(worker), "a worker outlived its driver"
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out/shards").iterdir()}
    assert 1 <= len(kept) < VIDEOS
    assert start().wait(timeout=200) == 0
    assert results(tmp_path / "out") == undisturbed
    for name, when in kept.items():
        assert (tmp_path / "out/shards" / name).stat().st_mtime_ns == when


def test_sigterm_ends_it_with_its_workers(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start()
    at_work(tmp_path / "out", process)
    (worker,) = workers(process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (128 + signal.SIGTERM, "")
    assert gone(worker)


def test_a_video_on_which_the_decoder_hangs_is_put_into_quarantine(
    tmp_path: Path, material: Path, small_bundle: Path
) -> None:
    os.mkfifo(tmp_path / "hangs.mp4")  # nobody ever writes into it
    (tmp_path / "list.csv").write_text(
        f"video,x,y,w,h\n{material / '0.mp4'},20,10,16,16\nhangs.mp4,20,10,16,16\n"
    )
    words = ("batch", tmp_path / "list.csv", "--out", tmp_path / "out", "--model", small_bundle)
    how = ("--inference", "onnx", "--workers", 1, "--max-frames", 3, "--timeout", 4)
    done = subprocess.run(
        [sys.executable, "-m", "mixformerv2", *map(str, (*words, *how))],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 11, done.stderr
    lines = (tmp_path / "out/shards/000000/videos.jsonl").read_text().splitlines()
    good, bad = map(json.loads, lines)
    assert (good["status"], good["frames"]) == ("done", 3)
    assert (bad["status"], bad["reasons"]) == ("quarantined", ["it took longer than 4 s"] * 2)
