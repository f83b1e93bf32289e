"""The networks, in PyTorch. `models.config` needs no PyTorch; the rest does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .config import ModelConfig
from .registry import create, list_models, load, model_config

if TYPE_CHECKING:
    from .mixformerv2 import Features, MixFormerV2, Output

__all__ = [
    "Features",
    "MixFormerV2",
    "ModelConfig",
    "Output",
    "create",
    "list_models",
    "load",
    "model_config",
]


def __getattr__(name: str) -> Any:
    # PyTorch takes two seconds to import; whoever asks for a configuration should not pay.
    if name in ("Features", "MixFormerV2", "Output"):
        from . import mixformerv2

        return getattr(mixformerv2, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
