"""What a user of the toolkit does: `vot init`, `vot test`, `vot evaluate`, `vot analysis`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import cv2
import pytest

from mixformerv2.cli.main import main
from tests.doubles import moving_square

VOT = Path(os.environ.get("MIXFORMERV2_VOT", "vot"))
FRAMES = 40
STACK = """
title: small
experiments:
  baseline:
    type: multistart
    analyses:
      - {type: multistart_eao_score, name: eao, low: 5, high: 35}
      - {type: multistart_average_ar, name: ar}
"""
TRACKERS = ("t", "still")


def vot(*words: str, place: Path) -> str:
    """What the toolkit prints; it must end well."""
    run = subprocess.run(
        [str(VOT), *words], cwd=place, capture_output=True, text=True, check=False, timeout=540
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    return run.stdout + run.stderr


def write_sequence(folder: Path) -> None:
    """A square that goes right by two pixels a frame, as the toolkit has its sequences."""
    (folder / "color").mkdir(parents=True)
    frame = moving_square()
    rows, anchors = [], []
    for number in range(FRAMES):
        picture = cv2.resize(frame(number), None, fx=2, fy=2)
        cv2.imwrite(str(folder / "color" / f"{number + 1:08d}.jpg"), picture)
        rows.append(f"{2 * (20 + 2 * number)},80,48,48")
        anchors.append({0: "1", FRAMES - 1: "-1"}.get(number, "0"))
    (folder / "groundtruth.txt").write_text("\n".join(rows) + "\n")
    (folder / "anchor.value").write_text("\n".join(anchors) + "\n")
    (folder / "sequence").write_text(
        "name=square\nfps=30\nformat=default\nchannel.default=color\n"
        "channels.color=color/%08d.jpg\nwidth=320\nheight=240\n"
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a small stack, one sequence and two trackers."""
    place = tmp_path_factory.mktemp("vot")
    write_sequence(place / "sequences" / "square")
    (place / "sequences" / "list.txt").write_text("square\n")
    (place / "small.yaml").write_text(STACK)
    (place / "config.yaml").write_text("stack: small.yaml\nregistry:\n- ./trackers.ini\n")
    (place / "trackers.ini").write_text("[other]\nlabel = other\nprotocol = trax\ncommand = x\n")
    assert main(["vot", "init", *TRACKERS, "--workspace", str(place), "--threads", "1"]) == 0
    return place


def test_the_toolkit_finds_the_tracker_well_behaved(workspace: Path) -> None:
    assert "Test concluded successfuly" in vot("test", "t", place=workspace)
    assert "[other]" in (workspace / "trackers.ini").read_text()


def test_accuracy_robustness_and_eao(workspace: Path) -> None:
    vot("evaluate", *TRACKERS, place=workspace)
    vot("analysis", *TRACKERS, "--format", "json", "--name", "found", place=workspace)
    found = json.loads((workspace / "analysis" / "found.json").read_text())
    scores, accuracies = found["results"]["baseline"]["results"]  # a row for each tracker
    order = list(found["trackers"])
    assert sorted(order) == sorted(TRACKERS)
    moving, still = (order.index(name) for name in TRACKERS)
    assert 0 < scores[still][0] < scores[moving][0] <= 1  # EAO
    assert 0.5 < accuracies[moving][0] <= 1
    # The square leaves the box that stands still, which counts as lost then.
    assert accuracies[still][1] < accuracies[moving][1] == 1
