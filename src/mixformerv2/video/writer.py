"""H.264 in an MP4 that browsers play, and that still plays when the run was killed."""

from __future__ import annotations

import logging
import math
import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError
from .readers import DEFAULT_FPS

if TYPE_CHECKING:
    from av.container import OutputContainer

__all__ = ["VIDEO_SUFFIXES", "VideoWriter"]

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov"})

_SMALLEST = 16  # pixels; H.264 works in blocks of that size
_FINEST_CLOCK = 10_000  # ticks a second, at least
_BT709 = 1  # the colours of HD, by the number that FFmpeg and H.264 give them; 1 is also "limited"


class VideoWriter:
    """Writes frames to an MP4.

    While it runs the file is a chain of fragments of a second each, every one complete on disk:
    after a crash all but the last second or two plays. `close` turns it into an ordinary MP4 in
    place. The size is that of the first frame; later frames of another size are fitted into it.
    H.264 wants even sides, so an odd one gets its last row or column twice.

    Args:
        path: Where to; `.mp4`, `.m4v` or `.mov`. An existing file is replaced.
        fps: Frames a second, for frames without a time of their own; None is taken as 30.
        quality: x264's constant rate factor: lower is better and larger, 0 to 51.

    Raises:
        OutputError: The file cannot be written, now or later (disk full).

    Example:
        ```python
        with open_source("clip.mp4") as source, VideoWriter("out.mp4", fps=source.fps) as out:
            for frame in source:
                if frame.image is not None:
                    out.write(frame.image, frame.time)
        ```
    """

    def __init__(self, path: str | Path, *, fps: float | None = None, quality: int = 23) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in VIDEO_SUFFIXES:
            raise OutputError(f"{path}: videos are written as .mp4, .m4v or .mov; rename it")
        if not self.path.parent.is_dir():
            raise OutputError(f"{path}: there is no folder {self.path.parent}; make it first")
        self.frames = 0
        self._rate = Fraction(fps or DEFAULT_FPS).limit_denominator(1001)
        # A clock in which every frame of a steady source falls on a tick.
        ticks = self._rate.numerator * math.ceil(_FINEST_CLOCK / self._rate.numerator)
        self._clock = Fraction(1, ticks)
        self._quality = quality
        self._container: OutputContainer | None = None
        self._stream: Any = None
        self._given = (0, 0)  # of the first frame
        self._size = (0, 0)  # of the video
        self._last = -1
        self._began: float | None = None

    def write(self, image: NDArray[np.uint8], time: float | None = None) -> None:
        """Append a frame.

        Args:
            image: `[H, W, 3]` uint8, BGR.
            time: Seconds from the start of the source; None places it one frame after the last.
        """
        from av import VideoFrame

        if self._container is None:
            self._open(image.shape[1], image.shape[0])
        picture = VideoFrame.from_ndarray(self._fit(image), format="bgr24")
        frame = picture.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=_BT709)
        frame.pts, frame.time_base = self._stamp(time), self._clock
        self._mux(frame)
        self.frames += 1

    def _stamp(self, time: float | None) -> int:
        step = round(1 / (self._rate * self._clock))
        if time is None:
            self._last += step if self._last >= 0 else 1
            return self._last
        if self._began is None:
            self._began = time
        # Two frames never share a tick, whatever the source's clock says.
        self._last = max(self._last + 1, round((time - self._began) / self._clock))
        return self._last

    def _open(self, width: int, height: int) -> None:
        import av

        self._given = (width, height)
        self._size = (max(width + width % 2, _SMALLEST), max(height + height % 2, _SMALLEST))
        # A chain of fragments, which the end of the run turns into an ordinary file.
        flags = "hybrid_fragmented+frag_keyframe+empty_moov+default_base_moof"
        kind = "mov" if self.path.suffix.lower() == ".mov" else "mp4"
        try:
            self._container = av.open(
                f"file:{self.path}", "w", format=kind, container_options={"movflags": flags}
            )
            # Else up to 32 KB of finished fragments wait in memory for more.
            flush: Any = av.container.Flags.flush_packets
            self._container.flags |= flush.value
            encoder = "libx264" if "libx264" in av.codecs_available else "h264"
            self._stream = self._container.add_stream(encoder, rate=self._rate)
            self._stream.width, self._stream.height = self._size
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = self._clock
            self._stream.codec_context.gop_size = max(1, round(self._rate))
            # Untagged, players guess the colours by the size of the picture.
            for tag in ("colorspace", "color_primaries", "color_trc", "color_range"):
                setattr(self._stream.codec_context, tag, _BT709)
            # Half the time of "veryfast" for a fifth more bytes; the tracker needs the cores.
            # Without frames that refer to later ones, none is held back when the run dies.
            self._stream.options = {"crf": str(self._quality), "preset": "superfast", "bf": "0"}
            self._container.start_encoding()  # opens the file now, not with the first packet
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._abandon()
            raise OutputError(f"{self.path} cannot be written: {_reason(error)}") from error

    def _fit(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture at the size of the video."""
        import cv2

        height, width = image.shape[:2]
        across, down = self._size
        if (width, height) == self._given:
            if self._given == self._size:
                return np.ascontiguousarray(image)
            border = cv2.copyMakeBorder(
                image, 0, down - height, 0, across - width, cv2.BORDER_REPLICATE
            )
            return np.asarray(border, np.uint8)
        scale = min(across / width, down / height)
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
        left, top = (across - width) // 2, (down - height) // 2
        fitted = np.zeros((down, across, 3), np.uint8)
        fitted[top : top + height, left : left + width] = cv2.resize(image, (width, height))
        return fitted

    def _mux(self, frame: Any) -> None:
        from av.error import FFmpegError

        assert self._container is not None
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except (FFmpegError, OSError) as error:
            self._abandon()
            raise OutputError(
                f"{self.path}: the video cannot be written any further: {_reason(error)}; "
                "what is there so far plays"
            ) from error

    def _abandon(self) -> None:
        """Let go of a file that cannot be finished."""
        from av.error import FFmpegError

        container, self._container = self._container, None
        if container is not None:
            try:
                container.close()
            except (FFmpegError, OSError) as error:
                logger.debug("%s: %s", self.path, error)

    def close(self) -> None:
        """Write what the encoder still holds, and the index. Without frames there is no file."""
        from av.error import FFmpegError

        if self._container is None:
            return
        self._mux(None)
        container, self._container = self._container, None
        try:
            container.close()
        except (FFmpegError, OSError) as error:
            raise OutputError(
                f"{self.path}: the end of the video cannot be written: {_reason(error)}"
            ) from error

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _reason(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    # FFmpeg's own errors have numbers that the system does not know.
    return os.strerror(number) if number and 0 < number < 200 else str(error)
