"""Weights: bundles, and the published checkpoints. Nothing here imports PyTorch until called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bundle import save_bundle
    from .official import from_official

__all__ = ["from_official", "save_bundle"]


def __getattr__(name: str) -> Any:
    # `official` needs PyTorch, which a runtime that reads `bundle` alone may not have.
    if name == "from_official":
        from .official import from_official

        return from_official
    if name == "save_bundle":
        from .bundle import save_bundle

        return save_bundle
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
