"""Follow any one object through a video from one box on the first frame: MixFormerV2.

Example:
    >>> import mixformerv2 as mf
    >>> for result in mf.track("clip.mp4", box=(175, 137, 93, 86)):  # doctest: +SKIP
    ...     print(result.frame, result.box, result.score, result.state)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import (
    BoxError,
    ConfigError,
    DataError,
    EngineError,
    FrameError,
    MixFormerError,
    OutputError,
    SourceError,
    StateError,
    TrainingError,
    WeightsError,
)

if TYPE_CHECKING:
    from .box import Box, iou
    from .tracking import (
        MultiTracker,
        StreamFailure,
        StreamPool,
        Tracker,
        TrackerSettings,
        TrackResult,
        TrackState,
        track,
    )
    from .weights.bundle import list_bundles

__version__ = "0.1.0"

__all__ = [
    "Box",
    "BoxError",
    "ConfigError",
    "DataError",
    "EngineError",
    "FrameError",
    "MixFormerError",
    "MultiTracker",
    "OutputError",
    "SourceError",
    "StateError",
    "StreamFailure",
    "StreamPool",
    "TrackResult",
    "TrackState",
    "Tracker",
    "TrackerSettings",
    "TrainingError",
    "WeightsError",
    "__version__",
    "iou",
    "list_bundles",
    "track",
]

_LAZY = {
    "Box": ".box",
    "MultiTracker": ".tracking",
    "StreamFailure": ".tracking",
    "StreamPool": ".tracking",
    "TrackResult": ".tracking",
    "TrackState": ".tracking",
    "Tracker": ".tracking",
    "TrackerSettings": ".tracking",
    "iou": ".box",
    "list_bundles": ".weights.bundle",
    "track": ".tracking",
}


def __getattr__(name: str) -> Any:
    # NumPy, OpenCV and the engines load on first use: `mixformerv2 --help` must answer at once.
    if name in _LAZY:
        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
