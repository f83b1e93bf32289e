"""A million frames: memory, cost and clock stay. `MIXFORMERV2_LONG_FRAMES` makes it fewer."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

import pytest
from scripts.long_run import PARTS, long_run

FRAMES = int(os.environ.get("MIXFORMERV2_LONG_FRAMES", "1000000"))


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
def test_the_last_frames_are_as_cheap_as_the_first(
    small_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = long_run(FRAMES, str(small_bundle), "onnx")
    with capsys.disabled():
        print(f"\n{report}")  # noqa: T201
    assert report.frames == FRAMES
    assert report.drift < 1e-6
    early, late = report.memory[PARTS // 5], max(report.memory[PARTS // 5 :])
    assert late - early < 20, "megabytes grow with the frames"
    first, last = (statistics.median(report.cost[part]) for part in (slice(1, 6), slice(-5, None)))
    assert last < 2 * first, "a frame costs more and more of the processor"
