"""Published checkpoints: read them safely, find out what they are, and make our network of them.

The published MixFormerV2 code names its tensors `backbone.blocks.0.attn.qkv.weight` and so on, and
orders its prediction tokens left, right, top, bottom. Everything about a network but the search
factor can be read from names and shapes alone.
"""

from __future__ import annotations

import logging
import math
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import ConfigError, WeightsError
from ..models.assemble import assemble
from ..models.backbone import sincos_2d
from ..models.config import ModelConfig

if TYPE_CHECKING:
    from ..models.mixformerv2 import MixFormerV2

__all__ = [
    "Official",
    "build_official",
    "from_official",
    "inspect_official",
    "read_checkpoint",
]

log = logging.getLogger(__name__)

_OUR_ORDER = (0, 2, 1, 3)  # published left, right, top, bottom to left, top, right, bottom
_FLOAT16_MAX = 65504.0


@dataclass(frozen=True, slots=True)
class Official:
    """What a published checkpoint turned out to be.

    Attributes:
        config: The architecture, worked out from names and shapes.
        weights: Tensors under our names, float32, sides in our order.
        used: Published names that went into `weights` or were compared with their fixed value.
        ignored: Names in the checkpoint that a MixFormerV2 network has no place for.
    """

    config: ModelConfig
    weights: dict[str, Tensor]
    used: tuple[str, ...]
    ignored: tuple[str, ...]


def from_official(
    state_dict: Mapping[str, Any], *, layer_gain: Mapping[int, float] | None = None
) -> MixFormerV2:
    """Our network with the weights of a published checkpoint, in eval mode.

    Depth, width, MLP ratio, bins, sizes and heads are worked out from the tensors. The same
    inputs give the same boxes, probabilities and scores as the published code (held to 1e-4 by
    the golden tests); only the sides come as left, top, right, bottom.

    Args:
        state_dict: Published names to tensors, bare or inside `{"net": ...}`.
        layer_gain: Factors of layers that are being faded out (eq. 8); they are part of a run,
            not of its checkpoint.

    Raises:
        WeightsError: not a MixFormerV2 checkpoint, or one whose tensors do not fit together.

    Example:
        >>> from mixformerv2.weights.official import read_checkpoint
        >>> model = from_official(read_checkpoint("mixformerv2_small.pth.tar"))  # doctest: +SKIP
        >>> model.config.depth  # doctest: +SKIP
        4
    """
    return build_official(inspect_official(state_dict), layer_gain=layer_gain)


def build_official(
    official: Official, *, layer_gain: Mapping[int, float] | None = None
) -> MixFormerV2:
    """The network of an inspected checkpoint, in eval mode; it takes over the tensors."""
    config = replace(official.config, layer_gain=dict(layer_gain or {}))
    return assemble(config, official.weights)


def inspect_official(state_dict: Mapping[str, Any], source: str = "checkpoint") -> Official:
    """Work out what a published checkpoint holds, without building the network.

    Args:
        state_dict: Published names to tensors, bare or inside `{"net": ...}`.
        source: What to call it in messages, such as its file name.

    Raises:
        WeightsError: not a MixFormerV2 checkpoint, or one whose tensors do not fit together.
    """
    tensors = _tensors(state_dict, source)
    config = _config(tensors, source)
    expected = _published_shapes(config)
    for name, shape in expected.items():
        _check(tensors, name, shape, source)
    _check_positions(tensors, config, source)
    weights = {}
    for name in expected:
        if name not in _POSITIONS:
            weights[_our_name(name)] = tensors[name].detach().float().clone()
    for name in ("backbone.prediction_tokens", "backbone.pos_prediction"):
        weights[name] = weights[name][:, list(_OUR_ORDER)]
    ignored = tuple(name for name in tensors if name not in expected)
    log.info("%s: used %d tensors, ignored %d", source, len(expected), len(ignored))
    return Official(config, weights, tuple(expected), ignored)


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


def _tensors(state_dict: Mapping[str, Any], source: str) -> dict[str, Tensor]:
    """The tensors under their published names, out of wrappers that trainers put around them."""
    for wrapper in ("net", "state_dict", "model"):
        inner = state_dict.get(wrapper)
        if isinstance(inner, Mapping):
            state_dict = inner
            break
    tensors = {
        str(name).removeprefix("module."): value
        for name, value in state_dict.items()
        if isinstance(value, Tensor)
    }
    if not tensors:
        raise WeightsError(f"{source} holds no tensors; it is not a model checkpoint")
    return tensors


_FIRST = "backbone.patch_embed.proj.weight"
_QUERY = "backbone.reg_tokens"
_SIDES = "box_head.layers.1.0.weight"
_POSITIONS = ("backbone.pos_embed_t", "backbone.pos_embed_s")
_LAYER = re.compile(r"backbone\.blocks\.(\d+)\.")


def _config(tensors: Mapping[str, Tensor], source: str) -> ModelConfig:
    """Architecture from names and shapes."""
    if "box_head.conv1_tl.0.weight" in tensors and _QUERY not in tensors:
        raise WeightsError(
            f"{source} is a MixViT checkpoint (corner head, no prediction tokens), which cannot "
            "be converted yet; give a MixFormerV2 checkpoint"
        )
    for name in (_FIRST, _QUERY, _SIDES, *_POSITIONS):
        if name not in tensors:
            raise WeightsError(
                f"{source} is no MixFormerV2 checkpoint: it has no {name} among its "
                f"{len(tensors)} tensors, the first of which is {next(iter(tensors))}"
            )
    width, _, patch, _ = _dims(tensors, _FIRST, 4, source)
    depth = 1 + max((int(m[1]) for name in tensors if (m := _LAYER.match(name))), default=-1)
    if depth == 0:
        raise WeightsError(f"{source} has no layers: no tensor is called backbone.blocks.0.*")
    hidden_name = "backbone.blocks.0.mlp.fc1.weight"
    if hidden_name not in tensors:
        raise WeightsError(f"{source} lacks {hidden_name}; the checkpoint is incomplete")
    hidden, _ = _dims(tensors, hidden_name, 2, source)
    template, search = (
        patch * _grid(tensors, name, source) for name in ("backbone.pos_embed_t", _POSITIONS[1])
    )
    try:
        return ModelConfig(
            width=width,
            depth=depth,
            mlp_ratio=_ratio(hidden, width),
            patch_size=patch,
            template_size=template,
            search_size=search,
            bins=_dims(tensors, _SIDES, 2, source)[0],
            score_head="score_head.layers.1.weight" in tensors,
        )
    except ConfigError as error:
        raise WeightsError(f"{source} has shapes that no network here can take: {error}") from error


def _dims(tensors: Mapping[str, Tensor], name: str, count: int, source: str) -> tuple[int, ...]:
    shape = tuple(tensors[name].shape)
    if len(shape) != count or 0 in shape:
        raise WeightsError(
            f"{source}: {name} has shape {shape}, expected {count} dimensions, none of them 0"
        )
    return shape


def _grid(tensors: Mapping[str, Tensor], name: str, source: str) -> int:
    """Tokens along one side, from the length of a position embedding."""
    tokens = _dims(tensors, name, 3, source)[1]
    side = math.isqrt(tokens)
    if side * side != tokens:
        raise WeightsError(
            f"{source}: {name} is for {tokens} tokens, which is no square; crops must be square"
        )
    return side


def _ratio(hidden: int, width: int) -> float:
    """The MLP ratio whose product with the width, rounded down, is `hidden`."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def _published_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Published names and shapes of all tensors of a network."""
    c, hidden, bins, patch = config.width, config.hidden, config.bins, config.patch_size
    shapes: dict[str, tuple[int, ...]] = {
        "backbone.pos_embed_t": (1, config.template_grid**2, c),
        "backbone.pos_embed_s": (1, config.search_grid**2, c),
        "backbone.reg_tokens": (1, 4, c),
        "backbone.pos_embed_reg": (1, 4, c),
        "backbone.patch_embed.proj.weight": (c, 3, patch, patch),
        "backbone.patch_embed.proj.bias": (c,),
    }

    def linear(name: str, into: int, out: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, into), (out,)

    def norm(name: str, width: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (width,), (width,)

    for layer in range(config.depth):
        block = f"backbone.blocks.{layer}"
        norm(f"{block}.norm1", c)
        linear(f"{block}.attn.qkv", c, 3 * c)
        linear(f"{block}.attn.proj", c, c)
        norm(f"{block}.norm2", c)
        linear(f"{block}.mlp.fc1", c, hidden)
        linear(f"{block}.mlp.fc2", hidden, c)
    linear("box_head.layers.0.0", c, c)
    norm("box_head.layers.0.1", c)
    linear("box_head.layers.1.0", c, bins)
    norm("box_head.layers.1.1", bins)
    if config.score_head:
        linear("score_head.layers.0.0", c, c)
        linear("score_head.layers.1", c, 1)
    return shapes


_RENAMES = (
    ("backbone.patch_embed.", "backbone.stem."),
    ("backbone.reg_tokens", "backbone.prediction_tokens"),
    ("backbone.pos_embed_reg", "backbone.pos_prediction"),
    ("backbone.blocks.", "backbone.layers."),
    ("box_head.layers.0.0.", "box_head.mlps.0.fc1."),
    ("box_head.layers.0.1.", "box_head.mlps.0.norm1."),
    ("box_head.layers.1.0.", "box_head.mlps.0.fc2."),
    ("box_head.layers.1.1.", "box_head.mlps.0.norm2."),
    ("score_head.layers.0.0.", "score_head.fc1."),
    ("score_head.layers.1.", "score_head.fc2."),
)


def _our_name(name: str) -> str:
    for published, ours in _RENAMES:
        if name.startswith(published):
            return ours + name[len(published) :]
    raise AssertionError(f"no rename for {name}")


def _check(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...], source: str) -> None:
    """A tensor is there, has the shape that the rest asks for, and finite values."""
    if name not in tensors:
        raise WeightsError(f"{source} lacks {name}; the checkpoint is incomplete or mixed")
    tensor = tensors[name]
    if tuple(tensor.shape) != shape:
        raise WeightsError(
            f"{source}: {name} has shape {tuple(tensor.shape)}, but the other tensors ask for "
            f"{shape}; the file mixes two models"
        )
    if not tensor.is_floating_point():
        raise WeightsError(f"{source}: {name} holds {tensor.dtype}, expected floating point")
    # Bundles keep weights as float16; NaN fails the comparison as well.
    if not float(tensor.abs().max()) <= _FLOAT16_MAX:
        raise WeightsError(
            f"{source}: {name} has values that are not finite or beyond {_FLOAT16_MAX:g}; "
            "the training run it comes from has diverged"
        )


def _check_positions(tensors: Mapping[str, Tensor], config: ModelConfig, source: str) -> None:
    """Position embeddings are fixed, so they are compared, not copied."""
    grids = (config.template_grid, config.search_grid)
    for name, grid in zip(_POSITIONS, grids, strict=True):
        difference = float((tensors[name][0].float() - sincos_2d(config.width, grid)).abs().max())
        if difference > 1e-3:  # half precision rounds values up to 1 by 5e-4
            raise WeightsError(
                f"{source}: {name} differs by {difference:.2g} from the fixed sine-cosine "
                "embedding; only checkpoints that keep it fixed, as published, can be converted"
            )
