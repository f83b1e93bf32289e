"""Results as `supervision.Detections`, for its annotators, zones, metrics and sinks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..box import Box
from ..tracking import TrackResult

if TYPE_CHECKING:
    from supervision import Detections

__all__ = ["to_detections"]


def to_detections(
    results: TrackResult | Mapping[int, TrackResult], *, class_id: int = 0, label: str = "object"
) -> Detections:
    """The answer of one frame.

    Args:
        results: What `MultiTracker.update` gave, or one result, whose tracker id will be 1.
        class_id: Number of the class of all of them.
        label: Its name.

    Returns:
        `xyxy` in pixels, `confidence`, `class_id`, `tracker_id`, and in `data` the arrays
        `"state"` ("tracked", "uncertain" or "lost") and `"class_name"`. Lost targets are among
        them, where they were last believed to be: `detections[detections.data["state"] != "lost"]`
        leaves them out.

    Raises:
        ImportError: supervision is not installed (`pip install supervision`).

    Example:
        >>> detections = to_detections(multi.update(frame))  # doctest: +SKIP
        >>> sv.BoxAnnotator().annotate(frame.copy(), detections)  # doctest: +SKIP
    """
    import supervision

    by_id = {1: results} if isinstance(results, TrackResult) else dict(results)
    count = len(by_id)
    data: dict[str, Any] = {
        "state": np.array([result.state for result in by_id.values()], dtype="<U9"),
        "class_name": np.array([label] * count, dtype=f"<U{max(1, len(label))}"),
    }
    boxes = [Box(*result.box).xyxy for result in by_id.values()]
    return supervision.Detections(
        xyxy=np.array(boxes, np.float32).reshape(count, 4),
        confidence=np.array([result.score for result in by_id.values()], np.float32),
        class_id=np.full(count, class_id, np.int64),
        tracker_id=np.array(list(by_id), np.int64).reshape(count),
        data=data,
    )
