"""Networks by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .config import ModelConfig

if TYPE_CHECKING:
    from .mixformerv2 import MixFormerV2

__all__ = ["create", "list_models", "load", "model_config"]


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


_MODELS: dict[str, Callable[[], ModelConfig]] = {
    "mixformerv2_b": mixformerv2_b,
    "mixformerv2_s": mixformerv2_s,
    "mixformerv2_t": mixformerv2_t,
}


def list_models() -> list[str]:
    """Names that `create` takes.

    Example:
        >>> list_models()
        ['mixformerv2_b', 'mixformerv2_s', 'mixformerv2_t']
    """
    return sorted(_MODELS)


def model_config(name: str, **overrides: Any) -> ModelConfig:
    """The configuration behind a name, with single settings changed.

    Raises:
        ConfigError: an unknown name or setting.
    """
    if name not in _MODELS:
        raise ConfigError(f"no model is called {name!r}; there are {', '.join(list_models())}")
    config = _MODELS[name]()
    try:
        return replace(config, **overrides)
    except TypeError as error:
        raise ConfigError(f"unknown setting for {name}: {error}") from error


def create(name: str, **overrides: Any) -> MixFormerV2:
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
    from .mixformerv2 import MixFormerV2

    return MixFormerV2(model_config(name, **overrides))


def load(bundle: str | Path) -> MixFormerV2:
    """The network of a bundle, with its weights, in eval mode.

    Args:
        bundle: Name of a shipped bundle, or a bundle folder.

    Raises:
        WeightsError: no such bundle, or weights that do not fit its `config.json`.
    """
    from ..weights.bundle import load_model

    return load_model(bundle)
