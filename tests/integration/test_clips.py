"""The clips boxed by hand: each row names a clip that is there and a box inside its frame."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from mixformerv2.video.source import open_source

CLIPS = Path(__file__).resolve().parents[1] / "data" / "clips.csv"


def test_every_clip_is_boxed_inside_its_frame(shared: Path) -> None:
    clips = {p.stem: p for p in (shared / "data" / "videos").iterdir() if p.suffix != ".txt"}
    boxes: dict[str, list[tuple[int, float, float, float, float]]] = {}
    with CLIPS.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            assert row["what"]
            x, y, w, h = (float(row[side]) for side in "xywh")
            boxes.setdefault(row["name"], []).append((int(row["frame"]), x, y, w, h))
    assert set(boxes) == set(clips)
    for name, rows in boxes.items():
        with open_source(clips[name]) as source:
            assert source.size is not None
            width, height = source.size
            count = source.count or pytest.fail(f"{name} does not say how long it is")
        for frame, x, y, w, h in rows:
            assert 0 <= frame < count, name
            assert min(w, h) >= 10, name
            assert min(x, y) >= 0, name
            assert x + w <= width, name
            assert y + h <= height, name
