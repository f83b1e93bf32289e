"""The driver: exactly once, quarantine, restarts. Workers run here in this very process."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from mixformerv2.batch import Settings, run_batch
from mixformerv2.batch import run as driver
from mixformerv2.batch.cluster import Died
from mixformerv2.batch.shard import Job, run_shard
from mixformerv2.errors import ConfigError, DataError, EngineError, OutputError
from mixformerv2.runtime.base import EngineInfo
from tests.unit.batch.conftest import BOX, Batch, Inline, Manifest, rows


def doing(job: Job, place: int, why: str | None = None, beside: tuple[int, ...] = ()) -> Died:
    """Leave what a worker leaves that dies on a video."""
    job.work.mkdir(parents=True)
    (job.work / "doing.json").write_text(json.dumps({"place": place, "beside": beside, "why": why}))
    return Died("killed")


def videos(folder: Path) -> list[dict[str, object]]:
    files = sorted(folder.glob("shards/*/videos.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_a_plan_of_before_an_option_was_there_goes_on_without_it(
    tmp_path: Path, manifest: Manifest, batch: Batch
) -> None:
    listed = manifest(f"a.mp4,{BOX},,,")
    batch(listed, Inline())
    plan = tmp_path / "out/plan/run.json"
    content = json.loads(plan.read_text())
    del content["settings"]["thin"]
    plan.write_text(json.dumps(content))
    batch(listed, idle := Inline())
    assert idle.jobs == []


def test_a_second_run_does_only_what_is_missing(
    tmp_path: Path, manifest: Manifest, batch: Batch
) -> None:
    import shutil

    listed = manifest(*(f"{name}.mp4,{BOX},,," for name in "abcde"))
    batch(listed, Inline())
    before = {p: p.read_bytes() for p in (tmp_path / "out/shards").rglob("*") if p.is_file()}
    shutil.rmtree(tmp_path / "out/shards/000001")
    (tmp_path / "out/work/000001.dead").mkdir(parents=True)
    totals = batch(listed, again := Inline())
    assert [job.shard for job in again.jobs] == [1]
    assert totals.done == 5
    after = {p: p.read_bytes() for p in (tmp_path / "out/shards").rglob("*") if p.is_file()}
    assert after.keys() == before.keys()
    assert {p.name for p in after if after[p] != before[p]} <= {"timing.json"}
    assert not list((tmp_path / "out").glob("work/*"))
    batch(listed, idle := Inline())
    assert idle.jobs == []


def test_a_video_that_fails_twice_is_put_into_quarantine_and_the_rest_goes_on(
    tmp_path: Path, manifest: Manifest, batch: Batch
) -> None:
    listed = manifest(
        f"a.mp4,{BOX},,,",
        f"gone<b>.mp4,{BOX},,,",
        "b.mp4,500,500,10,10,,,",
        f"c.mp4,{BOX},3,1,",
        f"c.mp4,{BOX},99,,",
        "d.mp4,1,2,3,x,,,",
        f"e.mp4,{BOX},,4,",
        f"e.mp4,{BOX},,4,",
    )
    totals = batch(listed, Inline())
    assert (totals.done, totals.quarantined, totals.missing) == (1, 5, 0)
    reasons = {one["video"]: one["reasons"] for one in videos(tmp_path / "out")}
    assert all(len(why) == 2 for name, why in reasons.items() if name != "a.mp4")  # type: ignore[arg-type]
    text = json.dumps(reasons)
    for sentence in ("no such file", "outside the picture", "before the start of target 2 (99)"):
        assert sentence in text
    assert "row 6 of the manifest" in text
    assert "two targets have the same id" in text
    assert {row["video"] for row in rows(tmp_path / "out")} == {"a.mp4"}
    page = (tmp_path / "out/index.html").read_text()
    assert "gone&lt;b&gt;.mp4" in page
    # The list of the quarantined is a manifest itself.
    again = batch_of(tmp_path / "out/quarantine.csv")
    assert len(again) == 7


def batch_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_worker_that_dies_repeats_its_shard_alone(
    tmp_path: Path, manifest: Manifest, batch: Batch
) -> None:
    listed = manifest(*(f"{name}.mp4,{BOX},,," for name in "abcde"))
    deaths = iter([None, 1])  # with the second job, which is shard 1
    cluster = Inline(lambda job: doing(job, 0) if job.shard == next(deaths, None) else None)
    totals = batch(listed, cluster)
    assert [job.shard for job in cluster.jobs] == [0, 1, 2, 1]
    assert (totals.done, totals.quarantined) == (5, 0)
    assert len(rows(tmp_path / "out")) == 5 * 6


def test_a_video_that_kills_two_workers_is_put_into_quarantine(
    tmp_path: Path, manifest: Manifest, batch: Batch
) -> None:
    listed = manifest(*(f"{name}.mp4,{BOX},,," for name in "abcd"))

    def fate(job: Job) -> Died | None:
        return (
            doing(job, 1, "it is poison")
            if len(job.crashes.get(1, ())) < 2 and not job.shard
            else None
        )

    totals = batch(listed, cluster := Inline(fate))
    assert [job.shard for job in cluster.jobs] == [0, 1, 0, 0]
    assert (totals.done, totals.quarantined) == (3, 1)
    (bad,) = [one for one in videos(tmp_path / "out") if one["status"] == "quarantined"]
    assert (bad["video"], bad["reasons"]) == ("b.mp4", ["it is poison"] * 2)


def test_deaths_of_an_earlier_run_count(tmp_path: Path, manifest: Manifest, batch: Batch) -> None:
    listed = manifest(*(f"{name}.mp4,{BOX},,," for name in "ab"))

    def first(job: Job) -> Died | None:
        if job.crashes:
            raise KeyboardInterrupt  # the driver is stopped after one death
        return doing(job, 0)

    with pytest.raises(KeyboardInterrupt):
        batch(listed, Inline(first))
    with (tmp_path / "out/crashes.jsonl").open("a") as file:
        file.write('{"shard": 0, "pl')  # a line cut off by the end of the world
    totals = batch(listed, Inline(lambda job: doing(job, 0) if len(job.crashes[0]) < 2 else None))
    assert (totals.done, totals.quarantined) == (1, 1)


def test_machines_that_go_away_are_no_fault_of_a_video(
    tmp_path: Path, manifest: Manifest, batch: Batch
) -> None:
    listed = manifest(*(f"{name}.mp4,{BOX},,," for name in "ab"))
    deaths = iter(range(3))

    def fate(job: Job) -> Died | None:
        return None if next(deaths, None) is None else replace(doing(job, 0), blame=False)

    totals = batch(listed, Inline(fate))
    assert (totals.done, totals.quarantined) == (2, 0)
    assert not (tmp_path / "out/crashes.jsonl").exists()


def test_a_shard_that_no_worker_survives_is_left_out_and_the_rest_goes_on(
    manifest: Manifest, batch: Batch
) -> None:
    listed = manifest(*(f"{name}.mp4,{BOX},,," for name in "abcd"))
    away = Inline(lambda job: None if job.shard else replace(doing(job, 0), blame=False))
    totals = batch(listed, away)
    assert (totals.done, totals.missing) == (2, 1)
    assert batch(listed, Inline()).missing == 0


def test_workers_that_die_at_once_end_the_run_with_a_sentence(
    manifest: Manifest, batch: Batch
) -> None:
    listed = manifest(f"a.mp4,{BOX},,,")
    with pytest.raises(EngineError, match="die before their first video"):
        batch(listed, Inline(lambda job: Died("killed")))


def test_a_death_among_several_videos_is_tried_alone_until_it_has_a_name(
    tmp_path: Path, manifest: Manifest, batch: Batch
) -> None:
    listed = manifest(*(f"{name}.mp4,{BOX},,," for name in "abcde"))

    def fate(job: Job) -> Died | None:
        if 2 in job.suspects:  # alone now
            return doing(job, 2) if len(job.crashes.get(2, ())) < 2 else None
        return doing(job, 2, beside=(0, 1))

    totals = batch(listed, cluster := Inline(fate), streams=3, shard_size=5)
    assert [job.suspects for job in cluster.jobs] == [(), (0, 1, 2), (0, 1, 2), (0, 1, 2)]
    assert (totals.done, totals.quarantined) == (4, 1)
    (bad,) = [one for one in videos(tmp_path / "out") if one["status"] == "quarantined"]
    assert (bad["video"], bad["reasons"]) == ("c.mp4", ["killed"] * 2)


def test_several_videos_at_once_give_what_each_alone_gives(
    tmp_path: Path, manifest: Manifest, batch: Batch
) -> None:
    """Rows in the same order too, whichever video ends first, and a bad one harms none."""
    more = (f"b.mp4,{BOX},3,,", "gone.mp4,1,2,3,4,,,", f"c.mp4,{BOX},5,,", f"d.mp4,{BOX},1,,")
    listed = manifest(f"a.mp4,{BOX},,,", f"a.mp4,{BOX},2,,", *more)
    plain = batch(listed, Inline(), shard_size=8)
    before, said = rows(tmp_path / "out"), videos(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "one")
    together = batch(listed, Inline(), shard_size=8, streams=3)
    after = rows(tmp_path / "out")
    assert (together.done, together.quarantined) == (plain.done, plain.quarantined) == (4, 1)
    assert videos(tmp_path / "out") == said
    numbers = ("time", "x", "y", "w", "h", "score")
    for old, new in zip(before, after, strict=True):
        for name in numbers:
            assert float(new.pop(name)) == pytest.approx(float(old.pop(name)), abs=1e-3)
        assert new == old
    shard = tmp_path / "out/shards/000000"
    assert {file.name for file in shard.iterdir()} == {"results.csv", "videos.jsonl", "timing.json"}
    assert batch(listed, Inline(), shard_size=8, streams=2).done == 4  # decides no result


def test_results_of_another_question_are_not_continued(manifest: Manifest, batch: Batch) -> None:
    listed = manifest(f"a.mp4,{BOX},,,", f"b.mp4,{BOX},,,")
    batch(listed, Inline())
    with pytest.raises(ConfigError, match="other max_frames"):
        batch(listed, Inline(), max_frames=3)
    batch(listed, Inline(), timeout=100.0, threads=2)  # decide no result
    with pytest.raises(ConfigError, match="other manifest"):
        batch(manifest(f"b.mp4,{BOX},,,"), Inline())


def test_an_empty_manifest_and_a_plan_that_is_damaged_are_refused(
    tmp_path: Path, manifest: Manifest, batch: Batch
) -> None:
    with pytest.raises(DataError, match="holds no video"):
        batch(manifest(), Inline())
    batch(manifest(f"a.mp4,{BOX},,,"), Inline())
    (tmp_path / "out/plan/run.json").write_text("{")
    with pytest.raises(DataError, match="plan cannot be read"):
        batch(manifest(f"a.mp4,{BOX},,,"), Inline())


def test_two_drivers_in_one_folder_are_one_too_many(
    tmp_path: Path, manifest: Manifest, batch: Batch
) -> None:
    listed = manifest(f"a.mp4,{BOX},,,")

    def second(job: Job) -> None:
        with pytest.raises(OutputError, match="another batch is at work"):
            batch(listed, Inline())

    batch(listed, cluster := Inline(second))
    assert cluster.jobs


def test_what_was_finished_by_another_worker_stays(
    tmp_path: Path, manifest: Manifest, batch: Batch
) -> None:
    listed = manifest(f"a.mp4,{BOX},,,")
    late: list[Job] = []
    batch(listed, Inline(late.append))
    before = (late[0].published / "timing.json").stat().st_mtime_ns
    assert run_shard(replace(late[0], token="late")) == 1
    assert (late[0].published / "timing.json").stat().st_mtime_ns == before
    assert not late[0].work.exists()


@pytest.mark.parametrize(
    ("engine", "device", "share", "given"),
    [
        ("local", "cpu", 0.0, 0.0),
        ("local", "cpu", 0.5, 0.0),
        ("local", "cuda", 0.0, 1.0),
        ("local", "tensorrt", 0.25, 0.25),
        ("ray", "cpu", 0.5, 0.5),
        ("ray", "cuda", 1.0, 1.0),
        ("ray", "cuda", 0.0, None),
    ],
)
def test_the_share_of_a_gpu_that_workers_are_given(
    tmp_path: Path,
    manifest: Manifest,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    engine: str,
    device: str,
    share: float,
    given: float | None,
) -> None:
    asked: list[object] = []

    def opened(*words: object) -> Inline:
        asked.append(words[-1])
        return Inline()

    there = SimpleNamespace(info=EngineInfo("onnx", "fp32", 1, device))
    monkeypatch.setattr(driver, "open_cluster", opened)
    monkeypatch.setattr(driver, "load_tracker", lambda settings: there)
    monkeypatch.setattr(driver, "name_of", lambda info: "onnx")  # workers have no GPU here
    words = (manifest(f"a.mp4,{BOX},,,"), tmp_path / "out", settings)
    if given is None:
        with pytest.raises(ConfigError, match="add --gpus-per-worker 1"):
            run_batch(*words, engine=engine, gpus_per_worker=share)
        return
    assert run_batch(*words, engine=engine, gpus_per_worker=share).done == 1
    assert asked == [given]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"formats": ("xls",)}, "there is no format 'xls'"),
        ({"formats": ()}, "at least one format"),
        ({"shard_size": 0}, "at least 1 video"),
        ({"timeout": 0.0}, "above 0 s"),
        ({"timeout": float("nan")}, "above 0 s"),
        ({"timeout": 1e10}, "at most a year"),
        ({"timeout": float("inf")}, "leave it out for none"),
    ],
)
def test_settings_that_cannot_work(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Settings(**changes)  # type: ignore[arg-type]
