"""Videos and the manifest on S3 and HTTP, from servers of this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import s3fs
from moto.server import ThreadedMotoServer

from mixformerv2.cli.main import main
from mixformerv2.data.bank_pack import pack_bank
from mixformerv2.data.cache import local_copies
from mixformerv2.data.synthetic import SampleGenerator
from mixformerv2.errors import DataError
from tests.cluster.conftest import VIDEOS, results, words


@pytest.fixture
def bucket(material: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The videos in a bucket; where it is, workers learn from the environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()  # those of another test know another server
    files = s3fs.S3FileSystem(endpoint_url=f"http://{host}:{port}", skip_instance_cache=True)
    files.makedirs("videos", exist_ok=True)  # moto keeps its buckets for the whole process
    files.put(str(material), "videos/set", recursive=True)
    yield "s3://videos/set"
    server.stop()


def test_a_bucket_is_read_like_a_folder(
    bucket: str, tmp_path: Path, by_local_processes: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    assert main(words(f"{bucket}/list.csv", out)) == 0
    assert results(out) == by_local_processes


def test_what_is_not_in_the_bucket_is_put_into_quarantine(bucket: str, tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text(f"video,x,y,w,h\n{bucket}/0.mp4,20,10,16,16\n{bucket}/gone.mp4,1,2,3,4\n")
    assert main([*words(manifest, tmp_path / "out"), "--max-frames", "3"]) == 11
    line = (tmp_path / "out/shards/000001/videos.jsonl").read_text()
    assert "is not there; check the address" in json.loads(line)["reasons"][0]


def test_training_data_come_from_a_bucket_once(
    bucket: str, bank_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIXFORMERV2_CACHE", str(tmp_path / "cache"))
    pack_bank(bank_folder, tmp_path / "bank.zip", short_side=100)
    for shard in ("a", "b"):
        s3fs.S3FileSystem().put(str(tmp_path / "bank.zip"), f"{bucket}/{shard}-bank.zip")
    copies = local_copies(f"{bucket}/*-bank.zip")
    assert [copy.name for copy in copies] == ["a-bank.zip", "b-bank.zip"]
    here = SampleGenerator(tmp_path / "bank.zip", seed=3).sample(5)
    there = SampleGenerator(f"{bucket}/a-bank.zip", seed=3).sample(5)
    assert (here.search == there.search).all()
    assert len(list((tmp_path / "cache").rglob("*-bank.zip"))) == 2
    with pytest.raises(DataError, match="is a folder; pack it"):
        local_copies(bucket)


def test_http_is_read_like_a_folder(
    material: Path, tmp_path: Path, by_local_processes: dict[str, bytes]
) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(material)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/list.csv"
    try:
        assert main(words(address, tmp_path / "out")) == 0
    finally:
        server.shutdown()
        server.server_close()
    assert results(tmp_path / "out") == by_local_processes
    assert len(by_local_processes) == VIDEOS
