"""`mixformerv2 batch`: what its exit codes tell a scheduler."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixformerv2 import batch
from mixformerv2.batch import Totals
from mixformerv2.cli.main import main


@pytest.mark.parametrize("seconds", ["nan", "1e10", "0"])
def test_a_time_limit_that_no_clock_keeps_is_refused(
    tmp_path: Path, seconds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["batch", "list.csv", "--out", str(tmp_path), "--timeout", seconds]) == 2
    assert "the time limit of a video is above 0 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("quarantined", "missing", "code"), [(0, 0, 0), (2, 0, 11), (0, 1, 12), (2, 1, 12)]
)
def test_what_another_run_would_do_has_a_code_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quarantined: int, missing: int, code: int
) -> None:
    totals = Totals(videos=9, quarantined=quarantined, missing=missing)
    monkeypatch.setattr(batch, "run_batch", lambda *words, **how: totals)
    assert main(["batch", "list.csv", "--out", str(tmp_path)]) == code
