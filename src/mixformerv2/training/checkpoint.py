"""Checkpoints of a run: written whole or not at all, read without running code."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from ..errors import OutputError, WeightsError
from ..weights.files import make_folder

__all__ = ["load_checkpoint", "one_writer", "save_checkpoint"]

_logger = logging.getLogger(__name__)

_PARTS = {"learner": dict, "step": int}
"""What makes a file a checkpoint of ours."""
_TO_GO_ON = {"average": dict, "optimizer": dict, "seconds": float}
"""What else each has, without which no run is carried on."""

_PATIENCE = 5.0
"""Seconds that a run waits for the one before it in its folder to end."""


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Keep a run's folder to this process, and those that torchrun started with it.

    Two runs that were started there by mistake would overwrite each other's checkpoints. The lock
    is the system's, so that it ends with the process, however that ends.

    Raises:
        OutputError: another process trains there, or the folder cannot be made.
    """
    make_folder(folder)
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout as error:
        raise OutputError(
            f"another process trains in {folder}; wait until it ends, stop it, or give another "
            "folder (--out)"
        ) from error
    except (OSError, NotImplementedError) as error:
        _logger.warning("%s cannot be locked (%s): start one run at a time in it", folder, error)
    try:
        yield
    finally:
        lock.release()


def save_checkpoint(folder: Path, state: dict[str, Any]) -> Path:
    """Write `checkpoint.pt` in a run's folder.

    The file is complete under another name before it replaces the last one, so that a kill at any
    moment leaves one that can be read.

    Raises:
        OutputError: the disk is full or the folder refuses it; the last checkpoint stays.
    """
    path = folder / "checkpoint.pt"
    part = path.with_suffix(".part")
    try:
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, RuntimeError) as error:
        part.unlink(missing_ok=True)
        raise OutputError(
            f"cannot write the checkpoint {path}: {error}; the last one is untouched"
        ) from error
    return path


def load_checkpoint(
    folder: Path, *, lazy: bool = False, whole: bool = False
) -> dict[str, Any] | None:
    """Read `checkpoint.pt` of a run's folder, or None where there is none.

    Args:
        folder: Of the run.
        lazy: Leave tensors in the file until they are used: for a few values of a large one.
        whole: It is wanted with all that carries a run on.

    Raises:
        WeightsError: the file is not a checkpoint of ours.
    """
    path = folder / "checkpoint.pt"
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=lazy)
    except Exception as error:
        said = str(error).partition(". ")[0].rstrip(".") or type(error).__name__
        raise WeightsError(
            f"{path} cannot be read as a checkpoint ({said}); put a whole one in its place, or "
            "move it away and the run begins anew"
        ) from error
    parts = _PARTS | _TO_GO_ON if whole else _PARTS
    if not isinstance(state, dict) or any(
        not isinstance(state.get(part), kind) for part, kind in parts.items()
    ):
        raise WeightsError(
            f"{path} is not a checkpoint of `mixformerv2 train`, or not a whole one; give another "
            "folder"
        )
    return state
