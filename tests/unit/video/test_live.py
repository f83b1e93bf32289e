"""Streams over HTTP from a server of this machine that drops them and comes back."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mixformerv2.errors import ConfigError, SourceError
from mixformerv2.video import live, open_source
from tests.clips import number_of, write_clip

FRAMES = 10
Serve = Callable[..., str]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_FIRST_PAUSE", 0.05)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Ten frames of MPEG-TS, each one a key frame."""
    path = tmp_path_factory.mktemp("stream") / "clip.ts"
    return write_clip(path, FRAMES, options={"g": "1", "bf": "0"}).read_bytes()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that answers each request with the next thing of a list; None refuses."""
    servers: list[ThreadingHTTPServer] = []

    def start(*answers: bytes | None, kind: str = "video/mp2t") -> str:
        following = itertools.chain(answers, itertools.repeat(None))

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = next(following)
                if body is None:
                    self.send_error(503)
                    return
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.end_headers()  # no length: it could go on for ever
                self.wfile.write(body)

            def log_message(self, *words: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}/stream"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_stream_that_drops_goes_on_with_its_clock_and_numbers(
    serve: Serve, stream: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    address = serve(stream, None, None, stream, stream)
    began = time.monotonic()
    with open_source(address, read_ahead=3 * FRAMES, reconnect=2.0) as source:
        assert source.live
        assert source.count is None
        frames = list(source)
    took = time.monotonic() - began
    assert [number_of(f.image) for f in frames if f.image is not None] == list(range(FRAMES)) * 3
    assert (source.gaps, source.broken) == (2, 0)
    assert 0.15 <= source.missed <= took  # two refusals, after pauses of 0.05, 0.1 and 0.2 s
    parts = [frames[:FRAMES], frames[FRAMES : 2 * FRAMES], frames[2 * FRAMES :]]
    for part in parts:
        assert [f.index - part[0].index for f in part] == list(range(FRAMES))
        assert [f.time - part[0].time for f in part] == pytest.approx(
            [n / 25 for n in range(FRAMES)]
        )
    for before, after in itertools.pairwise(parts):
        gap = after[0].time - before[-1].time
        assert gap >= 1 / 25 - 1e-9
        assert after[0].index - before[-1].index == max(1, round(gap * 25))
    said = [r.getMessage() for r in caplog.records if "came back" in r.getMessage()]
    assert len(said) == 2
    assert f"frame {parts[1][0].index} follows frame 9" in said[0]
    assert "without a picture" in str(source.cut_short)


def test_a_stream_is_given_up_after_the_time_asked_for(serve: Serve, stream: bytes) -> None:
    with open_source(serve(stream), read_ahead=FRAMES, reconnect=0) as source:
        assert len(list(source)) == FRAMES
    assert source.gaps == 0
    assert source.cut_short is not None


def test_nobody_waits_for_a_stream_that_is_not_wanted_any_more(
    serve: Serve, stream: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_FIRST_PAUSE", 1000.0)
    source = open_source(serve(stream), read_ahead=FRAMES, reconnect=3600)
    frames = iter(source)
    assert [next(frames).index for _ in range(FRAMES)] == list(range(FRAMES))
    source.stop()
    assert next(frames, None) is None
    source._ahead._thread.join(timeout=60)
    assert not source._ahead._thread.is_alive()


def test_a_stream_that_is_not_there_is_said_at_once(serve: Serve) -> None:
    with pytest.raises(SourceError, match="cannot be opened"):
        open_source(serve())


def test_a_file_over_http_is_read_once(serve: Serve, tmp_path: Path) -> None:
    data = write_clip(tmp_path / "clip.mp4", FRAMES, options={"movflags": "faststart"}).read_bytes()
    address = serve(data, data, kind="video/mp4")
    with open_source(address) as source:
        assert not source.live
        assert len(list(source)) == FRAMES
    assert source.gaps == 0


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="reconnect"):
        open_source([], reconnect=float("nan"))
