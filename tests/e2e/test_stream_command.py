"""`track` on a stream that falls silent: SIGTERM ends it with all results on disk."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mixformerv2.video.formats.journal import Journal
from tests.clips import write_clip

FRAMES = 6


@pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM is POSIX")
def test_sigterm_while_a_stream_is_silent(tmp_path: Path, small_bundle: Path) -> None:
    data = write_clip(tmp_path / "clip.ts", FRAMES, options={"g": "1", "bf": "0"}).read_bytes()
    asked = threading.Semaphore(0)

    class Handler(BaseHTTPRequestHandler):
        sent = False

        def do_GET(self) -> None:
            if Handler.sent:
                self.send_error(503)
                asked.release()
                return
            Handler.sent = True
            self.send_response(200)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/live"
    words = ("track", address, "--box", "20,10,16,16", "--boxes", "run.jsonl", "--boxes", "run.csv")
    how = ("--model", str(small_bundle), "--engine", "onnx", "--threads", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "mixformerv2", *words, *how],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert asked.acquire(timeout=120), "it did not try again"
        journal = tmp_path / "run.jsonl"
        while not journal.is_file() or len(journal.read_text().splitlines()) < 1 + FRAMES:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
        server.shutdown()
        server.server_close()
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "stopped by SIGTERM" in out
    assert [row.result.frame for row in Journal(journal)] == list(range(FRAMES))
    assert json.loads(journal.read_text().splitlines()[-1])["end"] == "interrupted"
    assert len((tmp_path / "run.csv").read_text().splitlines()) == 1 + FRAMES
