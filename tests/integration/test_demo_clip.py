"""The demo clip in the package is what its script renders, and its truth is where the cup is."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mixformerv2.video.source import open_source

PROJECT = Path(__file__).resolve().parents[2]
ASSETS = PROJECT / "src" / "mixformerv2" / "assets"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """`scripts/render_demo.py` as a module."""
    spec = importlib.util.spec_from_file_location("render_demo", PROJECT / "scripts/render_demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """`[N, 4]` boxes of demo.csv."""
    with (ASSETS / "demo.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(len(rows)))
    return np.array([[float(row[side]) for side in "xywh"] for row in rows])


def test_the_clip_and_its_truth_fit_together(script: ModuleType, truth: np.ndarray) -> None:
    assert (ASSETS / "demo.mp4").stat().st_size <= 1_000_000
    with open_source(ASSETS / "demo.mp4") as source:
        assert source.size == (script.WIDTH, script.HEIGHT)
        assert source.fps == script.FPS
        assert sum(frame.image is not None for frame in source) == len(truth) == script.FRAMES
    assert (truth[:, :2] >= 0).all()
    assert (truth[:, :2] + truth[:, 2:] <= (script.WIDTH, script.HEIGHT)).all()


def test_the_script_renders_the_clip(script: ModuleType, truth: np.ndarray) -> None:
    scene = script.Scene()
    wanted = {60, 140}
    with open_source(ASSETS / "demo.mp4") as source:
        decoded = {f.index: f.image for f in source if f.index in wanted}
    for frame in wanted:
        np.testing.assert_allclose(scene.truth(frame), truth[frame], atol=0.006)  # two digits
        rendered = scene.frame(frame)[..., ::-1].astype(float)
        error = np.abs(rendered - decoded[frame].astype(float)).mean()
        assert error < 6, f"frame {frame}"  # grey levels; H.264 loses about 3


def test_the_story_holds(script: ModuleType, truth: np.ndarray) -> None:
    """The cup moves, grows by half at least, turns, and is half hidden once."""
    widths = truth[:, 2]
    assert widths.max() / widths.min() > 1.5
    centres = truth[:, :2] + truth[:, 2:] / 2
    assert np.linalg.norm(np.diff(centres, axis=0), axis=1).sum() > 500
    turns = [row[4] for row in script.CUP]
    assert max(turns) - min(turns) >= 45

    scene = script.Scene()
    fine = np.diag([script.FINE, script.FINE, 1.0])
    hidden = []
    for frame in range(100, 180, 4):
        cup_place = scene.camera(frame) @ scene.cup_place("cup", frame)
        cup = script.warp(scene.cup.alpha, fine @ cup_place)
        cat = script.warp(scene.cat.alpha, fine @ scene.cat_place(frame))
        hidden.append(float((cup * cat).sum() / cup.sum()))
    assert hidden[0] == hidden[-1] == 0
    assert 0.5 < max(hidden) < 0.7
