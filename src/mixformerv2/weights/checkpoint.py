"""Checkpoint files: read them without running what they hold, and look at their tensors."""

from __future__ import annotations

import math
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import WeightsError

__all__ = [
    "check_tensor",
    "dims",
    "grid_side",
    "hidden_ratio",
    "read_checkpoint",
    "refuse_values",
    "tensors_of",
]

_FLOAT16_MAX = 65504.0
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Tensors of a `.pth`, `.pth.tar` or `.safetensors` file; runs no code that the file holds.

    Raises:
        WeightsError: missing, damaged, or a pickle that asks for more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise WeightsError(f"{path} {what}; give the checkpoint file, .pth, .pth.tar, .safetensors")
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise WeightsError(f"{path} is empty; download it again")
    if start.lstrip()[:1] == b"<":
        raise WeightsError(
            f"{path} is a web page, not a checkpoint; download it again in a browser"
        )
    read = _read_safetensors if path.suffix == ".safetensors" else _read_pickle
    content = read(path)
    if not isinstance(content, dict):
        raise WeightsError(
            f"{path} holds a {type(content).__name__}, not a dict of tensors; "
            'a checkpoint is a state dict or {"net": state dict}'
        )
    return content


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path} is damaged or no safetensors file ({error}); download it again"
        ) from error


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # About pickle protocols: nothing that whoever converts a file can act upon.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A hostile or torn file can raise anything in an unpickler, from KeyError to struct.error.
        asked = re.search(r"GLOBAL:? (\S+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and asked:
            raise WeightsError(
                f"{path} asks to run {asked[1]} while it is read, which is refused; if you trust "
                "its origin, keep its tensors alone with torch.save({'net': torch.load("
                f"'{path.name}', weights_only=False)['net']}}, 'clean.pth') and convert clean.pth"
            ) from error
        raise WeightsError(
            f"{path} is damaged, cut short or no PyTorch checkpoint; download it again"
        ) from error


def tensors_of(state_dict: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """The tensors under their published names, out of wrappers that trainers put around them."""
    for wrapper in ("net", "state_dict", "model"):
        inner = state_dict.get(wrapper)
        if isinstance(inner, Mapping):
            state_dict = inner
            break
    tensors = {
        str(name).removeprefix("module."): value.detach()
        for name, value in state_dict.items()
        if isinstance(value, Tensor)
    }
    if not tensors:
        raise WeightsError(f"{source} holds no tensors; it is not a model checkpoint")
    for name, tensor in tensors.items():
        _refuse_strange(name, tensor, source)
    return tensors


def _refuse_strange(name: str, tensor: Tensor, source: str) -> None:
    """Plain tensors alone, of which the file holds every value.

    A few bytes can claim a tensor of any size, by strides of 0 or without any values.
    """
    plain = tensor.layout == torch.strided and not tensor.is_meta and not tensor.is_quantized
    if plain and tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        plain = False
    if not plain:
        raise WeightsError(
            f"{source}: {name} is no plain tensor of shape {tuple(tensor.shape)} (sparse, "
            "quantized, or without all of its values)"
        )


def dims(tensors: Mapping[str, Tensor], name: str, count: int, source: str) -> tuple[int, ...]:
    """The shape of a tensor that must have so many dimensions, none of them 0.

    Raises:
        WeightsError: it has another shape.
    """
    shape = tuple(tensors[name].shape)
    if len(shape) != count or 0 in shape:
        raise WeightsError(
            f"{source}: {name} has shape {shape}, expected {count} dimensions, none of them 0"
        )
    return shape


def grid_side(tensors: Mapping[str, Tensor], name: str, source: str) -> int:
    """Tokens along one side, from the length of a position embedding.

    Raises:
        WeightsError: the tokens make no square.
    """
    tokens = dims(tensors, name, 3, source)[1]
    side = math.isqrt(tokens)
    if side * side != tokens:
        raise WeightsError(
            f"{source}: {name} is for {tokens} tokens, which is no square; crops must be square"
        )
    return side


def hidden_ratio(hidden: int, width: int) -> float:
    """The MLP ratio whose product with the width, rounded down, is `hidden`."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def check_tensor(
    tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...], source: str
) -> None:
    """A tensor is there, has the shape that the rest asks for, and finite values."""
    if name not in tensors:
        raise WeightsError(f"{source} lacks {name}; the checkpoint is incomplete or mixed")
    tensor = tensors[name]
    if tuple(tensor.shape) != shape:
        raise WeightsError(
            f"{source}: {name} has shape {tuple(tensor.shape)}, but the other tensors ask for "
            f"{shape}; the file mixes two models"
        )
    refuse_values(tensor, name, source)


def refuse_values(tensor: Tensor, name: str, source: str) -> None:
    """Refuse values that are no weights.

    Raises:
        WeightsError: whole numbers, values that are not finite, or too large for float16.
    """
    if tensor.dtype not in _DTYPES:
        raise WeightsError(f"{source}: {name} holds {tensor.dtype}, expected floating point")
    # Bundles keep weights as float16; NaN fails the comparison as well.
    if not float(tensor.abs().max()) <= _FLOAT16_MAX:
        raise WeightsError(
            f"{source}: {name} has values that are not finite or beyond {_FLOAT16_MAX:g}; "
            "the training run it comes from has diverged"
        )
