"""No door needs the library of another, nor its own before it is opened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import mixformerv2.integrations

LIBRARIES = ("cvat_sdk", "fiftyone", "got10k", "label_studio_ml", "supervision", "torch", "PIL")
DOORS = sorted(
    file.stem
    for file in Path(mixformerv2.integrations.__path__[0]).glob("*.py")
    if file.stem != "__init__"
)


def test_all_doors_open_without_any_of_the_libraries() -> None:
    assert len(DOORS) == 6
    code = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({LIBRARIES!r}))\n"  # importing None is an ImportError
        f"for name in {DOORS!r}:\n"
        "    importlib.import_module(f'mixformerv2.integrations.{name}')\n"
        "from mixformerv2.integrations.supervision import to_detections\n"
        "try:\n"
        "    to_detections({})\n"
        "except ImportError as error:\n"
        "    print(error.name)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["supervision"]
