"""The plan: which videos each shard holds. Written once, before any work; restarts read it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError, DataError, OutputError
from ..settings import build
from ..video.address import fetched, public_address
from ..video.formats import FORMATS
from .manifest import Target, read_manifest

__all__ = ["PER_VIDEO", "TABLES", "Plan", "Settings", "Video", "make_plan", "shown_name"]

TABLES = ("csv", "jsonl", "parquet")
"""Formats with all videos of a shard in one table."""
PER_VIDEO = tuple(name for name in FORMATS if name not in TABLES)
"""Formats with a file for each video."""

_FORMAT = 1
_OURS = (
    *("plan", "work", "shards", "crashes.jsonl"),
    *("index.html", "summary.json", "quarantine.csv"),
)
_YEAR = 366 * 24 * 3600  # seconds
_WAITING = 10_000  # rows that wait in memory for their shards' files to be opened
_ROW = tuple(one.name for one in fields(Target))


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides the results of a batch.

    Attributes:
        model: Name of a shipped model, or a bundle folder.
        inference: Engine of the networks: auto, onnx, openvino or torch.
        threads: Threads of the engine in each worker.
        streams: Videos that a worker tracks at once, with their crops in common batches.
        formats: Of the results: `TABLES` and `PER_VIDEO`.
        shard_size: Videos in a shard, which is what a killed worker repeats at most.
        max_frames: Frames of each video at most; None for all.
        timeout: Seconds that a video may take, a year at most; None for any.
        thin: How far a side may be from a line between key frames, in pixels, in label tools'
            formats; 0 makes a key of each frame.
    """

    model: str = "t"
    inference: str = "auto"
    threads: int | None = 1
    streams: int = 1
    formats: tuple[str, ...] = ("csv",)
    shard_size: int = 16
    max_frames: int | None = None
    timeout: float | None = None
    thin: float = 0.0

    def __post_init__(self) -> None:
        known = (*TABLES, *PER_VIDEO)
        for name in self.formats:
            if name not in known:
                raise ConfigError(f"there is no format {name!r}; choose from {', '.join(known)}")
        if not self.formats:
            raise ConfigError("name at least one format of results")
        if self.shard_size < 1:
            raise ConfigError(f"a shard holds at least 1 video, got {self.shard_size}")
        if not 1 <= self.streams <= 1024:
            raise ConfigError(f"a worker tracks 1 to 1024 videos at once, got {self.streams}")
        # Also refuses NaN; the clock of a thread knows no more than some hundred years.
        if self.timeout is not None and not 0 < self.timeout <= _YEAR:
            raise ConfigError(
                f"the time limit of a video is above 0 s and at most a year ({_YEAR:,} s), "
                f"got {self.timeout:g}; leave it out for none"
            )
        if not 0 <= self.thin <= 1e6:  # also refuses NaN
            raise ConfigError(f"thin is a number of pixels from 0, got {self.thin}")


def shown_name(place: str) -> str:
    """A video's place, fit for tables. Those that differ in what is hidden keep two names."""
    name = public_address(place)
    if "***" not in name or name == place:
        return name
    hidden = place.rpartition("@")[2].encode(errors="surrogatepass")
    return f"{name}~{hashlib.blake2b(hidden, digest_size=4).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Video:
    """A video and its targets, as a shard holds it."""

    address: str
    targets: tuple[Target, ...]

    @property
    def name(self) -> str:
        """What the manifest calls it, without a password, so that results can be joined with it."""
        # JSON can hold halves of letters, which no table can.
        return shown_name(self.targets[0].given.encode("utf-8", "replace").decode())


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan on disk.

    Attributes:
        folder: The output folder of the batch.
        settings: What decides the results.
        shards: How many there are.
        videos: How many, in all.
        targets: How many, in all.
    """

    folder: Path
    settings: Settings
    shards: int
    videos: int
    targets: int

    @classmethod
    def load(cls, folder: str | Path) -> Plan:
        """The plan of an output folder.

        Raises:
            DataError: There is none, or it is damaged.
        """
        folder = Path(folder)
        try:
            content = json.loads((folder / "plan" / "run.json").read_text("utf-8"))
            settings = build(Settings, content["settings"], "settings")
            return cls(
                folder, settings, *(int(content[n]) for n in ("shards", "videos", "targets"))
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{folder} holds no plan of a batch that can be read ({error}); "
                "give another --out, or delete this one to start again"
            ) from error

    def read(self, shard: int) -> list[Video]:
        """The videos of a shard, in the order of the manifest."""
        rows: dict[str, list[Target]] = {}
        with _shard_file(self.folder / "plan", shard).open(encoding="utf-8") as file:
            for line in file:
                target = build(Target, json.loads(line))
                rows.setdefault(target.video, []).append(target)
        return [Video(address, tuple(targets)) for address, targets in rows.items()]


def make_plan(manifest: str, folder: str | Path, settings: Settings, bundle: str) -> Plan:
    """Read a manifest into shards, or find that this was done already.

    Args:
        manifest: Path or address of the manifest.
        folder: Output folder of the batch; made where it is missing.
        settings: What decides the results.
        bundle: SHA-256 of the model's `config.json`: another model never continues old results.

    Raises:
        ConfigError: The folder holds results of another manifest, model or settings.
        DataError: The manifest cannot be read, or is empty.
        OutputError: The folder cannot be written, or holds what is not of a batch.
    """
    folder = Path(folder)
    with fetched(manifest) as copy:
        identity = {
            "format": _FORMAT,
            "manifest": public_address(manifest),
            "manifest_sha256": _sha256(copy, public_address(manifest)),
            "bundle_sha256": bundle,
            "settings": json.loads(json.dumps(asdict(settings))),
        }
        if (folder / "plan").is_dir():
            _check_same(folder, identity)
            return replace(Plan.load(folder), settings=settings)
        _refuse_foreign(folder)
        part = folder / "plan.part"
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            counts = _write_shards(read_manifest(manifest, copy), part, settings.shard_size)
            if not counts["videos"]:
                raise DataError(
                    f"manifest {identity['manifest']} holds no video; it needs a row for each box"
                )
            text = json.dumps({**identity, **counts}, indent=2)
            (part / "run.json").write_text(text + "\n", encoding="utf-8")
            os.rename(part, folder / "plan")
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return replace(Plan.load(folder), settings=settings)


def _refuse_foreign(folder: Path) -> None:
    """What a batch replaces or clears away must not be somebody's own: there was no batch yet."""
    found = [name for name in _OURS if os.path.lexists(folder / name)]
    if found:
        raise OutputError(
            f"{folder} holds {', '.join(found)} but no plan of a batch, which would replace that; "
            "give --out a folder of its own"
        )


def _write_shards(targets: Iterator[Target], folder: Path, size: int) -> dict[str, int]:
    """Rows into their shards. The rows of a video need not stand together."""
    numbers: dict[bytes, int] = {}
    waiting: dict[int, list[str]] = {}
    count = 0
    for target in targets:
        # A short hash: a million long addresses would be the largest thing in memory.
        key = hashlib.blake2b(target.video.encode(errors="surrogatepass"), digest_size=12).digest()
        shard = numbers.setdefault(key, len(numbers)) // size
        row = {name: getattr(target, name) for name in _ROW}  # asdict copies, and takes its time
        waiting.setdefault(shard, []).append(json.dumps(row) + "\n")
        count += 1
        if count % _WAITING == 0:
            _flush(waiting, folder)
    _flush(waiting, folder)
    return {"shards": -(-len(numbers) // size), "videos": len(numbers), "targets": count}


def _flush(waiting: dict[int, list[str]], folder: Path) -> None:
    for shard, lines in waiting.items():
        with _shard_file(folder, shard).open("a", encoding="utf-8") as file:
            file.writelines(lines)
    waiting.clear()


def _shard_file(folder: Path, shard: int) -> Path:
    return folder / f"{shard:06d}.jsonl"


def _check_same(folder: Path, identity: dict[str, Any]) -> None:
    """A second run only goes on with the results of the same question."""
    try:
        before = json.loads((folder / "plan" / "run.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{folder}: its plan cannot be read: {error}; give another --out"
        ) from error
    now = {**identity, **identity["settings"]}
    then = {**asdict(Settings()), **before, **before.get("settings", {})}  # what is new is off
    # The same bytes may lie elsewhere, and how fast it goes decides no result.
    free = {"manifest", "settings", "model", "threads", "streams", "timeout"}
    names = {"manifest_sha256": "manifest", "bundle_sha256": "model"}
    other = [
        names.get(name, name) for name in now if name not in free and now[name] != then.get(name)
    ]
    if other:
        raise ConfigError(
            f"{folder} holds results of another run (other {', '.join(other)}); "
            "give another --out, or the same manifest, model and options to go on"
        )


def _sha256(path: str, shown: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"manifest {shown} cannot be read: {error.strerror}") from error
