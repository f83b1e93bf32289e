"""Networks out of PyTorch: two ONNX graphs, and how well they agree with it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .onnx import export_bundle
    from .parity import Parity

__all__ = ["Parity", "export_bundle"]

_LAZY = {"Parity": ".parity", "export_bundle": ".onnx"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
