"""Networks out of PyTorch: two ONNX graphs, and how well they agree with it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .onnx import export_bundle
    from .parity import Parity
    from .quantize import Int8Report, export_int8

__all__ = ["Int8Report", "Parity", "export_bundle", "export_int8"]

_LAZY = {
    "Int8Report": ".quantize",
    "Parity": ".parity",
    "export_bundle": ".onnx",
    "export_int8": ".quantize",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
