"""Fine-tuning a shipped model on an odd domain helps there, and forgets little of the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = PROJECT / "scripts" / "adapt_domain.py"
MIXED = "own videos and the bank"


@pytest.mark.slow
def test_it_adapts_without_forgetting(tmp_path: Path) -> None:
    validation = tmp_path / "validation"
    make = PROJECT / "scripts" / "make_validation.py"
    subprocess.run([sys.executable, str(make), "--out", str(validation)], check=True)
    subprocess.run(
        [
            sys.executable, str(SCRIPT), "--steps", "600", "--out", str(tmp_path / "runs"),
            "--validation", str(validation), "--arms", MIXED,
        ],
        check=True,
    )  # fmt: skip
    figures = json.loads((tmp_path / "runs" / "figures.json").read_text(encoding="utf-8"))
    before, after = figures["before"], figures[MIXED]
    assert after["odd"] > before["odd"]
    assert after["rest"] > before["rest"] - 0.03
