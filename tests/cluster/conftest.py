"""What needs Ray and an S3 server: run by `make test-cluster`, in an environment of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mixformerv2.cli.main import main
from tests.clips import write_clip
from tests.unit.data.conftest import bank_folder  # noqa: F401

VIDEOS = 6
FRAMES = 40

collect_ignore_glob = [] if os.environ.get("MIXFORMERV2_CLUSTER") else ["test_*.py"]

Batch = Callable[..., dict[str, bytes]]


def results(out: Path) -> dict[str, bytes]:
    """Every table of results."""
    return {p.parent.name: p.read_bytes() for p in (out / "shards").glob("*/results.csv")}


def words(manifest: Path | str, out: Path) -> list[str]:
    """The command that all engines are compared by."""
    how = ("--inference", "onnx", "--shard-size", "1")
    return ["batch", str(manifest), "--out", str(out), *how]


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with videos and `list.csv`."""
    folder = tmp_path_factory.mktemp("videos")
    clip = write_clip(folder / "0.mp4", FRAMES).read_bytes()
    for number in range(1, VIDEOS):
        (folder / f"{number}.mp4").write_bytes(clip)
    rows = [f"{number}.mp4,20,10,16,16" for number in range(VIDEOS)]
    (folder / "list.csv").write_text("\n".join(["video,x,y,w,h", *rows]))
    return folder


@pytest.fixture(scope="session")
def by_local_processes(
    material: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """What the default engine answers."""
    out = tmp_path_factory.mktemp("local") / "out"
    assert main(words(material / "list.csv", out)) == 0
    found = results(out)
    assert len(found) == VIDEOS
    return found
