"""What a batch writes: tables of all videos of a shard, and files for label tools."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mixformerv2.errors import ConfigError
from tests.unit.batch.conftest import BOX, Batch, Inline, Manifest, rows


def test_every_target_of_every_video_has_its_rows(
    tmp_path: Path, manifest: Manifest, batch: Batch
) -> None:
    listed = manifest(
        f"a.mp4,{BOX},0,,north", f"b.mp4,{BOX},2,7,", f"c.mp4,{BOX},,,", f"a.mp4,{BOX},4,,north"
    )
    totals = batch(listed, cluster := Inline())
    assert (totals.videos, totals.done, totals.targets, totals.frames) == (3, 3, 4, 6 + 4 + 6)
    assert [job.shard for job in cluster.jobs] == [0, 1]
    found = [(row["video"], row["target"], int(row["frame"])) for row in rows(tmp_path / "out")]
    assert sorted(found) == sorted(
        [("a.mp4", "1", n) for n in range(6)]
        + [("a.mp4", "2", n) for n in range(4, 6)]
        + [("b.mp4", "7", n) for n in range(2, 6)]
        + [("c.mp4", "1", n) for n in range(6)]
    )
    first = rows(tmp_path / "out")[0]
    assert [float(first[name]) for name in "xywh"] == [20, 10, 16, 16]
    assert json.loads(first["tags"]) == {"camera": "north"}
    page = (tmp_path / "out/index.html").read_text()
    assert "3 of 3" in page
    assert "Quarantine" not in page


def test_all_formats_hold_the_same_rows(tmp_path: Path, manifest: Manifest, batch: Batch) -> None:
    import pyarrow.parquet as pq

    listed = manifest(f"a.mp4,{BOX},0,,north", f"b.mp4,{BOX},2,7,")
    batch(listed, Inline(), formats=("csv", "jsonl", "parquet", "mot", "coco"))
    shard = tmp_path / "out/shards/000000"
    lines = [json.loads(line) for line in (shard / "results.jsonl").read_text().splitlines()]
    assert pq.read_table(shard / "results.parquet").to_pylist() == lines
    assert [{name: str(value) for name, value in line.items()} for line in lines] == rows(
        tmp_path / "out"
    )
    assert {path.name for path in shard.iterdir()} >= {"0000-a.mot", "0001-b.mot", "0001-b.json"}


def test_label_tools_get_names_by_the_tag_and_few_keys(
    tmp_path: Path, manifest: Manifest, batch: Batch
) -> None:
    listed = Path(
        manifest(
            *(f"a.mp4,{BOX},0,{number},{name}" for number, name in ((1, "cup"), (3, "cat"))),
            *(f"b.mp4,{BOX},0,{number},cup" for number in (1, 90_000)),
            *(f"c.mp4,{BOX},0,{number},{name}" for number, name in ((1, "cup"), (90_000, "cat"))),
        )
    )
    listed.write_text(listed.read_text().replace("camera", "label"))
    batch(str(listed), Inline(), formats=("cvat", "mot"), thin=1e4)
    names, keys = [], []
    for path in sorted((tmp_path / "out/shards").glob("*/*.xml")):
        tracks = ElementTree.parse(path).getroot().findall("track")
        names.append([track.get("label") for track in tracks])
        keys.append(max(len(track.findall("box")) for track in tracks))
    assert names == [["cup", "cat"], ["cup", "cup"], ["object", "object"]]
    assert max(keys) < 6
    with pytest.raises(ConfigError, match=r"another run \(other thin\)"):
        batch(str(listed), Inline(), formats=("cvat", "mot"))
