"""Our doors to tools of others, tried with the tools: run by `make test-integrations`.

Each tool has an environment of its own, and `MIXFORMERV2_INTEGRATION` says which file may run in
it. `make test` does not look in here; where a tool is asked for and missing, its tests fail.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2 import TrackResult
from mixformerv2.video import open_source

_ASKED = os.environ.get("MIXFORMERV2_INTEGRATION", "")
collect_ignore = [
    file.name for file in Path(__file__).parent.glob("test_*.py") if file.stem != f"test_{_ASKED}"
]

DEMO = Path(__file__).parents[2] / "src" / "mixformerv2" / "assets" / "demo.mp4"
FIRST = (175.08, 136.59, 92.93, 86.37)
"""The target of the demo clip in its first frame."""


@pytest.fixture(scope="session")
def frames() -> list[NDArray[np.uint8]]:
    """The first pictures of the demo clip, BGR."""
    with open_source(DEMO) as source:
        pictures = [frame.image for frame, _ in zip(source, range(8), strict=False)]
    assert len(pictures) == 8
    return [picture for picture in pictures if picture is not None]


@pytest.fixture(scope="session")
def truth() -> list[tuple[float, ...]]:
    """x, y, w, h of the target in each frame of the demo clip."""
    lines = DEMO.with_suffix(".csv").read_text().splitlines()[1:]
    return [tuple(float(value) for value in line.split(",")[1:]) for line in lines]


@pytest.fixture
def results() -> dict[int, TrackResult]:
    """Three objects in frame 4 of a video of 200 by 100 pixels."""
    return {
        7: TrackResult((10.5, 20.25, 40.0, 30.0), 0.9, "tracked", 4, 0.16),
        2: TrackResult((100.0, 50.0, 20.0, 40.0), 0.45, "uncertain", 4, 0.16),
        9: TrackResult((0.0, 0.0, 10.0, 10.0), 0.05, "lost", 4, 0.16),
    }
