"""Training data behind an address: one copy, kept, and renewed where its source has changed."""

from __future__ import annotations

import builtins
import errno
import io
import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import numpy as np
import pytest

from mixformerv2.data.bank_pack import pack_bank
from mixformerv2.data.cache import local_copies, local_copy
from mixformerv2.data.pack import pack_store
from mixformerv2.data.sampling import SetConfig, SetSampler
from mixformerv2.data.store import open_store
from mixformerv2.data.synthetic import SampleGenerator
from mixformerv2.errors import ConfigError, DataError, OutputError, SourceError

from . import layouts


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("MIXFORMERV2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return tmp_path / "cache"


@pytest.fixture
def web(tmp_path):
    """A folder, the address that it is served at, and what was asked for."""
    asked: list[str] = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            asked.append(f"{self.command} {self.path}")

    folder = tmp_path / "web"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


def test_a_path_is_itself(tmp_path):
    assert local_copy(tmp_path / "not there") == tmp_path / "not there"
    for name in ("a1.zip", "a2.zip", "b1.zip"):
        (tmp_path / name).touch()
    assert local_copies(tmp_path / "a?.zip") == [tmp_path / "a1.zip", tmp_path / "a2.zip"]
    assert local_copies(f"file://{tmp_path}/b*") == [tmp_path / "b1.zip"]
    with pytest.raises(DataError, match="names 2 files; one is wanted"):
        local_copy(tmp_path / "a*.zip")
    with pytest.raises(DataError, match="no file is named"):
        local_copies(tmp_path / "c*.zip")


def test_a_file_is_fetched_once_and_again_when_it_has_changed(web):
    folder, address, asked = web
    (folder / "bank.zip").write_bytes(b"first")
    copy = local_copy(f"{address}/bank.zip")
    assert copy.name == "bank.zip"
    assert copy.read_bytes() == b"first"
    gets = sum(one.startswith("GET") for one in asked)
    assert gets > 0
    assert local_copy(f"{address}/bank.zip") == copy
    assert sum(one.startswith("GET") for one in asked) == gets
    (folder / "bank.zip").write_bytes(b"second, longer")
    os.utime(folder / "bank.zip", (2e9, 2e9))
    assert local_copy(f"{address}/bank.zip").read_bytes() == b"second, longer"


def test_files_of_one_name_do_not_meet_and_many_readers_get_the_whole(web):
    folder, address, _ = web
    for number in (0, 1):
        (folder / str(number)).mkdir()
        (folder / str(number) / "bank.zip").write_bytes(bytes([number]) * 3_000_000)
    places = [f"{address}/{number % 2}/bank.zip" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        copies = list(pool.map(local_copy, places))
    assert len(set(copies)) == 2
    for number, copy in enumerate(copies):
        assert copy.read_bytes() == bytes([number % 2]) * 3_000_000


def test_what_cannot_be_fetched_gets_a_sentence(web):
    _, address, _ = web
    with pytest.raises(SourceError, match="is not there; check the address"):
        local_copy(f"{address}/gone.zip")
    with pytest.raises(SourceError, match="is not there"):
        local_copy("http://127.0.0.1:9/bank.zip")
    with pytest.raises(ConfigError, match="nowhere"):
        local_copy("nowhere://bucket/bank.zip")
    files = fsspec.filesystem("memory")
    files.pipe(f"/{uuid.uuid4().hex}/a.jpg", b"x")
    with pytest.raises(DataError, match=r"is a folder; pack it into one file.*pack-bank"):
        local_copy("memory://" + next(iter(files.ls("/", detail=False))).lstrip("/"))


def test_a_full_disk_leaves_nothing_half_done(web, cache, monkeypatch):
    folder, address, _ = web
    (folder / "bank.zip").write_bytes(b"whole")
    opened = builtins.open

    class Full(io.FileIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    def open_full(name, mode="r", **options):
        return Full(name, mode) if str(name).endswith(".part") else opened(name, mode, **options)

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", open_full)
        with pytest.raises(OutputError, match=r"No space left.*set MIXFORMERV2_CACHE"):
            local_copy(f"{address}/bank.zip")
    assert not list(cache.rglob("bank.zip"))
    assert local_copy(f"{address}/bank.zip").read_bytes() == b"whole"


def test_a_cache_that_cannot_be_written_gets_a_sentence(web, tmp_path, monkeypatch):
    folder, address, _ = web
    (folder / "bank.zip").write_bytes(b"whole")
    (tmp_path / "file").touch()
    monkeypatch.setenv("MIXFORMERV2_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match="set MIXFORMERV2_CACHE to a folder"):
        local_copy(f"{address}/bank.zip")


def test_samples_are_those_of_the_files_here(bank_folder, tmp_path):
    name = uuid.uuid4().hex
    pack_bank(bank_folder, tmp_path / "bank.zip", short_side=100)
    boxes = layouts.boxes_of(4)
    layouts.write_frames(tmp_path / "own" / "a" / "img", boxes, "{:06d}.jpg")
    layouts.put(tmp_path / "own" / "a" / "groundtruth.txt", layouts.rows(boxes))
    shards = []
    for number in range(2):
        shards.append(tmp_path / f"set-{number}.zip")
        pack_store(open_store(tmp_path / "own"), shards[-1])
    files = fsspec.filesystem("memory")
    for file in (tmp_path / "bank.zip", *shards):
        files.put_file(str(file), f"/{name}/{file.name}")
    here = SampleGenerator(tmp_path / "bank.zip", seed=3).sample(5)
    there = SampleGenerator(f"memory://{name}/bank.zip", seed=3).sample(5)
    np.testing.assert_array_equal(here.search, there.search)
    sampler = SetSampler([SetConfig(f"memory://{name}/set-*.zip", ratio=2.0)])
    assert len(sampler.datasets) == 2
    np.testing.assert_allclose(sampler._chance, [0.5, 0.5])


def test_a_packed_lmdb_is_read_by_its_address(tmp_path, cache):
    """One file, as `data pack` writes it; a folder with `data.mdb`, as others do, is refused."""
    boxes = layouts.boxes_of(4)
    layouts.write_frames(tmp_path / "own" / "a" / "img", boxes, "{:06d}.jpg")
    layouts.put(tmp_path / "own" / "a" / "groundtruth.txt", layouts.rows(boxes))
    name = uuid.uuid4().hex
    pack_store(open_store(tmp_path / "own"), tmp_path / "set.lmdb")
    files = fsspec.filesystem("memory")
    files.put_file(str(tmp_path / "set.lmdb"), f"/{name}/set.lmdb")
    files.put_file(str(tmp_path / "set.lmdb"), f"/{name}/theirs.lmdb/data.mdb")
    (there,) = SetSampler([SetConfig(f"memory://{name}/set.lmdb")]).datasets
    (here,) = SetSampler([SetConfig(str(tmp_path / "own"))]).datasets
    assert there.store.place.is_relative_to(cache)
    assert there.names == here.names == ["a"]
    np.testing.assert_array_equal(there[0].frames[3], here[0].frames[3])
    with pytest.raises(DataError, match=r"theirs\.lmdb is a folder; pack it into one file"):
        SetSampler([SetConfig(f"memory://{name}/theirs.lmdb")])
