"""The C++ example finds the boxes that Python finds. Run by `make test-cpp`, which builds it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mixformerv2 import Tracker
from mixformerv2.video import open_source
from mixformerv2.weights.bundle import find_bundle, read_config, write_config

FRAMES = 40
BOX = (175.08, 136.59, 92.93, 86.37)
PROGRAM = os.environ["MIXFORMERV2_CPP"]
IN_ONNX_RUNTIME = os.environ.get("MIXFORMERV2_CPP_ONNXRUNTIME")


@pytest.mark.parametrize(
    ("program", "engine"),
    [
        pytest.param(PROGRAM, "openvino-fp32", id="openvino"),
        pytest.param(
            IN_ONNX_RUNTIME,
            "onnx",
            id="onnxruntime",
            marks=pytest.mark.skipif(not IN_ONNX_RUNTIME, reason="no headers of ONNX Runtime"),
        ),
    ],
)
def test_boxes_are_those_of_python(program: str, engine: str, tmp_path: Path) -> None:
    bundle = find_bundle("t")
    tracker = Tracker(bundle, engine=engine)
    expected, names = [BOX], []
    with open_source(bundle.parent / "demo.mp4") as source:
        for frame in source:
            if frame.index == FRAMES:
                break
            assert frame.image is not None
            names.append(str(tmp_path / f"{frame.index:03d}.png"))
            cv2.imwrite(names[-1], frame.image)
            if frame.index == 0:
                tracker.init(frame.image, BOX)
            else:
                expected.append(tracker.update(frame.image).box)
    call = [program, str(bundle), ",".join(map(str, BOX)), *names]
    done = subprocess.run(call, check=True, capture_output=True, text=True)
    got = np.array([[float(v) for v in line.split(",")] for line in done.stdout.splitlines()])
    assert got.shape == (FRAMES, 5)
    assert np.abs(got[:, :4] - np.array(expected)).max() <= 0.5
    assert ((got[:, 4] >= 0) & (got[:, 4] <= 1)).all()


def test_a_bundle_whose_licence_has_no_file(tmp_path: Path) -> None:
    """As `convert` and `train` write it: `null` in config.json, which OpenCV 4 does not read."""
    bundle = find_bundle("t")
    for graph in ("template.onnx", "search.onnx"):
        (tmp_path / graph).symlink_to(bundle / graph)
    licence = {"weights": 'not "stated", null', "file": None}
    config = replace(read_config(bundle), licence=licence, provenance={"from": [None, "\\"]})
    write_config(tmp_path, config)
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((90, 90, 3), np.uint8))
    call = [PROGRAM, str(tmp_path), "1,2,30,40", str(tmp_path / "0.png")]
    done = subprocess.run(call, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1.0000,2.0000,30.0000,40.0000,1.0000\n", "")


def test_it_says_what_is_wrong(tmp_path: Path) -> None:
    done = subprocess.run([PROGRAM, str(tmp_path), "1,2,3,4", "x.png"], capture_output=True)
    assert done.returncode == 1
    assert b"config.json is missing" in done.stderr
    assert subprocess.run([PROGRAM], capture_output=True).returncode == 2
