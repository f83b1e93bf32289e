"""What may be given as a frame, and what is done with it."""

from __future__ import annotations

import math
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import FrameError

__all__ = ["Channels", "as_bgr"]

Channels = Literal["bgr", "rgb"]

_OVERSHOOT = 0.05
"""Cut off without a word: rounding leaves 0..1 by far less, cubic resizing seldom by more."""

_ACCEPTED = "a frame is [H, W, 3] of uint8 as OpenCV gives it, or grey, with alpha, 16-bit or 0..1"


def as_bgr(frame: Any) -> NDArray[np.uint8]:
    """Turn whatever picture came into 8-bit colour `[H, W, 3]`, in the channel order it came in.

    | given | done |
    |---|---|
    | uint8 `[H, W, 3]` | returned as it is, whatever its strides |
    | grey, `[H, W]` or `[H, W, 1]` | the grey goes into all three channels |
    | with alpha, `[H, W, 4]` | alpha is dropped |
    | float | must lie in 0..1 (what stands out by up to 0.05 is cut), times 255, rounded |
    | uint16 | must use the full range: the upper eight bits are kept |

    Raises:
        FrameError: anything else. The message says what came and what to do with it.

    Example:
        >>> as_bgr(np.ones((4, 6), np.float32)).shape
        (4, 6, 3)
    """
    if not isinstance(frame, np.ndarray):
        raise FrameError(_not_an_array(frame))
    if frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] not in (1, 3, 4)):
        raise FrameError(f"a frame of shape {frame.shape} is not a picture: {_ACCEPTED}")
    if 0 in frame.shape:
        raise FrameError(f"a frame of shape {frame.shape} holds no pixels")
    picture = _as_bytes(frame)
    if picture.ndim == 3 and picture.shape[2] == 3:
        return picture
    grey = picture.ndim == 2 or picture.shape[2] == 1
    code = cv2.COLOR_GRAY2BGR if grey else cv2.COLOR_BGRA2BGR
    # cv2 wants plain strides; a copy is made only where the caller's are not.
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(picture), code), np.uint8)


def _not_an_array(frame: Any) -> str:
    if frame is None:
        return "the frame is None: OpenCV gives that for a picture it cannot read; check the path"
    kind = f"{type(frame).__module__}.{type(frame).__qualname__}"
    way = "convert it with numpy.asarray(frame)"
    if kind.startswith("PIL."):
        way = "give numpy.asarray(frame.convert('RGB')) to a tracker with channels='rgb'"
    return f"a frame of type {kind} is not a numpy array; {way}"


def _as_bytes(frame: NDArray[Any]) -> NDArray[np.uint8]:
    if frame.dtype == np.uint8:
        return frame
    if frame.dtype.newbyteorder("=") == np.uint16:
        return (frame >> 8).astype(np.uint8)
    if frame.dtype.kind == "f":
        low, high = float(frame.min()), float(frame.max())
        if not (low >= -_OVERSHOOT and high <= 1.0 + _OVERSHOOT):  # also refuses NaN
            raise FrameError(
                f"a frame of {frame.dtype} must lie in 0..1, found {low!r} to {high!r}; "
                f"{_way_into_range(low, high)}"
            )
        if low < 0.0 or high > 1.0:
            frame = frame.clip(0.0, 1.0)
        return np.rint(frame * 255.0).astype(np.uint8)
    raise FrameError(f"a frame of {frame.dtype} cannot be used: {_ACCEPTED}")


def _way_into_range(low: float, high: float) -> str:
    if not math.isfinite(high - low):
        return "numpy.nan_to_num(frame, posinf=1, neginf=0) replaces what is not finite"
    if low >= 0.0 and high > 2.0:
        return "for values up to 255 give frame.astype('uint8')"
    return "undo what moved it (a network's normalisation?), or give numpy.clip(frame, 0, 1)"
