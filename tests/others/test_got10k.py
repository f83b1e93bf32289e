"""The got10k toolkit (0.1.3) runs our tracker through its experiment and reports on it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from got10k.experiments import ExperimentGOT10k
from got10k.trackers import Tracker as Base
from numpy.typing import NDArray

from mixformerv2 import Tracker
from mixformerv2.integrations.got10k import got10k_tracker


@pytest.fixture
def root(tmp_path: Path, frames: list[NDArray[np.uint8]], truth: list[tuple[float, ...]]) -> Path:
    """The validation part of GOT-10k with one video: the start of the demo clip."""
    folder = tmp_path / "set" / "val" / "GOT-10k_Val_000001"
    folder.mkdir(parents=True)
    (folder.parent / "list.txt").write_text(f"{folder.name}\n")
    for number, frame in enumerate(frames, 1):
        # The toolkit looks for .jpg, PIL at the content: so both trackers see the same pixels.
        (folder / f"{number:08d}.jpg").write_bytes(cv2.imencode(".png", frame)[1].tobytes())
    rows = [",".join(str(value) for value in box) for box in truth[: len(frames)]]
    (folder / "groundtruth.txt").write_text("\n".join(rows) + "\n")
    for name, value in (("absence", 0), ("cover", 8), ("cut_by_image", 0)):
        (folder / f"{name}.label").write_text(f"{value}\n" * len(frames))
    height, width = frames[0].shape[:2]
    (folder / "meta_info.ini").write_text(
        "[METAINFO]\nurl: none\nbegin: 00:00:00\nend: 00:00:01\nanno_fps: 10Hz\n"
        "object_class: toy\nmotion_class: turn\nmajor_class: thing\nroot_class: thing\n"
        f"motion_adverb: slowly\nresolution: ({width}, {height})\n"
    )
    return tmp_path / "set"


# Its plots leave figures open and use names that matplotlib wants to give up.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::PendingDeprecationWarning")
def test_the_experiment_of_the_toolkit(
    root: Path,
    tmp_path: Path,
    frames: list[NDArray[np.uint8]],
    truth: list[tuple[float, ...]],
) -> None:
    tracker = got10k_tracker("t", "onnx", name="ours")
    assert isinstance(tracker, Base)
    experiment = ExperimentGOT10k(
        str(root), "val", str(tmp_path / "results"), str(tmp_path / "reports")
    )
    experiment.run(tracker)
    folder = tmp_path / "results" / "GOT-10k" / "ours" / "GOT-10k_Val_000001"
    # One repetition: the tracker says that it is deterministic.
    ends = sorted(file.name.removeprefix(f"{folder.name}_") for file in folder.iterdir())
    assert ends == ["001.txt", "time.txt"]
    boxes = np.loadtxt(folder / "GOT-10k_Val_000001_001.txt", delimiter=",")
    ours = Tracker("t", "onnx")
    first = ours.init(frames[0], truth[0])
    rest = [ours.update(frame) for frame in frames[1:]]
    # The toolkit writes three decimals. RGB pictures as PIL gives them, BGR ones: the same boxes.
    np.testing.assert_allclose(boxes, [r.box for r in (first, *rest)], atol=6e-4)
    experiment.report(["ours"])
    report = json.loads(
        (tmp_path / "reports" / "GOT-10k" / "ours" / "performance.json").read_text()
    )
    assert report["ours"]["overall"]["ao"] > 0.5


def test_the_name_is_that_of_the_model(tmp_path: Path) -> None:
    assert got10k_tracker("t", "onnx").name == "mixformerv2-t"
