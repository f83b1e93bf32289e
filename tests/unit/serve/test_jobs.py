"""Jobs over the API: a video in, boxes, tracking, corrections, downloads."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

import mixformerv2 as mf
from mixformerv2.cli.main import main
from mixformerv2.serve.job import Job
from mixformerv2.tracking.blend import row_of
from mixformerv2.tracking.crop import Crop
from mixformerv2.video import open_source
from mixformerv2.weights.bundle import read_config, write_config
from tests.clips import sounding_clip, write_clip
from tests.unit.serve.web import put, rows, serving, settle, socket, track, upload

COUNT = 24
BOX = [10.0, 12.0, 16.0, 20.0]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", COUNT)


@pytest.fixture(scope="module")
def client(
    small_bundle: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("jobs")
    with serving(folder, model=str(small_bundle), engine="onnx", library=[clip]) as client:
        yield client


@pytest.fixture(scope="module")
def tracked(client: TestClient, clip: Path) -> str:
    """A job that was tracked from its first frame."""
    job = upload(client, clip.read_bytes())
    assert put(client, job, BOX).status_code == 200
    assert track(client, job)["error"] is None
    return job


def test_an_upload_is_read_to_its_end(client: TestClient, clip: Path) -> None:
    job = upload(client, clip.read_bytes(), "../../etc/\x00 pass/holiday.mp4")
    content = client.get(f"/api/jobs/{job}").json()
    assert content["name"] == "holiday.mp4"
    assert content["status"] == "ready"
    video = content["video"]
    assert (video["width"], video["height"], video["count"], video["fps"]) == (64, 48, COUNT, 25)
    assert (video["broken"], video["view"]) == ([], [64, 48])
    view = client.get(f"/api/jobs/{job}/video", headers={"Range": "bytes=0-99"})
    assert (view.status_code, len(view.content)) == (206, 100)
    with av.open(io.BytesIO(client.get(f"/api/jobs/{job}/video").content)) as container:
        assert sum(1 for _ in container.decode(video=0)) == COUNT
    picture = client.get(f"/api/jobs/{job}/frames/7")
    assert picture.headers["Content-Type"] == "image/jpeg"
    image = cv2.imdecode(np.frombuffer(picture.content, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert abs(int(image.astype(float).mean((0, 2)).argmax()) - 14.5) < 2  # the bright column
    assert client.get(f"/api/jobs/{job}/frames/{COUNT}").status_code == 404
    assert client.get(f"/api/jobs/{job}/thumb").status_code == 200
    assert client.delete(f"/api/jobs/{job}").status_code == 204
    assert client.get(f"/api/jobs/{job}").status_code == 404


def test_results_are_those_of_the_command(
    client: TestClient, clip: Path, tracked: str, small_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    words = ["track", str(clip), "--box", ",".join(map(str, BOX)), "--boxes", str(out), "-q"]
    assert main([*words, "--model", str(small_bundle), "--engine", "onnx"]) == 0
    answer = client.get(f"/api/jobs/{tracked}/download/csv")
    assert answer.content == out.read_bytes()
    assert "clip_tracked.csv" in answer.headers["Content-Disposition"]
    found = rows(client, tracked)
    assert found[0] == [*BOX, 1.0, 0]
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert [float(line["x"]) for line in lines] == [row[0] for row in found]


@pytest.mark.parametrize("form", ["jsonl", "json", "mot", "coco", "cvat", "labelstudio"])
def test_every_format_can_be_had(client: TestClient, tracked: str, form: str) -> None:
    answer = client.get(f"/api/jobs/{tracked}/download/{form}")
    assert answer.status_code == 200
    assert answer.content
    if form in ("json", "coco", "labelstudio"):
        assert json.loads(answer.content)


def test_the_annotated_video_is_made_when_asked_for(client: TestClient, tracked: str) -> None:
    place = f"/api/jobs/{tracked}"
    assert client.get(f"{place}/download/mp4").status_code == 409
    assert client.post(f"{place}/render").json() == {"started": True}
    assert settle(client, tracked)["rendered"]
    data = client.get(f"{place}/download/mp4").content
    with av.open(io.BytesIO(data)) as container:
        assert sum(1 for _ in container.decode(video=0)) == COUNT
    assert client.post(f"{place}/render").json() == {"started": False}


def test_pixels_that_are_not_square_stay_so(client: TestClient, tmp_path: Path) -> None:
    job = upload(client, write_clip(tmp_path / "c.mp4", 3, aspect=Fraction(16, 11)).read_bytes())
    put(client, job, BOX)
    track(client, job)
    client.post(f"/api/jobs/{job}/render")
    settle(client, job)
    data = client.get(f"/api/jobs/{job}/download/mp4").content
    with av.open(io.BytesIO(data)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11)


def test_a_correction_tracks_both_ways(client: TestClient, clip: Path) -> None:
    job = upload(client, clip.read_bytes())
    put(client, job, BOX, frame=4)
    track(client, job, backward=False)
    first = rows(client, job)
    assert first[:4] == [None] * 4
    assert None not in first[4:]
    track(client, job, backward=True)
    assert None not in rows(client, job)
    put(client, job, [30, 10, 16, 20], frame=16)
    between = rows(client, job)
    assert between[16] == [30, 10, 16, 20, 1.0, 0]
    assert between[:16] == [*rows(client, job)[:4], *first[4:16]]
    assert between[17:] == [None] * (COUNT - 17)
    boxes = client.get(f"/api/jobs/{job}/download/cvat").text.split("<box ")
    assert boxes[-1].startswith('frame="17" keyframe="1" outside="1"')  # nothing is tracked there
    track(client, job)
    after = rows(client, job)
    assert None not in after
    # On the last frame a box leaves no frame without an answer, and yet there is a way back.
    place = f"/api/jobs/{job}/objects/1/prompts/{COUNT - 1}"
    pending = client.put(place, json={"box": BOX}).json()["pending"]
    assert pending == 1 + COUNT - 1 - 17
    assert client.delete(place).json()["pending"] == 1
    track(client, job)
    assert rows(client, job) == after
    assert after[4] == [*BOX, 1.0, 0]
    assert after[15] != first[15]
    # Without the correction everything is as before.
    assert client.delete(f"/api/jobs/{job}/objects/1/prompts/16").status_code == 200
    track(client, job)
    assert rows(client, job)[4:] == first[4:]


def test_corrections_are_those_of_the_library(
    client: TestClient, clip: Path, small_bundle: Path
) -> None:
    given = {5: BOX, 17: [30.0, 10.0, 16.0, 20.0]}
    job = upload(client, clip.read_bytes())
    for frame, box in given.items():
        put(client, job, box, frame=frame)
    track(client, job)
    direct = mf.track(clip, prompts=given, model=small_bundle, engine="onnx")
    assert rows(client, job) == [row_of(result) for result in direct]


def test_several_objects_at_several_times(client: TestClient, clip: Path) -> None:
    job = upload(client, clip.read_bytes())
    put(client, job, BOX)
    put(client, job, [30, 10, 20, 20], number=2)
    put(client, job, [20, 20, 20, 20], frame=9, number=7)
    content = track(client, job)
    assert [one["id"] for one in content["objects"]] == [1, 2, 7]
    for number in (1, 2, 7):
        assert None not in rows(client, job, number)
    lines = client.get(f"/api/jobs/{job}/download/csv").text.splitlines()
    assert len(lines) == 1 + 3 * COUNT
    assert [line.split(",")[2] for line in lines[1:4]] == ["1", "2", "7"]
    client.delete(f"/api/jobs/{job}/objects/2")
    content = client.get(f"/api/jobs/{job}").json()
    assert [one["id"] for one in content["objects"]] == [1, 7]


def test_a_look_into_a_frame(client: TestClient, tracked: str) -> None:
    seen = client.get(f"/api/jobs/{tracked}/look/1/9").json()
    row = rows(client, tracked)[9]
    assert seen["box"] == pytest.approx(row[:4], abs=1e-3)
    assert seen["score"] == pytest.approx(row[4], abs=1e-4)
    assert [sum(side) for side in seen["sides"]] == pytest.approx([1.0] * 4, abs=1e-3)
    assert len(seen["templates"]) == 2
    assert seen["crop"].startswith("data:image/jpeg;base64,")
    assert seen["attention"] is None
    heat = client.get(f"/api/jobs/{tracked}/look/1/9?attention=true").json()["attention"]
    assert np.shape(heat) == (2, 4, 4)  # layers of the small network, tokens of its crop
    assert client.get(f"/api/jobs/{tracked}/look/2/9").status_code == 404
    assert client.get(f"/api/jobs/{tracked}/look/1/{COUNT}").status_code == 404


def test_a_look_goes_by_what_the_network_found(
    clip: Path, small_bundle: Path, tmp_path: Path
) -> None:
    """And not by answers that are drawn as the given box was."""
    bundle = tmp_path / "styled"
    shutil.copytree(small_bundle, bundle)
    known = read_config(bundle)
    write_config(bundle, replace(known, tracker=replace(known.tracker, box_style=1.0)))
    tracker, states = mf.Tracker(bundle, engine="onnx"), []
    with open_source(clip) as source:
        for frame in source:
            answer = tracker.init if frame.index == 0 else tracker.update
            answer(*((frame.image, BOX) if frame.index == 0 else (frame.image, frame.time)))
            states.append(tracker.state)
    with serving(tmp_path / "jobs", model=str(bundle), engine="onnx") as client:
        job = upload(client, clip.read_bytes())
        put(client, job, BOX)
        track(client, job)
        for frame in (1, 9):  # after the given box, and after an answer
            seen = client.get(f"/api/jobs/{job}/look/1/{frame}").json()
            before, after = states[frame - 1], states[frame]
            crop = Crop.around(before.box, known.tracker.search_factor, known.tracker.search_size)
            assert seen["search"][2] == crop.side
            assert seen["box"] == pytest.approx(rows(client, job)[frame][:4], abs=1e-3)
            assert seen["found"] == pytest.approx(after.box.xywh, abs=1e-3)
            assert seen["found"] != pytest.approx(seen["box"], abs=0.1)


def test_events_tell_of_rows_as_they_come(client: TestClient, clip: Path) -> None:
    job = upload(client, clip.read_bytes())
    with client.websocket_connect(socket(f"/api/jobs/{job}/events")) as events:
        assert events.receive_json()["job"]["status"] == "ready"
        put(client, job, BOX)
        client.post(f"/api/jobs/{job}/track")
        seen: dict[int, Any] = {}
        states: list[str] = []
        while "tracking" not in states or states[-1] != "ready":
            message = events.receive_json()
            if message["type"] == "rows":
                seen |= dict(enumerate(message["rows"], message["start"]))
            else:
                states.append(message["job"]["status"])
    assert list(seen.values()) == rows(client, job)
    client.delete(f"/api/jobs/{job}")


def test_a_video_of_the_library(client: TestClient) -> None:
    info = client.get("/api/info").json()
    assert info["library"] == [{"id": 0, "name": "clip.mp4"}]
    answer = client.post("/api/library/0")
    assert answer.status_code == 201
    assert settle(client, answer.json()["id"])["video"]["count"] == COUNT
    assert client.post("/api/library/1").status_code == 404


@pytest.mark.parametrize(
    ("box", "frame", "status", "words"),
    [
        ([100, 100, 5, 5], 0, 422, "outside"),
        ([1, 2, 0, 5], 0, 422, "greater than 0"),
        ([1, 2, 3], 0, 422, "box"),
        ([1, 2, "NaN", 3], 0, 422, "box"),
        ([1, 2, 3, 4], COUNT, 422, "no frame"),
        ([63.5, 2, 30, 40], 0, 422, "less than a pixel"),
    ],
)
def test_a_wrong_box_is_answered_with_a_sentence(
    client: TestClient, tracked: str, box: Any, frame: int, status: int, words: str
) -> None:
    answer = put(client, tracked, box, frame)
    assert (answer.status_code, words in answer.json()["detail"]) == (status, True)


def test_what_cannot_be_done_yet_is_refused(client: TestClient, clip: Path) -> None:
    job = upload(client, clip.read_bytes())
    for place in (f"/api/jobs/{job}/track", f"/api/jobs/{job}/render"):
        assert client.post(place).status_code == 409
    assert client.get(f"/api/jobs/{job}/download/csv").status_code == 409
    assert client.get(f"/api/jobs/{job}/download/exe").status_code == 422
    assert client.delete(f"/api/jobs/{job}/objects/1").status_code == 404
    assert client.delete(f"/api/jobs/{job}/objects/1/prompts/0").status_code == 404
    put(client, job, BOX)
    track(client, job)
    assert client.post(f"/api/jobs/{job}/track").json() == {"started": False}
    for number in range(2, 17):
        assert put(client, job, BOX, number=number).status_code == 200
    assert put(client, job, BOX, number=17).status_code == 409


def test_names_stand_in_the_video_and_in_files_for_label_tools(
    client: TestClient, clip: Path
) -> None:
    job = upload(client, clip.read_bytes())
    place = f"/api/jobs/{job}/objects"
    assert client.put(f"{place}/2/name", json={"name": "cup"}).status_code == 404
    for number in (1, 2):
        put(client, job, BOX, number=number)
    track(client, job)
    assert client.post(f"/api/jobs/{job}/render").json() == {"started": True}
    settle(client, job)
    plain = client.get(f"/api/jobs/{job}/download/mp4").content
    named = client.put(f"{place}/2/name", json={"name": " the cup "}).json()
    assert [one["name"] for one in named["objects"]] == [None, "the cup"]
    assert not named["rendered"]  # it has other names
    assert named["pending"] == 0
    labels = re.findall('label="(.*?)"', client.get(f"/api/jobs/{job}/download/cvat").text)
    assert labels == ["object", "the cup"]
    assert client.post(f"/api/jobs/{job}/render").json() == {"started": True}
    settle(client, job)
    assert client.get(f"/api/jobs/{job}/download/mp4").content != plain
    for bad, code in (("cup\n", 422), ("x" * 101, 422), (7, 422)):
        assert client.put(f"{place}/2/name", json={"name": bad}).status_code == code
    assert client.put(f"{place}/2/name", json={"name": " "}).json()["objects"][1]["name"] is None
    client.put(f"{place}/2/name", json={"name": "cup"})
    client.delete(f"{place}/2")
    assert put(client, job, BOX, number=2).json()["objects"][1]["name"] is None


def test_a_name_that_is_given_while_the_video_is_drawn_makes_it_outdated(
    client: TestClient, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = upload(client, clip.read_bytes())
    place = f"/api/jobs/{job}"
    put(client, job, BOX)
    assert not track(client, job)["outdated"]
    write = Job.write_journal

    def meanwhile(self: Job, tool: str) -> Path:
        path = write(self, tool)
        self.set_name(1, "cup")
        return path

    with monkeypatch.context() as patch:
        patch.setattr(Job, "write_journal", meanwhile)
        client.post(f"{place}/render")
        found = settle(client, job)
    assert (found["rendered"], found["outdated"], found["error"]) == (False, True, None)
    refused = client.get(f"{place}/download/mp4")
    assert (refused.status_code, "before the last change" in refused.text) == (409, True)
    assert client.post(f"{place}/render").json() == {"started": True}
    found = settle(client, job)
    assert (found["rendered"], found["outdated"]) == (True, False)
    assert client.get(f"{place}/download/mp4").status_code == 200


def test_label_tools_get_few_keys_when_asked_for(client: TestClient, tracked: str) -> None:
    place = f"/api/jobs/{tracked}/download/cvat"
    every, few = (client.get(place, params={"thin": thin}).text for thin in (0, 1e5))
    assert every.count("<box") == COUNT
    assert few.count("<box") < COUNT
    for bad in (-1, "nan", 1e7):
        assert client.get(place, params={"thin": bad}).status_code == 422


def test_a_rendered_video_keeps_its_sound(client: TestClient, tmp_path: Path) -> None:
    job = upload(client, sounding_clip(tmp_path / "loud.mp4").read_bytes())
    put(client, job, [9, 9, 20, 20])
    track(client, job)
    client.post(f"/api/jobs/{job}/render")
    assert settle(client, job)["rendered"]
    with av.open(io.BytesIO(client.get(f"/api/jobs/{job}/download/mp4").content)) as video:
        assert [stream.type for stream in video.streams] == ["video", "audio"]
