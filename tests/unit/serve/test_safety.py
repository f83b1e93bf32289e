"""What a server that is left running must refuse, survive and forget."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from mixformerv2.errors import ConfigError
from mixformerv2.serve.folder import JobFolder, new_id
from mixformerv2.serve.media import looks_like_video
from tests.clips import write_clip
from tests.unit.serve.web import HOME, serving, settle, socket, upload

BOX = [10.0, 12.0, 16.0, 20.0]
SECRET = "a+secret/of=the&test#"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 12).read_bytes()


@pytest.fixture(scope="module")
def client(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    limits = {"upload_bytes": 200_000, "seconds": 1.0, "frames": 25, "pixels": 100 * 100}
    folder = tmp_path_factory.mktemp("jobs")
    with serving(folder, model=str(small_bundle), engine="onnx", limits=limits) as client:
        yield client


# --- uploads ---

HOSTILE = {
    "an HLS list": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n",
    "a concat list": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "a DASH list": b"<?xml version='1.0'?><MPD><BaseURL>http://127.0.0.1/</BaseURL></MPD>",
    "an SDP": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "a page": b"<html><script>alert(1)</script>",
    "an SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "text": b"hello " * 100,
    "nothing": b"",
    "a zip": b"PK\x03\x04" + bytes(100),
    "an MP4 by its first bytes alone": b"\x00\x00\x00\x20ftypisom" + bytes(3000),
    "an MKV by its first bytes alone": b"\x1a\x45\xdf\xa3" + bytes(3000),
    "an AVI by its first bytes alone": b"RIFF\xff\xff\x00\x00AVI LIST" + bytes(3000),
    "a program stream of noise": b"\x00\x00\x01\xba" + os.urandom(9000),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_video_is_refused_by_its_content(client: TestClient, what: str) -> None:
    before = client.get("/api/jobs").json()
    answer = client.post("/api/jobs?name=clip.mp4", content=HOSTILE[what])
    assert answer.status_code in (415, 422)
    assert "video" in answer.json()["detail"]
    assert "passwd" not in answer.text
    assert client.get("/api/jobs").json() == before


def test_a_list_hidden_in_a_container_of_video_reads_nothing(client: TestClient) -> None:
    assert not looks_like_video(HOSTILE["an HLS list"])
    # Past the first look: FFmpeg itself is told which formats it may open.
    answer = client.post("/api/jobs", content=b"\x00\x00\x01\xb3" + HOSTILE["an HLS list"])
    assert answer.status_code in (415, 422)


def test_a_damaged_video_is_refused_or_read_as_far_as_it_goes(
    client: TestClient, clip: bytes
) -> None:
    for cut in (100, len(clip) // 2, len(clip) - 200):
        assert client.post("/api/jobs", content=clip[:cut]).status_code in (201, 415, 422)
    holes = bytearray(clip)
    holes[len(clip) // 3 : len(clip) // 2] = os.urandom(len(clip) // 2 - len(clip) // 3)
    assert client.post("/api/jobs", content=bytes(holes)).status_code in (201, 415, 422)
    job = upload(client, clip)  # and the server lives on
    assert client.get(f"/api/jobs/{job}").json()["video"]["count"] == 12


def test_too_much_is_answered_with_413(client: TestClient, clip: bytes, tmp_path: Path) -> None:
    promised = client.post("/api/jobs", content=clip + bytes(200_000))
    assert (promised.status_code, "up to 1 MB" in promised.json()["detail"]) == (413, True)

    def chunks() -> Iterator[bytes]:  # no length is promised
        yield clip
        for _ in range(30):
            yield bytes(10_000)

    assert client.post("/api/jobs", content=chunks()).status_code == 413
    long = write_clip(tmp_path / "long.mp4", 80).read_bytes()
    assert "3 s" in client.post("/api/jobs", content=long).json()["detail"]
    large = write_clip(tmp_path / "large.mp4", 3, size=(320, 240)).read_bytes()
    answer = client.post("/api/jobs", content=large)
    assert (answer.status_code, "320 x 240" in answer.json()["detail"]) == (413, True)
    many = write_clip(tmp_path / "many.mp4", 40, fps=60).read_bytes()
    answer = client.post("/api/jobs", content=many)
    assert answer.status_code in (201, 413)
    if answer.status_code == 201:  # frames are counted while they are read
        assert "25 frames" in settle(client, answer.json()["id"])["error"]


def test_too_many_at_once_are_answered_with_429(
    small_bundle: Path, clip: bytes, tmp_path: Path
) -> None:
    limits = {"jobs": 2, "streams": 1}
    with serving(tmp_path, model=str(small_bundle), engine="onnx", limits=limits) as client:
        first = upload(client, clip)
        upload(client, clip)
        answer = client.post("/api/jobs", content=clip)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
        client.delete(f"/api/jobs/{first}")
        upload(client, clip)
        with client.websocket_connect(socket("/api/live")) as live:
            assert live.receive_json()["event"] == "ready"
            with pytest.raises(WebSocketDenialResponse) as refused:
                client.websocket_connect(socket("/api/live")).__enter__()
            assert refused.value.status_code == 429


def test_a_stuck_decoder_is_ended(
    small_bundle: Path, clip: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Workers find this in place of the network: a sleep that no signal of ours ends.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if sys.argv[0].endswith('worker.py') or '-m' in sys.argv[:1]:\n"
        "    import time, mixformerv2.serve.media as media\n"
        "    media.check_container = lambda *_: time.sleep(600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    limits = {"stall_seconds": 4.0}
    jobs = tmp_path / "jobs"
    with serving(jobs, model=str(small_bundle), engine="onnx", limits=limits) as client:
        answer = client.post("/api/jobs", content=clip)
        assert (answer.status_code, "given up" in answer.json()["detail"]) == (422, True)
        assert client.app.state.pool.busy == 0  # type: ignore[attr-defined]


# --- names and paths ---


@pytest.mark.parametrize(
    "name",
    ["../jobs", "..", ".", "a" * 21, "a" * 23, "..\\..\\x", "a/../../b", "../page/index.html"],
)
def test_no_path_leads_out_of_the_folder(client: TestClient, name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        JobFolder(tmp_path, name)
    name = quote(name, safe="").replace(".", "%2e")  # else the client itself takes it out
    for place in (f"/api/jobs/{name}", f"/api/jobs/{name}/video", f"/page/{name}"):
        answer = client.get(place)
        assert answer.status_code in (404, 422)
        assert "root:" not in answer.text
    assert client.request("DELETE", f"/api/jobs/{name}").status_code in (404, 405, 422)


@pytest.mark.parametrize("name", ["../x.json", "job.json/..", "/etc/passwd", "x", "a b.mp4", ""])
def test_a_job_has_only_files_of_its_own_kind(name: str, tmp_path: Path) -> None:
    folder = JobFolder(tmp_path, new_id())
    with pytest.raises(ConfigError):
        folder.file(name)


def test_links_are_not_followed(client: TestClient, clip: bytes, tmp_path: Path) -> None:
    job = upload(client, clip)
    folder: Path = client.app.state.settings.folder  # type: ignore[attr-defined]
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"secret")
    for name in ("view.mp4", "thumb.jpg", "render.mp4"):
        path = folder / job / name
        path.unlink(missing_ok=True)
        path.symlink_to(secret)
    for place in ("video", "thumb", "frames/3", "download/mp4"):
        answer = client.get(f"/api/jobs/{job}/{place}")
        assert answer.status_code in (404, 409)
        assert b"secret" not in answer.content
    made = JobFolder(folder, job)
    with pytest.raises(FileExistsError):
        made.create("view.mp4")
    client.delete(f"/api/jobs/{job}")
    assert secret.read_bytes() == b"secret"
    linked = folder / new_id()
    linked.symlink_to(tmp_path)
    assert linked.name not in [one.name for one in JobFolder.all_in(folder)]
    linked.unlink()


# --- strangers ---


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost:8321"}, 200),
        ({"Host": "127.0.0.1:1"}, 200),
        ({"Host": "[::1]:8321"}, 200),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "["}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": HOME}, 200),
    ],
)
def test_who_may_read(client: TestClient, headers: dict[str, str], status: int) -> None:
    assert client.get("/api/info", headers=headers).status_code == status


def test_only_a_video_may_be_large(client: TestClient) -> None:
    """Any other body is kept in memory whole, and could fill it."""
    place = f"/api/jobs/{'a' * 22}/objects/1/prompts/0"
    kind = {"Content-Type": "application/json"}
    pieces = [b'{"box": [1, 2, 3, 4', b" " * 40_000, b" " * 40_000, b"]}"]
    for content in (b"".join(pieces), iter(pieces)):
        answer = client.put(place, content=content, headers=kind)
        assert (answer.status_code, "a video goes to /api/jobs" in answer.text) == (413, True)
    answer = client.put(place, content=b'{"box": ', headers=kind)
    assert (answer.status_code, answer.json()["detail"]) == (422, "the body cannot be read as JSON")


def test_a_name_is_the_same_in_any_case(tmp_path: Path) -> None:
    with serving(tmp_path, engine="onnx", hosts=frozenset({"My-Box.Local"})) as client:
        for host, status in {
            "my-box.local": 200,
            "MY-BOX.LOCAL:8321": 200,
            "localhost": 403,
        }.items():
            assert client.get("/api/info", headers={"Host": host}).status_code == status


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:9", "["])
def test_pages_of_others_can_neither_write_nor_listen(
    client: TestClient, clip: bytes, origin: str
) -> None:
    headers = {"Origin": origin}
    assert client.post("/api/jobs", content=clip, headers=headers).status_code == 403
    job = upload(client, clip)
    for path in (f"/api/jobs/{job}/events", "/api/live"):
        with pytest.raises(WebSocketDenialResponse) as refused:
            client.websocket_connect(socket(path), headers=headers).__enter__()
        assert refused.value.status_code == 403


def test_nothing_is_given_without_the_token(
    small_bundle: Path, clip: bytes, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"token": SECRET, "hosts": None, "engine": "onnx"}
    with serving(tmp_path, model=str(small_bundle), **settings) as client:
        for path in ("/", "/page/app.js", "/api/info", "/api/openapi.json", "/?token=wrong"):
            assert client.get(path).status_code == 401
        assert client.post("/api/jobs", content=clip).status_code == 401
        with pytest.raises(WebSocketDenialResponse):
            client.websocket_connect(socket("/api/live")).__enter__()
        bearer = {"Authorization": f"Bearer {SECRET}"}
        assert client.get("/api/info", headers=bearer).status_code == 200
        assert (
            client.get("/api/info", headers={"Cookie": f"mixformerv2={SECRET}"}).status_code == 401
        )
        # The printed address: the token becomes a cookie, and leaves the address.
        answer = client.get(f"/?token={quote(SECRET, safe='')}", follow_redirects=False)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert SECRET not in cookie
        assert client.get("/").status_code == 200
        assert client.get("/api/info").status_code == 200


def test_cookies_of_others_on_this_machine_lock_nobody_out(tmp_path: Path) -> None:
    """Cookies know no ports: those of every server of a machine come to each of them."""
    kept = ['prefs={"dark": true}']
    for number in range(2):
        token = f"{number}-{SECRET}"
        with serving(tmp_path / token[:1], token=token, hosts=None, engine="onnx") as client:
            place = f"/?token={quote(token, safe='')}"
            answer = client.get(place, follow_redirects=False)
            kept.append(answer.headers["Set-Cookie"].partition(";")[0])
            client.cookies.clear()
            for cookies in (kept, kept[::-1]):
                headers = {"Cookie": "; ".join(cookies)}
                assert client.get("/api/info", headers=headers).status_code == 200
    assert len({cookie.partition("=")[0] for cookie in kept}) == 3


def test_every_answer_is_dressed(client: TestClient) -> None:
    for path in ("/", "/page/app.js", "/api/info", "/nothing", "/api/jobs/" + "a" * 22):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"


def test_a_socket_of_no_job(client: TestClient) -> None:
    with pytest.raises((WebSocketDenialResponse, WebSocketDisconnect)):
        client.websocket_connect(socket(f"/api/jobs/{'a' * 22}/events")).__enter__()
