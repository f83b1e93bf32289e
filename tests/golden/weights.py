"""Weights and inputs that anyone can rebuild, for which the published outputs are known.

The recipe of the reference numbers in `tests/golden/data`: each tensor is drawn from a generator
seeded with its published name alone, so no checkpoint is needed to hold an implementation to them.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SEED = 7
DATA = Path(__file__).parent / "data"
SIZES = {"mixformerv2_s": (112, 224), "mixvit_b_corner_224": (112, 224)}  # all others (128, 288)

Floats = NDArray[np.float32]


def sizes(name: str) -> tuple[int, int]:
    """Template and search size of a golden model, pixels."""
    return SIZES.get(name, (128, 288))


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Published names and shapes of a golden model's tensors."""
    text = (DATA / f"{name}.keys.json").read_text()
    return {key: tuple(shape) for key, shape in json.loads(text).items()}


def tensor(key: str, shape: tuple[int, ...]) -> Floats:
    """One tensor of the recipe, from its published name."""
    if key.endswith(("pos_embed_s", "pos_embed_t")):
        return sincos(math.isqrt(shape[1]), shape[2])[None]
    x = np.random.default_rng([SEED, zlib.crc32(key.encode())]).standard_normal(shape)
    if key.endswith("running_var"):
        x = 1 + 0.1 * abs(x)
    elif key.endswith(("reg_tokens", "pos_embed_reg")):
        x = 0.5 * x
    elif len(shape) > 1:
        x = x / math.sqrt(math.prod(shape[1:]))
    elif key.endswith("weight"):
        x = 1 + 0.1 * x
    else:
        x = 0.1 * x
    return x.astype(np.float32)


def sincos(side: int, width: int) -> Floats:
    """The fixed 2-D sine-cosine embedding `[side * side, width]`: x in the first half."""
    quarter = width // 4
    rates = 1.0 / 10000 ** (np.arange(quarter, dtype=np.float64) / quarter)
    angles = np.arange(side)[:, None] * rates
    line = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)  # [side, width / 2]
    across = np.tile(line, (side, 1))
    down = np.repeat(line, side, axis=0)
    return np.concatenate([across, down], axis=1).astype(np.float32)


def state_dict(name: str) -> dict[str, Tensor]:
    """A golden model's weights under their published names."""
    return {key: torch.from_numpy(tensor(key, shape)) for key, shape in shapes(name).items()}


def tracked_state_dict(numbers: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    """S as `track_basketball.npz` ran it: the end of its heads fitted so that boxes stay alive."""
    state = state_dict("mixformerv2_s")
    for part in ("0_weight", "0_bias", "1_weight", "1_bias"):
        name = "box_head.layers.1." + part.replace("_", ".")
        state[name] = torch.from_numpy(numbers[f"box_head_1_{part}"])
    state["score_head.layers.1.bias"] += float(numbers["score_bias_added"])
    return state


def inputs(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Template, online template and search region, batch 2."""
    template, search = sizes(name)
    made = [
        np.random.default_rng([SEED, i]).standard_normal((2, 3, size, size)).astype(np.float32)
        for i, size in ((1, template), (2, template), (3, search))
    ]
    return torch.from_numpy(made[0]), torch.from_numpy(made[1]), torch.from_numpy(made[2])


def reference(name: str) -> dict[str, NDArray[Any]]:
    """What the published code answers for `state_dict(name)` and `inputs(name)`."""
    with np.load(DATA / f"{name}.npz") as file:
        return dict(file)
