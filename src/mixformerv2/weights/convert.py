"""A published checkpoint to a bundle, whole or not at all."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from ..errors import ConfigError, OutputError, WeightsError
from .bundle import (
    INT8_NAMES,
    PAPERS,
    BundleConfig,
    file_sha256,
    read_config,
    save_bundle,
    write_config,
)
from .official import Official, build_official, inspect_official, read_checkpoint

__all__ = ["Conversion", "convert_checkpoint"]

log = logging.getLogger(__name__)

_OF_A_BUNDLE = {
    "config.json",
    "model.safetensors",
    "training.safetensors",
    "template.onnx",
    "search.onnx",
    *INT8_NAMES,
    *PAPERS,
}
"""Files that go with an old bundle."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was found and written.

    Attributes:
        official: What the checkpoint turned out to be.
        bundle: The bundle's `config.json`, graphs included where they were made.
    """

    official: Official
    bundle: BundleConfig


def convert_checkpoint(
    path: str | Path,
    folder: str | Path,
    *,
    search_factor: float | None = None,
    overwrite: bool = False,
) -> Conversion:
    """Write a bundle with the weights of a published checkpoint.

    The graphs are made as well where `onnx` is installed; `mixformerv2 export` adds them later.
    Nothing is written unless everything worked.

    Args:
        path: `.pth`, `.pth.tar` or `.safetensors`.
        folder: The bundle, made new.
        search_factor: Side of the search crop over `sqrt(w * h)`. Weights do not tell it; 5.0 for
            a search crop of 288 pixels and 4.5 for others where it is not given.
        overwrite: Replace a bundle that is there already.

    Raises:
        WeightsError: no MixFormerV2 checkpoint, or a damaged one.
        OutputError: the folder is taken or cannot be written.
        ConfigError: a search factor that cannot work.
    """
    path, folder = Path(path), Path(folder)
    _check_target(folder, overwrite)
    official = inspect_official(read_checkpoint(path), source=str(path))
    place = folder.resolve()  # where it is a link, what it leads to is replaced, not the link
    part = place.with_name(f".{place.name}.part-{os.getpid()}")
    try:
        bundle = _write(official, path, part, folder.absolute().name, search_factor)
        if find_spec("onnx") is not None:
            from ..export import export_bundle

            export_bundle(part)
            bundle = read_config(part)
        _put(part, place)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Conversion(official, bundle)


def _check_target(folder: Path, overwrite: bool) -> None:
    """Refuse before the work, and never remove what is no bundle."""
    if folder.is_file():
        raise OutputError(f"{folder} is a file; give the name of a folder to make")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / "config.json").is_file():
        raise OutputError(f"{folder} has other files in it; give the name of a folder to make")
    if not overwrite:
        raise OutputError(f"{folder} holds a bundle already; give another folder, or --overwrite")
    try:
        known = {*_OF_A_BUNDLE, str(read_config(folder).licence.get("file"))}
    except WeightsError as error:
        raise OutputError(
            f"{folder} is not replaced, for it may be no bundle ({error}); "
            "remove it yourself, or give another folder"
        ) from error
    others = sorted(file.name for file in folder.iterdir() if file.name not in known)
    if others:
        raise OutputError(
            f"{folder} is not replaced, for it has {', '.join(others[:5])} in it beside a bundle; "
            "move them, or give another folder"
        )


def _write(
    official: Official, path: Path, part: Path, name: str, search_factor: float | None
) -> BundleConfig:
    bundle = save_bundle(
        build_official(official),
        part,
        name=name,
        licence={"weights": "that of the checkpoint; ask whoever published it", "file": None},
        provenance={"converted_from": path.name, "checkpoint_sha256": file_sha256(path)},
    )
    settings = bundle.tracker
    try:
        if search_factor is not None:
            settings = replace(settings, search_factor=float(search_factor))
    except ConfigError as error:
        raise ConfigError(f"--search-factor: {error}") from error
    bundle = replace(bundle, tracker=settings)
    write_config(part, bundle)
    return bundle


def _put(part: Path, folder: Path) -> None:
    """Move the finished bundle to its place; an old one goes only when the new one is there."""
    old = part.with_name(f"{part.name}-old")
    try:
        if folder.is_dir() and not any(folder.iterdir()):
            # Its config last, for that makes it a bundle. The folder itself stays: it may be the
            # one that somebody works in.
            for file in sorted(part.iterdir(), key=lambda one: one.name == "config.json"):
                os.replace(file, folder / file.name)
            return
        if folder.is_dir():
            os.replace(folder, old)
        try:
            os.replace(part, folder)
        except OSError:
            if old.is_dir():
                os.replace(old, folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"cannot write a bundle to {folder}: {error.strerror}") from error
