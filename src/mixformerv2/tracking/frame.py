"""What may be given as a frame, and what is done with it."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import FrameError

__all__ = ["Channels", "as_bgr"]

Channels = Literal["bgr", "rgb"]

_ACCEPTED = "a frame is [H, W, 3] of uint8 as OpenCV gives it, or grey, with alpha, 16-bit or 0..1"


def as_bgr(frame: Any) -> NDArray[np.uint8]:
    """Turn whatever picture came into 8-bit colour `[H, W, 3]`, in the channel order it came in.

    | given | done |
    |---|---|
    | uint8 `[H, W, 3]` | returned as it is, whatever its strides |
    | grey, `[H, W]` or `[H, W, 1]` | the grey goes into all three channels |
    | with alpha, `[H, W, 4]` | alpha is dropped |
    | float | must lie in 0..1, is multiplied by 255 and rounded |
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
    return f"a frame of type {kind} is not a numpy array; convert it with numpy.asarray(frame)"


def _as_bytes(frame: NDArray[Any]) -> NDArray[np.uint8]:
    if frame.dtype == np.uint8:
        return frame
    if frame.dtype == np.uint16:
        return (frame >> 8).astype(np.uint8)
    if frame.dtype.kind == "f":
        low, high = float(frame.min()), float(frame.max())
        if not (low >= 0.0 and high <= 1.0):  # also refuses NaN
            raise FrameError(
                f"a frame of {frame.dtype} must lie in 0..1, found {low:g} to {high:g}; "
                "for values up to 255 give frame.astype('uint8')"
            )
        return np.rint(frame * 255.0).astype(np.uint8)
    raise FrameError(f"a frame of {frame.dtype} cannot be used: {_ACCEPTED}")
