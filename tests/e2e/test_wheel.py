"""The wheel, installed into an empty environment and used from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
MEGABYTE = 1_000_000

TRACK = """
import importlib.util
import mixformerv2 as mf
assert importlib.util.find_spec("torch") is None, "the environment was meant to be without it"
from mixformerv2.video.source import open_source
from pathlib import Path
assets = Path(mf.__file__).parent / "assets"
rows = (assets / "demo.csv").read_text().split()[1:]
truth = [tuple(float(v) for v in row.split(",")[1:]) for row in rows]
results = list(mf.track(assets / "demo.mp4", box=truth[0]))
assert len(results) == len(truth)
print(mf.__file__)
print(sum(mf.iou(r.box, t) for r, t in zip(results, truth)) / len(truth))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `make dist` builds it."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(PROJECT), cwd=out)
    (file,) = out.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment that holds the wheel and what it asks for, nothing more."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", str(folder), cwd=folder)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(
        str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", str(wheel),
        cwd=folder,
    )  # fmt: skip
    return python


def test_the_wheel_holds_what_it_should(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(n for n in names if n.endswith("dist-info/METADATA"))).decode()
    assert "mixformerv2/py.typed" in names
    for asset in ("demo.mp4", "demo.csv"):
        assert f"mixformerv2/assets/{asset}" in names
    licences = [name for name in names if "dist-info/licenses" in name]
    for model in ("t", "t224", "t_free"):
        for file in ("config.json", "template.onnx", "search.onnx", "MODEL_CARD.md"):
            assert f"mixformerv2/assets/{model}/{file}" in names
        assert [name for name in licences if name.endswith(f"assets/{model}/LICENSE")]
    assert not [name for name in names if name.endswith("training.safetensors")]
    assert not [name for name in names if name.startswith("tests")]
    assert "License-Expression: MIT AND LicenseRef-mixformerv2-research-weights" in metadata
    assert wheel.stat().st_size < 60 * MEGABYTE


def test_an_installed_wheel_tracks_from_another_folder(python: Path, tmp_path: Path) -> None:
    where, overlap = run(str(python), "-c", TRACK, cwd=tmp_path).split()
    assert Path(where).is_relative_to(python.parents[1])
    assert float(overlap) > 0.5


def test_an_installed_command_makes_the_demo(python: Path, tmp_path: Path) -> None:
    printed = run(str(python.with_name("mixformerv2")), "demo", "--out", "there", cwd=tmp_path)
    assert "mean IoU" in printed
    (video,) = (tmp_path / "there").glob("*.mp4")
    assert video.stat().st_size > 0.1 * MEGABYTE


def run(*command: str, cwd: Path) -> str:
    """What a command prints, without the paths of this clone."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, f"{command[:4]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout
