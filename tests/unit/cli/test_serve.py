"""`mixformerv2 serve`: what it offers, where it listens, and what it refuses to start with."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from mixformerv2.cli import serve
from mixformerv2.cli.main import main
from mixformerv2.serve.settings import Settings

VIDEO = Path(serve.__file__).resolve().parent.parent / "assets" / "demo.mp4"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Settings that the server would be started with."""
    found: list[Settings] = []
    monkeypatch.setattr(serve, "_serve", lambda settings, *rest: found.append(settings))
    return found


def test_without_more_it_is_for_this_machine_alone(
    started: list[Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main(["serve"]) == 0
    (settings,) = started
    assert settings.token is None
    assert settings.hosts == {"localhost", "127.0.0.1", "::1"}
    assert settings.folder == tmp_path / "mixformerv2" / "serve-8321"
    assert settings.library == [VIDEO]
    assert settings.limits.seconds == 900


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_everywhere_else_it_wants_a_token(started: list[Settings], host: str) -> None:
    assert main(["serve", "--host", host]) == 0
    assert main(["serve", "--host", host]) == 0
    first, second = started
    assert first.token is not None
    assert len(first.token) >= 24
    assert first.token != second.token
    assert first.hosts is None


@pytest.mark.parametrize(
    ("names", "asks"),
    [
        (["tracker.example.org"], True),
        (["localhost", "tracker.example.org"], True),
        (["192.168.1.7"], True),
        (["localhost", "127.0.0.2"], False),
    ],
)
def test_behind_a_proxy_on_this_machine_it_wants_a_token_too(
    started: list[Settings], names: list[str], asks: bool
) -> None:
    words = [word for name in names for word in ("--allow-host", name)]
    assert main(["serve", *words]) == 0
    assert main(["serve", *words, "--token", "t" * 12]) == 0
    made, given = (one.token for one in started)
    assert (made is not None, given) == (asks, "t" * 12)


@pytest.mark.parametrize(
    ("words", "hosts"),
    [
        (["--host", "127.0.0.2"], {"127.0.0.2"}),
        (["--host", "0.0.0.0", "--allow-host", "box.lan"], {"box.lan", socket.gethostname()}),
        (["--host", "10.0.0.7", "--allow-host", "box.lan"], {"box.lan", "10.0.0.7"}),
    ],
)
def test_it_answers_to_its_own_names(
    started: list[Settings], words: list[str], hosts: set[str]
) -> None:
    assert main(["serve", *words]) == 0
    assert started[0].hosts == {"localhost", "127.0.0.1", "::1", *hosts}


def test_options_become_limits(started: list[Settings], tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"x")
    words = [
        "serve",
        str(clip),
        clip.as_uri(),
        "0",
        "rtsp://me:secret@camera/1",
        "--token",
        "t" * 12,
    ]
    words += ["--max-upload", "5", "--max-minutes", "2", "--workers", "3", "--keep-hours", "1"]
    assert main([*words, "--allow-host", "box.lan", "--folder", str(tmp_path)]) == 0
    (settings,) = started
    assert settings.library == [clip, clip, VIDEO]
    assert settings.live == [("camera 0", "0"), ("rtsp://camera/1", "rtsp://me:secret@camera/1")]
    assert (settings.token, settings.folder) == ("t" * 12, tmp_path)
    assert settings.hosts is not None
    assert "box.lan" in settings.hosts
    limits = settings.limits
    assert (limits.upload_bytes, limits.seconds, limits.workers) == (5 << 20, 120, 3)
    assert limits.keep_seconds == 3600


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["nowhere.mp4"], 4, "no such file"),
        (["--token", "short"], 2, "at least 12"),
        (["--model", "nothing"], 6, "nothing"),
        (["--engine", "steam"], 2, "engine must be"),
        (["--threads", "1000000"], 2, "at most 1024, got 1000000; this machine has"),
        (["--max-minutes", "0"], 2, "max-minutes"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(
    started: list[Settings],
    words: list[str],
    code: int,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["serve", *words]) == code
    assert sentence in capsys.readouterr().err
    assert started == []


def test_a_taken_port_and_a_taken_folder_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from mixformerv2.serve.folder import open_root

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "--port", port, "--folder", str(tmp_path)]) == 2
        assert "--port 0" in capsys.readouterr().err
    with open_root(tmp_path):
        assert main(["serve", "--port", "0", "--folder", str(tmp_path)]) == 2
        assert "another server" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "token", "address"),
    [
        ("127.0.0.1", None, "http://127.0.0.1:80/"),
        ("::1", None, "http://[::1]:80/"),
        ("0.0.0.0", "abc", f"http://{socket.gethostname()}:80/?token=abc"),
        ("10.0.0.7", "a+b/c=d&e#f", "http://10.0.0.7:80/?token=a%2Bb%2Fc%3Dd%26e%23f"),
    ],
)
def test_the_printed_address_can_be_opened(host: str, token: str | None, address: str) -> None:
    assert serve._address(host, 80, token) == address


def test_small_answers_are_sent_at_once() -> None:
    with (
        serve._listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_it_runs_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import uvicorn

    opened: list[str] = []
    ran: list[Any] = []

    def run(self: uvicorn.Server, sockets: list[socket.socket]) -> None:
        ran.append((self.config, sockets[0].getsockname()))
        raise KeyboardInterrupt  # the usual end

    monkeypatch.setattr(uvicorn.Server, "run", run)
    monkeypatch.setattr("mixformerv2.serve.browser.open_page", opened.append)
    assert main(["serve", "--port", "0", "--folder", str(tmp_path)]) == 0
    ((config, (host, port)),) = ran
    assert host == "127.0.0.1"
    assert opened == [f"http://127.0.0.1:{port}/"]
    assert opened[0] in capsys.readouterr().out
    assert config.access_log is False  # addresses can hold the token
