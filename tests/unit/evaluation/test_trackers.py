"""What the text of a tracker is: its label, its kind, and where it lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixformerv2.evaluation import TrackerSpec


@pytest.mark.parametrize(
    ("spec", "label"),
    [
        ("t", "t"),
        ("some/folder/mine", "mine"),
        (".", Path.cwd().name),
        ("opencv:nano:some/where", "opencv-nano"),
        ("python:tests.unit.evaluation.test_run:Plain", "Plain"),
        ("still", "still"),
    ],
)
def test_labels(spec: str, label: str) -> None:
    assert TrackerSpec(spec).label == label


def test_a_folder_with_an_equals_sign_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=1e-4" / "bundle").mkdir(parents=True)
    spec = TrackerSpec("lr=1e-4/bundle")  # as `train --out lr=1e-4` evaluates it
    assert (spec.label, spec.what, spec.kind) == ("bundle", "lr=1e-4/bundle", "bundle")
    assert (TrackerSpec("lr=t").label, TrackerSpec("lr=t").what) == ("lr", "t")
