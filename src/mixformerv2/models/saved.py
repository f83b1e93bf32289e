"""Networks that were saved: bundles by name or folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .network import Network

__all__ = ["load"]


def load(bundle: str | Path) -> Network:
    """The network of a bundle, with its weights, in eval mode.

    Args:
        bundle: Name of a shipped bundle, or a bundle folder.

    Raises:
        WeightsError: no such bundle, or weights that do not fit its `config.json`.
    """
    from ..weights.bundle import load_model

    return load_model(bundle)
