"""Samples for FiftyOne, by a stand-in for it; `make test-integrations` tries the library itself."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mixformerv2 import TrackResult
from mixformerv2.integrations.fiftyone import to_sample
from mixformerv2.video.formats.journal import JournalWriter, RunHeader


class Sample(SimpleNamespace):
    frames: dict[int, Any]

    def __init__(self, filepath: str) -> None:
        super().__init__(filepath=filepath, frames={})


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("fiftyone")
    for name in ("Detection", "Detections", "Frame"):
        setattr(module, name, SimpleNamespace)
    module.Sample = Sample  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fiftyone", module)


@pytest.mark.parametrize(
    ("named", "given", "names"),
    [
        ((), None, ["object", "object"]),
        (("cup",), None, ["cup", "cup"]),
        (("cup", "dog"), None, ["cup", "dog"]),
        (("cup", "dog"), "thing", ["thing", "thing"]),
    ],
)
def test_objects_have_the_names_of_their_run(
    tmp_path: Path, named: tuple[str, ...], given: str | None, names: list[str]
) -> None:
    path = tmp_path / "run.jsonl"
    with JournalWriter(path, RunHeader("a.mp4", 200, 100, labels=named)) as out:
        for number in (1, 2):
            out.write(number, TrackResult((20, 10, 40, 50), 0.9, "tracked", 0, 0.0))
    sample = to_sample("a.mp4", path, label=given)
    found = sample.frames[1].tracks.detections
    assert [one.label for one in found] == names
    assert found[0].bounding_box == [0.1, 0.1, 0.2, 0.5]
