"""Networks by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..settings import build as build_settings
from .config import ModelConfig

if TYPE_CHECKING:
    from .network import Network

__all__ = ["build", "create", "list_models", "model_config"]


def mixformerv2_b() -> ModelConfig:
    """MixFormerV2-B of the paper: 8 layers, 288-pixel search crop."""
    return ModelConfig(depth=8, mlp_ratio=4.0, search_size=288, template_size=128)


def mixformerv2_s() -> ModelConfig:
    """MixFormerV2-S of the paper: 4 layers with MLP ratio 1, 224-pixel search crop."""
    return ModelConfig(depth=4, mlp_ratio=1.0, search_size=224, template_size=112)


def mixformerv2_t() -> ModelConfig:
    """Ours, the embedded default: 2.4 M parameters, trained from random weights."""
    return ModelConfig(
        width=192,
        depth=6,
        mlp_ratio=3.0,
        search_size=128,
        template_size=64,
        bins=64,
        stem="conv",
    )


def mixformerv2_t256() -> ModelConfig:
    """T, wider and deeper: a student or teacher that still trains on one small machine."""
    return replace(mixformerv2_t(), width=256, depth=8)


def mixformerv2_t384() -> ModelConfig:
    """T at half the width of B, 12 layers deep: the start of a small plan."""
    return replace(mixformerv2_t(), width=384, depth=12)


def mixvit_b() -> ModelConfig:
    """MixViT-B with the pyramidal corner head: 12 layers, 288-pixel search crop."""
    return ModelConfig(depth=12, search_size=288, template_size=128, box_head="corner_pyramid")


def mixvit_l() -> ModelConfig:
    """MixViT-L with the pyramidal corner head, the paper's teacher: width 1024, 24 layers."""
    return replace(mixvit_b(), width=1024, depth=24)


def mixvit_b_224() -> ModelConfig:
    """MixViT-B with the plain corner head at 224 pixels, the teacher of S."""
    return replace(mixvit_b(), search_size=224, template_size=112, box_head="corner")


def mixvit_l_224() -> ModelConfig:
    """MixViT-L with the plain corner head at 224 pixels."""
    return replace(mixvit_b_224(), width=1024, depth=24)


def mixvit_t() -> ModelConfig:
    """T's crops, stem and width with a pyramidal corner head: the smallest teacher."""
    return replace(mixformerv2_t(), box_head="corner_pyramid", head_channels=96)


def mixvit_t256() -> ModelConfig:
    """A teacher for T of width 256 and 8 layers."""
    return replace(mixformerv2_t256(), box_head="corner_pyramid", head_channels=128)


def mixvit_t384() -> ModelConfig:
    """A teacher for T of width 384 and 12 layers."""
    return replace(mixformerv2_t384(), box_head="corner_pyramid", head_channels=192)


_MODELS: dict[str, Callable[[], ModelConfig]] = {
    made.__name__: made
    for made in (
        mixformerv2_b,
        mixformerv2_s,
        mixformerv2_t,
        mixformerv2_t256,
        mixformerv2_t384,
        mixvit_b,
        mixvit_b_224,
        mixvit_l,
        mixvit_l_224,
        mixvit_t,
        mixvit_t256,
        mixvit_t384,
    )
}


def list_models() -> list[str]:
    """Names that `create` takes.

    Example:
        >>> list_models()[:3]
        ['mixformerv2_b', 'mixformerv2_s', 'mixformerv2_t']
    """
    return sorted(_MODELS)


def model_config(name: str, **overrides: Any) -> ModelConfig:
    """The configuration behind a name, with single settings changed.

    Raises:
        ConfigError: an unknown name or setting, or a value that cannot work.
    """
    if name not in list_models():  # which takes whatever YAML made of it
        raise ConfigError(f"no model is called {name!r}; there are {', '.join(list_models())}")
    config = _MODELS[name]()
    values = {one.name: getattr(config, one.name) for one in fields(ModelConfig)}
    return build_settings(ModelConfig, values | overrides, name)


def build(config: ModelConfig) -> Network:
    """A network with random weights, of the family that its head belongs to.

    Example:
        >>> type(build(ModelConfig(width=64, depth=1, box_head="corner"))).__name__
        'MixViT'
    """
    if config.corner_head:
        from .mixvit import MixViT

        return MixViT(config)
    from .mixformerv2 import MixFormerV2

    return MixFormerV2(config)


def create(name: str, **overrides: Any) -> Network:
    """A network with random weights.

    Args:
        name: One of `list_models()`.
        **overrides: Settings of `ModelConfig` to change.

    Raises:
        ConfigError: an unknown name or setting, or a value that cannot work.

    Example:
        >>> model = create("mixformerv2_t", depth=2)
        >>> model.config.depth
        2
    """
    return build(model_config(name, **overrides))
