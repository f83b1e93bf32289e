"""CVAT tracks with our tracker: by a serverless function (nuclio), or by an agent of its SDK.

- `init_context` and `handler` are what nuclio calls; `deploy/cvat` has the rest of the function.
  The server keeps the state of each object between frames: that of `Tracker.save_state`, some ten
  kilobytes, as base64. Nothing is kept here, so any worker may answer any frame.
- `create` makes the tracking function that `cvat-cli function run-agent` loads.

Sources: `serverless/` of CVAT, `cvat_sdk.auto_annotation.interface`.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..errors import BoxError, DataError, FrameError, MixFormerError, StateError
from ..tracking import Tracker, TrackerSettings, TrackState

if TYPE_CHECKING:
    from cvat_sdk.auto_annotation import TrackableShape, TrackingFunctionSpec

__all__ = ["Following", "TrackingFunction", "answer", "create", "handler", "init_context"]

logger = logging.getLogger(__name__)

Picture = NDArray[np.uint8]
_RECTANGLE = "rectangle"


def init_context(context: Any) -> None:
    """Load the model once for a worker of nuclio.

    `MIXFORMERV2_MODEL` and `MIXFORMERV2_ENGINE` in the environment choose model and engine.
    """
    model = os.environ.get("MIXFORMERV2_MODEL", "t")
    engine = os.environ.get("MIXFORMERV2_ENGINE", "auto")
    context.user_data.tracker = Tracker(model, engine)
    context.logger.info(f"mixformerv2: model {model} is ready")


def handler(context: Any, event: Any) -> Any:
    """Answer one request of CVAT's server: a frame, the shapes and their states.

    A request that cannot be answered gets status 400 and a sentence, which CVAT shows.
    """
    try:
        body = event.body
        body = json.loads(body) if isinstance(body, str | bytes | bytearray) else body
        status, content = 200, answer(context.user_data.tracker, body)
    except (MixFormerError, ValueError, RecursionError) as error:
        logger.warning("refused: %s", error)
        status, content = 400, {"error": str(error)}
    return context.Response(
        body=json.dumps(content), headers={}, content_type="application/json", status_code=status
    )


def answer(tracker: Tracker, request: Mapping[str, Any]) -> dict[str, Any]:
    """What is said to a request, as values of JSON.

    Args:
        tracker: Model and settings; its own target is not touched.
        request: `image`, a coded picture in base64; for each object in `shapes` a rectangle as
            `[x1, y1, x2, y2]` or with these as `points`, where tracking begins, or in `states`
            what was answered for the frame before. The other one is None or missing: CVAT sends
            shapes of None since the middle of 2025, the last ones before.

    Returns:
        `shapes` and `states` for this frame. All objects go through the network together. A lost
        target stays where it was last seen: the protocol has no word for it.

    Raises:
        DataError, FrameError, BoxError, StateError: a request, image, shape or state that is none.
    """
    if not isinstance(request, Mapping):
        raise DataError(f"a request is an object of JSON, got {_kind(request)}")
    picture = _decoded(request.get("image"))
    objects = list(zip_longest(_listed(request, "shapes"), _listed(request, "states")))
    given = [_box(shape) if state is None else _state(state) for shape, state in objects]
    going = [one for one in given if isinstance(one, TrackState)]
    followed = iter(tracker.step_all(picture, going))
    out: dict[str, Any] = {"shapes": [], "states": []}
    for one in given:
        result, after = tracker.start(picture, one) if isinstance(one, Box) else next(followed)
        out["shapes"].append(list(Box(*result.box).xyxy))
        out["states"].append(base64.b64encode(after.to_bytes()).decode("ascii"))
    return out


@dataclass
class Following:
    """What an agent keeps of one object from frame to frame."""

    state: TrackState


class TrackingFunction:
    """The SDK's protocol of tracking functions, for rectangles.

    Args:
        model: As for `Tracker`.
        engine: As for `Tracker`.
        threads: As for `Tracker`.
        settings: As for `Tracker`.

    Raises:
        WeightsError, EngineError, ConfigError: as `Tracker` does.
    """

    def __init__(
        self,
        model: str | Path = "t",
        engine: str = "auto",
        threads: int | None = None,
        settings: TrackerSettings | Mapping[str, Any] | None = None,
    ) -> None:
        self._tracker = Tracker(model, engine, threads, "rgb", settings)

    @property
    def spec(self) -> TrackingFunctionSpec:
        """Which shapes can be tracked: rectangles."""
        from cvat_sdk.auto_annotation import TrackingFunctionSpec

        return TrackingFunctionSpec(supported_shape_types=[_RECTANGLE])

    def preprocess_image(self, context: Any, image: Any) -> Picture:
        """A picture of PIL as pixels, once for all objects in it."""
        return np.asarray(image.convert("RGB"), np.uint8)

    def init_tracking_state(self, context: Any, pp_image: Picture, shape: Any) -> Following:
        """Start on one rectangle.

        Raises:
            BoxError: a rectangle without area, or outside the picture.
        """
        return Following(self._tracker.start(pp_image, _box(shape.points))[1])

    def track(self, context: Any, pp_image: Picture, state: Following) -> TrackableShape | None:
        """The rectangle in another frame; None where the target is lost."""
        from cvat_sdk.auto_annotation import TrackableShape

        result, state.state = self._tracker.step(pp_image, state.state)
        if result.state == "lost":
            return None
        return TrackableShape(type=_RECTANGLE, points=list(Box(*result.box).xyxy))


create = TrackingFunction
"""The name that `cvat-cli --function-module mixformerv2.integrations.cvat` looks for."""


def _decoded(image: Any) -> Picture:
    try:
        data = np.frombuffer(base64.b64decode(image or "", validate=True), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except (binascii.Error, TypeError, ValueError, cv2.error) as error:
        raise FrameError(f"the image of the request is no picture in base64: {error}") from error
    if picture is None:
        raise FrameError("the image of the request is none that OpenCV can decode; send a JPEG")
    return np.asarray(picture, np.uint8)


def _listed(request: Mapping[str, Any], name: str) -> list[Any]:
    values = request.get(name)
    if values is not None and not isinstance(values, list | tuple):
        raise DataError(f"the {name} of a request are a list, got {_kind(values)}")
    return list(values or ())


def _kind(value: Any) -> str:
    return f"a value of type {type(value).__name__}"


def _box(shape: Any) -> Box:
    if shape is None:
        raise BoxError("an object of the request has neither a rectangle nor a state; send one")
    points: Sequence[float] = shape.get("points", ()) if isinstance(shape, Mapping) else shape
    try:
        x1, y1, x2, y2 = (float(value) for value in points)
    except (TypeError, ValueError, OverflowError) as error:
        raise BoxError(f"a rectangle is four numbers x1, y1, x2, y2, got {shape!r}") from error
    # Drawn from any corner.
    left, right, top, bottom = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
    return Box.parse(Box.from_xyxy(left, top, right, bottom))


def _state(text: Any) -> TrackState:
    try:
        return TrackState.from_bytes(base64.b64decode(text, validate=True))
    except (binascii.Error, TypeError, ValueError) as error:
        if isinstance(error, StateError):
            raise
        raise StateError(f"a state is base64 that this function gave out: {error}") from error
