"""The networks, in PyTorch. `models.config` needs no PyTorch; the rest does."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .config import ModelConfig
from .registry import build, create, list_models, model_config
from .saved import load

if TYPE_CHECKING:
    from .mixformerv2 import MixFormerV2
    from .mixvit import MixViT
    from .network import Features, Network, Output

__all__ = [
    "Features",
    "MixFormerV2",
    "MixViT",
    "ModelConfig",
    "Network",
    "Output",
    "build",
    "create",
    "list_models",
    "load",
    "model_config",
]


_LAZY = {
    "Features": ".network",
    "MixFormerV2": ".mixformerv2",
    "MixViT": ".mixvit",
    "Network": ".network",
    "Output": ".network",
}


def __getattr__(name: str) -> Any:
    # PyTorch takes two seconds to import; whoever asks for a configuration should not pay.
    if name in _LAZY:
        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
