"""Places that refuse results: full disks, folders that cannot be written, no temporary room."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.clips import write_clip

from mixformerv2.errors import OutputError
from mixformerv2.video.address import fetched
from mixformerv2.video.formats import export
from mixformerv2.video.formats.journal import Journal

COUNT = 60


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", COUNT)
    (path.parent / "list.csv").write_text("video,x,y,w,h\nclip.mp4,20,10,16,16\n")
    return path


def full_after(kilobytes: int) -> Callable[[], None]:
    """Let a process write files of so much at most: a disk that fills up."""
    limit = (kilobytes << 10, kilobytes << 10)
    return partial(resource.setrlimit, resource.RLIMIT_FSIZE, limit)


def run(
    *words: str | Path, bundle: Path, limit: int | None = None
) -> subprocess.CompletedProcess[str]:
    """The command, on a disk with so many kilobytes left."""
    return subprocess.run(
        [sys.executable, "-m", "mixformerv2", *map(str, words), "--model", str(bundle)],
        capture_output=True, text=True, check=False, timeout=250,
        preexec_fn=None if limit is None else full_after(limit),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["out.mp4", "out.csv"])
def test_a_disk_that_fills_up_while_tracking(
    tmp_path: Path, clip: Path, small_bundle: Path, name: str
) -> None:
    option = "--out" if name.endswith("mp4") else "--boxes"
    done = run("track", clip, "--box", "20,10,16,16", option, tmp_path / name,
               "--engine", "onnx", bundle=small_bundle, limit=4)  # fmt: skip
    assert done.returncode == 5, done.stderr
    (sentence,) = done.stderr.splitlines()
    assert "cannot be written any further: File too large" in sentence
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert json.loads(lines[1])["frame"] == 0  # what was written can be used


def test_a_disk_that_fills_up_in_a_batch_is_gone_on_with_later(
    tmp_path: Path, clip: Path, small_bundle: Path
) -> None:
    words = ("batch", clip.parent / "list.csv", "--out", tmp_path / "out", "--inference", "onnx")
    done = run(*words, bundle=small_bundle, limit=4)
    assert done.returncode == 5, done.stderr
    assert "cannot be written" in done.stderr
    assert not list((tmp_path / "out").glob("shards/*"))
    done = run(*words, bundle=small_bundle)
    assert done.returncode == 0, done.stderr
    assert f"{COUNT} frames" in done.stdout


def test_a_disk_that_fills_up_in_the_middle_of_a_csv(
    tmp_path: Path, clip: Path, small_bundle: Path
) -> None:
    """Journals of 8 KB have room, the table of four videos has not."""
    for number in range(4):
        shutil.copy(clip, tmp_path / f"{number}.mp4")
    rows = [f"{number}.mp4,20,10,16,16" for number in range(4)]
    (tmp_path / "list.csv").write_text("\n".join(["video,x,y,w,h", *rows]))
    words = ("batch", tmp_path / "list.csv", "--out", tmp_path / "out", "--inference", "onnx")
    done = run(*words, bundle=small_bundle, limit=12)
    assert done.returncode == 5, done.stderr
    (sentence,) = done.stderr.splitlines()
    assert "results cannot be written: File too large" in sentence
    (table,) = (tmp_path / "out").glob("work/*/results.csv")
    assert table.stat().st_size == 12 << 10  # it broke here, and no journal did
    assert not list((tmp_path / "out").glob("shards/*"))
    done = run(*words, bundle=small_bundle)
    assert done.returncode == 0, done.stderr
    (table,) = (tmp_path / "out").glob("shards/*/results.csv")
    assert len(table.read_text().splitlines()) == 1 + 4 * COUNT


def test_a_disk_that_fills_up_while_a_csv_is_made_of_a_journal(
    tmp_path: Path, clip: Path, small_bundle: Path
) -> None:
    words = ("track", clip, "--box", "20,10,16,16", "--engine", "onnx", "--boxes")
    done = run(*words, tmp_path / "out.jsonl", bundle=small_bundle)
    assert done.returncode == 0, done.stderr
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 10, before[1]))
        with pytest.raises(OutputError, match="File too large"):
            export(Journal(tmp_path / "out.jsonl"), tmp_path / "out.csv", "csv")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    export(Journal(tmp_path / "out.jsonl"), tmp_path / "out.csv", "csv")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + COUNT


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="/proc refuses files even to root")
@pytest.mark.parametrize(
    "words",
    [
        ("track", "CLIP", "--box", "20,10,16,16", "--boxes", "/proc/out.csv", "--engine", "onnx"),
        ("batch", "LIST", "--out", "/proc/out", "--inference", "onnx"),
    ],
)
def test_a_folder_that_cannot_be_written(
    clip: Path, small_bundle: Path, words: tuple[str, ...]
) -> None:
    names = {"CLIP": clip, "LIST": clip.parent / "list.csv"}
    done = run(*(names.get(word, word) for word in words), bundle=small_bundle)
    assert done.returncode == 5, done.stderr
    (sentence,) = done.stderr.splitlines()
    assert "/proc/out" in sentence
    assert "cannot be written" in sentence


def test_no_room_for_temporary_files(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

    handler = partial(Quiet, directory=str(clip.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}/clip.mp4"
        with fetched(address) as copy:
            assert Path(copy).read_bytes() == clip.read_bytes()
        assert not Path(copy).exists()
        with monkeypatch.context() as full:
            full.setattr(tempfile, "tempdir", "/proc")
            with pytest.raises(OutputError, match="set TMPDIR"):
                fetched(address).__enter__()
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
            with pytest.raises(OutputError, match="set TMPDIR"):
                fetched(address).__enter__()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            server.shutdown()
            thread.join()
