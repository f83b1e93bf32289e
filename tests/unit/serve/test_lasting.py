"""What a server keeps, and for how long: restarts, lost folders, full disks, old jobs."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from mixformerv2.box import Box
from mixformerv2.errors import ConfigError
from mixformerv2.serve.folder import JobFolder, new_id, open_root
from mixformerv2.serve.job import Job
from mixformerv2.serve.store import Store
from tests.clips import write_clip
from tests.unit.serve.web import HOME, put, rows, serving, settle, socket, track, upload

BOX = [10.0, 12.0, 16.0, 20.0]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 12).read_bytes()


@pytest.fixture(scope="module")
def client(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("jobs")
    with serving(folder, model=str(small_bundle), engine="onnx") as client:
        yield client


def test_jobs_survive_a_restart_and_go_on(small_bundle: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 150).read_bytes()
    settings: dict[str, Any] = {"model": str(small_bundle), "engine": "onnx"}
    jobs = tmp_path / "jobs"
    with serving(jobs, **settings) as client:
        whole = upload(client, clip)
        put(client, whole, BOX)
        track(client, whole)
        expected = rows(client, whole)
        client.put(f"/api/jobs/{whole}/objects/1/name", json={"name": "cup"})
        broken = upload(client, clip)
        put(client, broken, BOX)
        with client.websocket_connect(socket(f"/api/jobs/{broken}/events")) as events:
            client.post(f"/api/jobs/{broken}/track")
            while events.receive_json()["type"] != "rows":
                pass
    assert not (jobs / broken / "upload.part").exists()
    with serving(jobs, **settings) as client:
        assert rows(client, whole) == expected
        assert client.get(f"/api/jobs/{whole}").json()["objects"][0]["name"] == "cup"
        settle(client, broken)
        assert rows(client, broken) == expected
    # A job that somebody else wrote about is no way to files of this machine.
    text = (jobs / whole / "job.json").read_text()
    (jobs / whole / "job.json").write_text(
        text.replace('"source": null', '"source": "/etc/passwd"')
    )
    (jobs / broken / "job.json").write_text("{")
    (jobs / new_id()).mkdir()  # an upload that never came to its end
    with serving(jobs, **settings) as client:
        assert (jobs / broken / "job.json").read_text() == "{"  # perhaps a later version's
        assert sum(path.is_dir() for path in jobs.iterdir()) == 2
        assert [one["id"] for one in client.get("/api/jobs").json()] == [whole]
        assert "not among those" in client.get(f"/api/jobs/{whole}").json()["error"]
        put(client, whole, BOX, frame=100)
        assert client.get(f"/api/jobs/{whole}").json()["pending"] > 0
        refused = client.post(f"/api/jobs/{whole}/track")
        assert (refused.status_code, "not among those" in refused.text) == (409, True)


def test_a_video_that_is_offered_no_more_is_opened_no_more(
    small_bundle: Path, clip: bytes, tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(clip)
    settings: dict[str, Any] = {"model": str(small_bundle), "engine": "onnx"}
    with serving(tmp_path / "jobs", library=[film], **settings) as client:
        job = str(client.post("/api/library/0").json()["id"])
        settle(client, job)
        put(client, job, BOX)
        path = f"/api/jobs/{job}"

        def refused() -> list[tuple[int, bool]]:
            answers = [client.post(f"{path}/{verb}") for verb in ("track", "render")]
            answers.append(client.get(f"{path}/look/1/3"))
            return [(one.status_code, sentence in one.text) for one in answers]

        film.rename(tmp_path / "other.mp4")
        sentence = "film.mp4 is gone"
        assert refused() == [(409, True)] * 3
        (tmp_path / "other.mp4").rename(film)
    with serving(tmp_path / "jobs", **settings) as client:
        sentence = "not among those"
        assert refused() == [(409, True)] * 3
        found = client.get(path).json()
        assert (sentence in found["error"], found["pending"]) == (True, 12)


def test_a_job_outlives_its_video_and_a_later_version(
    small_bundle: Path, clip: bytes, tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(clip)
    jobs = tmp_path / "jobs"
    settings: dict[str, Any] = {"model": str(small_bundle), "engine": "onnx"}
    with serving(jobs, library=[film], **settings) as client:
        job = str(client.post("/api/library/0").json()["id"])
        settle(client, job)
        put(client, job, BOX)
    content = json.loads((jobs / job / "job.json").read_text())
    (jobs / job / "job.json").write_text(json.dumps({**content, "colour": "of a later version"}))
    film.rename(tmp_path / "other.mp4")
    with serving(jobs, **settings) as client:
        (found,) = client.get("/api/jobs").json()
        assert (found["status"], found["objects"][0]["id"]) == ("ready", 1)
        assert "film.mp4 is gone" in found["error"]
    (tmp_path / "other.mp4").rename(film)
    with serving(jobs, library=[film], **settings) as client:
        assert track(client, job)["error"] is None


def test_a_folder_that_somebody_removed_costs_its_own_job(
    client: TestClient, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, kept = upload(client, clip), upload(client, clip)
    folder: Path = client.app.state.settings.folder  # type: ignore[attr-defined]
    put(client, gone, BOX)
    shutil.rmtree(folder / gone)
    assert JobFolder(folder, gone).size() == 0
    found = [one["id"] for one in client.get("/api/jobs").json()]
    assert (kept in found, gone in found) == (True, False)
    assert client.get(f"/api/jobs/{gone}").status_code == 404
    passing = folder / kept / "passing.part"
    passing.touch()

    def looked(path: Path) -> list[os.DirEntry[str]]:
        found = list(scan(path))
        passing.unlink()  # as all that is written whole does when it gets its name
        return found

    scan = os.scandir
    monkeypatch.setattr(os, "scandir", looked)
    assert JobFolder(folder, kept).size() > 0


def test_a_full_disk_is_said(
    client: TestClient, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    job = upload(client, clip)
    before = client.get("/api/jobs").json()
    folder: Path = client.app.state.settings.folder  # type: ignore[attr-defined]
    for name in ("make", "create", "write_json"):
        with monkeypatch.context() as patch:
            patch.setattr(JobFolder, name, full)
            answer = client.post("/api/jobs", content=clip)
            assert (answer.status_code, "delete a job" in answer.text) == (507, True)
            if name == "write_json":
                assert put(client, job, BOX).status_code == 507
    assert len(client.get("/api/jobs").json()) == len(before)
    assert sum(path.is_dir() for path in folder.iterdir()) == len(before)


def test_what_nobody_expected_is_answered_like_all_else(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Store, "all", wrong)
    calm = TestClient(client.app, base_url=HOME, raise_server_exceptions=False)
    answer = calm.get("/api/jobs")
    assert (answer.status_code, list(answer.json())) == (500, ["detail"])
    assert answer.headers["X-Frame-Options"] == "DENY"


def test_a_box_beyond_the_end_of_a_video_is_taken_back(tmp_path: Path) -> None:
    job = Job(JobFolder(tmp_path, new_id()), "clip", video={"width": 64, "height": 48})
    job.folder.make()
    for number, frame in ((1, 0), (1, 12), (2, 40)):
        job.set_prompt(number, frame, Box.parse(BOX), 16)
    job.drop_beyond_end()
    assert len(job.prompts) == 2  # nobody knows yet
    job.video |= {"count": 12, "broken": [], "fps": 25.0}
    revision = job.revision
    job.drop_beyond_end()
    assert {n: list(given) for n, given in job.prompts.items()} == {1: [0]}
    assert "frames 0 to 11; the box on frame 40" in str(job.error)
    assert job.revision == revision + 1
    assert job.pending() == 12
    job.drop_beyond_end()
    assert job.revision == revision + 1


def test_a_pause_ends_and_track_goes_on(small_bundle: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 150).read_bytes()
    with serving(tmp_path / "jobs", model=str(small_bundle), engine="onnx") as client:
        whole, paused = upload(client, clip), upload(client, clip)
        for job in (whole, paused):
            put(client, job, BOX)
        track(client, whole)
        with client.websocket_connect(socket(f"/api/jobs/{paused}/events")) as events:
            client.post(f"/api/jobs/{paused}/track")
            while events.receive_json()["type"] != "rows":
                pass
            assert client.post(f"/api/jobs/{paused}/pause").json()["status"] == "ready"
        found = rows(client, paused)
        assert found[0] is not None
        track(client, paused)
        assert rows(client, paused) == rows(client, whole)


def test_old_jobs_are_swept(small_bundle: Path, clip: bytes, tmp_path: Path) -> None:
    limits = {"keep_seconds": 0.5}
    with serving(tmp_path, model=str(small_bundle), engine="onnx", limits=limits) as client:
        job = upload(client, clip)
        for _ in range(300):
            if not client.get("/api/jobs").json():
                break
            time.sleep(0.05)
        assert client.get("/api/jobs").json() == []
        assert not (tmp_path / job).exists()


def test_two_servers_do_not_share_a_folder(tmp_path: Path) -> None:
    lock = open_root(tmp_path / "jobs")
    assert (tmp_path / "jobs").stat().st_mode & 0o077 == 0
    with pytest.raises(ConfigError, match="another server"):
        open_root(tmp_path / "jobs")
    lock.close()
    open_root(tmp_path / "jobs").close()
