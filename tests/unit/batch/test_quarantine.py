"""The list of videos without results: a manifest to repair and to run again."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixformerv2.batch import Settings, run_batch
from mixformerv2.batch import run as driver
from tests.unit.batch.conftest import BOX, Inline, Manifest, rows
from tests.unit.batch.test_run import batch_of


def test_what_was_in_quarantine_joins_the_results_once_it_is_repaired(
    tmp_path: Path, manifest: Manifest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "open_cluster", lambda *args: Inline())
    out = tmp_path / "out"
    listed = manifest(
        f"a.mp4,{BOX},,,north",
        f"late.mp4,{BOX},1,7,south",
        "b.mp4,20,10,16,sixteen,2,,east",
        f"c.mp4,{BOX},,3,",
        clips=("a", "b", "c"),
    )
    assert run_batch(listed, out, settings).quarantined == 2
    out.rename(tmp_path / "first")
    again = tmp_path / "first/quarantine.csv"
    late, number = batch_of(again)
    assert ",".join(late) == "video,x,y,w,h,start,id,camera,given,reason"
    assert (late["given"], late["start"], late["id"], late["camera"]) == (
        *("late.mp4", "1", "7", "south"),
    )
    assert (number["h"], number["start"], number["camera"]) == ("sixteen", "2", "east")
    (tmp_path / "late.mp4").write_bytes((tmp_path / "a.mp4").read_bytes())
    again.write_text(again.read_text().replace(",sixteen,", ",16,"))
    assert run_batch(str(again), out, settings).quarantined == 0
    found = {(r["video"], r["target"], r["tags"]) for r in rows(tmp_path / "first")}
    found |= {(r["video"], r["target"], r["tags"]) for r in rows(out)}
    assert found == {
        ("a.mp4", "1", '{"camera": "north"}'),
        ("late.mp4", "7", '{"camera": "south"}'),
        ("b.mp4", "1", '{"camera": "east"}'),
        ("c.mp4", "3", ""),
    }
