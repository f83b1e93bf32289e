"""The script that makes bundles refuses what it cannot finish before it begins."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch


def test_mistakes_are_a_sentence_before_anything_is_written(
    script: Callable[[str], ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_bundle = script("make_bundle")
    settings, run, out = tmp_path / "mine.yaml", tmp_path / "run", tmp_path / "out"
    settings.write_text(f"{{name: mine, licence: mine, about: {tmp_path / 'mine.md'}}}")
    run.mkdir()
    torch.save({"learner": {}, "average": {}, "step": 1, "stage": "mae"}, run / "checkpoint.pt")
    words = ["make_bundle.py", str(run), "--settings", str(settings), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    assert make_bundle.main() == 2
    assert "mine.md, which is no file here" in capsys.readouterr().err
    (tmp_path / "mine.md").write_text("Mine.")
    assert make_bundle.main() == 1
    assert "a backbone and no tracker (stage mae)" in capsys.readouterr().err
    assert not out.exists()
