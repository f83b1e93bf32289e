"""The C++ example finds the boxes that Python finds. Run by `make test-cpp`, which builds it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

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


def like_t(folder: Path, **settings: Any) -> Path:
    """The graphs of the shipped bundle with other settings."""
    bundle = find_bundle("t")
    for graph in ("template.onnx", "search.onnx"):
        (folder / graph).symlink_to(bundle / graph)
    config = read_config(bundle)
    write_config(folder, replace(config, tracker=replace(config.tracker, **settings)))
    return folder


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
@pytest.mark.parametrize("interval", [0, 5])
def test_boxes_are_those_of_python(
    program: str, engine: str, interval: int, tmp_path: Path
) -> None:
    """As shipped, whose template never changes, and with one that does."""
    clip, bundle = find_bundle("t").parent / "demo.mp4", like_t(tmp_path, update_interval=interval)
    tracker = Tracker(bundle, engine=engine)
    expected, names = [BOX], []
    with open_source(clip) as source:
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
    bundle = like_t(tmp_path)
    licence = {"weights": 'not "stated", null', "file": None}
    config = replace(read_config(bundle), licence=licence, provenance={"from": [None, "\\"]})
    write_config(bundle, config)
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((90, 90, 3), np.uint8))
    call = [PROGRAM, str(tmp_path), "1,2,30,40", str(tmp_path / "0.png")]
    done = subprocess.run(call, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1.0000,2.0000,30.0000,40.0000,1.0000\n", "")


def start(bundle: Path, box: str) -> subprocess.CompletedProcess[str]:
    """One black picture of 90 x 80 pixels."""
    cv2.imwrite(str(bundle / "0.png"), np.zeros((80, 90, 3), np.uint8))
    call = [PROGRAM, str(bundle), box, str(bundle / "0.png")]
    return subprocess.run(call, capture_output=True, text=True)


@pytest.mark.filterwarnings("ignore:box .* stands out")  # which the program does not say
def test_a_box_is_cut_to_the_picture(tmp_path: Path) -> None:
    bundle = like_t(tmp_path)
    tracker = Tracker(bundle, engine="openvino-fp32")
    tracker.init(np.zeros((80, 90, 3), np.uint8), (-5, 60, 30, 40))
    assert tracker.state is not None
    assert tracker.state.box.xywh == (0, 60, 25, 20)
    assert start(bundle, "-5,60,30,40").stdout == "0.0000,60.0000,25.0000,20.0000,1.0000\n"
    done = start(bundle, "90,10,20,20")
    assert (done.returncode, done.stderr) == (1, "error: the box has no part inside the picture\n")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"mirror": True}, "mirror; set it to 0 instead of 1"),
        ({"search_growth": 1.5}, "search_growth; set it to 1 instead of 1.5"),
        ({"search_lead": 0.5}, "search_lead; set it to 0 instead of 0.5"),
    ],
)
def test_a_setting_that_it_does_not_have_is_refused(
    tmp_path: Path, setting: dict[str, Any], said: str
) -> None:
    done = start(like_t(tmp_path, **setting), "1,2,30,40")
    assert done.returncode == 1
    assert (
        done.stderr == f"error: this program has no {said} in config.json, or track with Python\n"
    )


def test_a_setting_of_a_later_version_is_refused(tmp_path: Path) -> None:
    bundle = like_t(tmp_path)
    content = json.loads((bundle / "config.json").read_text())
    content["tracker"]["sharper"] = 1
    (bundle / "config.json").write_text(json.dumps(content))
    assert "does not know the setting sharper" in start(bundle, "1,2,30,40").stderr


def test_it_says_what_is_wrong(tmp_path: Path) -> None:
    done = subprocess.run([PROGRAM, str(tmp_path), "1,2,3,4", "x.png"], capture_output=True)
    assert done.returncode == 1
    assert b"config.json is missing" in done.stderr
    assert subprocess.run([PROGRAM], capture_output=True).returncode == 2
