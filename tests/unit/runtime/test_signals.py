"""A signal reaches Python's handler after OpenVINO came and went."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mixformerv2.runtime._signals import signal_stack
from mixformerv2.runtime.select import load_engine

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signal stacks of Linux")

SCRIPT = """
import os, signal, sys, threading
from mixformerv2.runtime.select import load_engine
held = [load_engine(sys.argv[1], "openvino")[0]]
# As when another thread happens to collect the garbage: the plugin is unloaded there.
thread = threading.Thread(target=held.clear)
thread.start()
thread.join()
signal.signal(signal.SIGINT, lambda number, frame: print("handled", number))
os.kill(os.getpid(), signal.SIGINT)
"""


@LINUX
@pytest.mark.parametrize("engine", ["auto", "openvino", "openvino-fp32"])
def test_an_engine_leaves_the_signal_stack_alone(small_bundle: Path, engine: str) -> None:
    before = signal_stack()
    load_engine(small_bundle, engine)
    assert signal_stack() == before


@LINUX
def test_ctrl_c_after_the_engine_has_gone(small_bundle: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(small_bundle)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "handled 2\n"), done.stderr
