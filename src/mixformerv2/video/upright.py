"""Decoded frames as upright BGR pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.video.frame import VideoFrame as AVFrame

__all__ = ["MOST_PIXELS", "Upright", "upright"]

MOST_PIXELS = 1 << 27
"""Of a frame: a bit more than 16K. A file of a megabyte can ask for a picture of many gigabytes."""


class Upright:
    """Turns decoded frames into upright BGR pictures."""

    def __init__(self) -> None:
        self._rotation: int | None = None
        self._matrix: NDArray[np.int32] | None = None

    @property
    def lies(self) -> bool:
        """Whether the last picture was turned by a quarter: its sides have changed places."""
        return self._matrix is not None and _lies(self._matrix)

    def picture(self, frame: AVFrame) -> NDArray[np.uint8] | None:
        """The frame's picture; None where the decoder says that it had to guess."""
        if frame.is_corrupt or frame.width * frame.height > MOST_PIXELS:
            return None
        # A frame whose side data were looked at is in a reference cycle with them, and stays in
        # memory until Python happens to look for cycles: not with every frame of a video.
        if frame.rotation != self._rotation:
            matrix: Any = frame.side_data.get("DISPLAYMATRIX")
            self._matrix = None if matrix is None else np.frombuffer(matrix, np.int32).copy()
            self._rotation = frame.rotation
        image = np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
        return image if self._matrix is None else upright(image, self._matrix)


def upright(image: NDArray[np.uint8], matrix: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Turn and mirror a picture as the display matrix of its file asks, to the nearest quarter."""
    import cv2

    a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))  # x' = a x + c y, y' = b x + d y
    if _lies(matrix):
        image, a, d = np.asarray(cv2.transpose(image), np.uint8), c, b
    if a < 0 or d < 0:
        image = np.asarray(cv2.flip(image, (-1 if d < 0 else 1) if a < 0 else 0), np.uint8)
    return image


def _lies(matrix: NDArray[np.int32]) -> bool:
    a, b, c, d = (abs(int(matrix[i])) for i in (0, 1, 3, 4))
    return b + c > a + d
