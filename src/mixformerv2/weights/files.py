"""Files of a bundle: tensors, checksums, and writing whole or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import OutputError, WeightsError
from .pieces import pieces_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Precision", "file_sha256", "make_folder", "read_tensors", "to_bytes", "write_whole"]

Precision = Literal["float16", "float32"]


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(folder: Path) -> Path:
    """Make a folder with all above it.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error}") from error
    return folder


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, floating ones as float32."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.exists() and pieces_of(path):
        raise WeightsError(
            f"{path} lies in pieces; put it together with "
            f"`python -m mixformerv2.weights.pieces join {path.parent}`"
        )
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"cannot read the weights {path}: {error}") from error
    return {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}


def to_bytes(tensors: Mapping[str, Tensor], precision: Precision) -> bytes:
    """A safetensors file; floating tensors in the given precision, if it can hold them."""
    import torch
    from safetensors.torch import save

    out = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.to(getattr(torch, precision))
            if not bool(tensor.isfinite().all()):
                raise WeightsError(
                    f"{name} has values that are not finite in {precision}, whose largest is "
                    f"{torch.finfo(tensor.dtype).max:g}; has the training run diverged?"
                )
        out[name] = tensor.contiguous()
    data: bytes = save(out)
    return data


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under another name first, so that no half of it is ever found.

    Raises:
        OutputError: it cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
