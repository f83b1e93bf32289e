"""The tracker: crops, template policy and states around an inference engine. No PyTorch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .result import TargetState, TrackResult
from .settings import TrackerSettings

if TYPE_CHECKING:
    from .api import track
    from .multi import MultiTracker
    from .state import TrackState
    from .streams import StreamFailure, StreamPool
    from .tracker import Tracker

__all__ = [
    "MultiTracker",
    "StreamFailure",
    "StreamPool",
    "TargetState",
    "TrackResult",
    "TrackState",
    "Tracker",
    "TrackerSettings",
    "track",
]

_LAZY = {
    "MultiTracker": ".multi",
    "StreamFailure": ".streams",
    "StreamPool": ".streams",
    "TrackState": ".state",
    "Tracker": ".tracker",
    "track": ".api",
}


def __getattr__(name: str) -> Any:
    # These need OpenCV, which whoever reads settings or a bundle's config should not wait for.
    if name in _LAZY:
        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
