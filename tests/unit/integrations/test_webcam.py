"""The example of a camera, on the demo clip."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
EXAMPLE = PROJECT / "docs" / "examples" / "webcam.py"
DEMO = PROJECT / "src" / "mixformerv2" / "assets" / "demo.mp4"


def test_it_says_which_way_to_turn() -> None:
    command = [sys.executable, str(EXAMPLE), str(DEMO), "--box", "175,137,93,86", "--engine=onnx"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        lines = [json.loads(run.stdout.readline()) for _ in range(4)]
        run.kill()
    assert [line["frame"] for line in lines] == [0, 1, 2, 3]
    assert lines[0]["box"] == [175, 137, 93, 86]
    assert lines[0]["turn"] == pytest.approx([2 * 221.5 / 640 - 1, 0.0])
    assert {line["state"] for line in lines} == {"tracked"}


@pytest.mark.parametrize(
    "words", [["webcam.py", "--box", "1,2,x"], ["client.py", "a.mp4", "1,2,x"]]
)
def test_a_box_that_is_mistyped(words: list[str]) -> None:
    command = [sys.executable, str(EXAMPLE.parent / words[0]), *words[1:]]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 2
    assert "box: invalid numbers value: '1,2,x'" in run.stderr
    assert "Traceback" not in run.stderr


def test_an_error_is_a_sentence() -> None:
    command = [sys.executable, str(EXAMPLE), "no-such-clip.mp4"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 4
    assert "no-such-clip.mp4" in run.stderr
    assert "Traceback" not in run.stderr
