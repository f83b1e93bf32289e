"""Clips of a few frames and manifests of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mixformerv2.batch import Settings
from tests.clips import write_clip

Manifest = Callable[..., str]
BOX = "20,10,16,16"


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames."""
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", 6)


@pytest.fixture
def manifest(tmp_path: Path, clip: Path) -> Manifest:
    """Writes `list.csv` of rows, and the clips that they name."""

    def write(*rows: str, clips: tuple[str, ...] = ("a", "b", "c", "d", "e")) -> str:
        for name in clips:
            (tmp_path / f"{name}.mp4").write_bytes(clip.read_bytes())
        text = "\n".join(["video,x,y,w,h,start,id,camera", *rows])
        (tmp_path / "list.csv").write_text(text + "\n", encoding="utf-8")
        return str(tmp_path / "list.csv")

    return write


@pytest.fixture
def settings(small_bundle: Path) -> Settings:
    """Two videos a shard, on the tiny network."""
    return Settings(model=str(small_bundle), inference="onnx", shard_size=2)
