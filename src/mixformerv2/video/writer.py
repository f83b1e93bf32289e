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

from ..errors import ConfigError, OutputError
from .readers import DEFAULT_FPS, SLOWEST_FPS

if TYPE_CHECKING:
    from av.container import OutputContainer

__all__ = ["VIDEO_SUFFIXES", "VideoWriter", "check_size"]

logger = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov"})

_SMALLEST = 16  # pixels; H.264 works in blocks of that size
_LARGEST = 16384  # pixels of a side
_FASTEST_FPS = 1e6
_FINEST_CLOCK = 10_000  # ticks a second, at least
_BT709 = 1  # the colours of HD, by the number that FFmpeg and H.264 give them; 1 is also "limited"


class VideoWriter:
    """Writes frames to an MP4.

    While it runs the file is a chain of fragments of a second each, every one complete on disk:
    after a crash all but the last second or two plays. `close` turns it into an ordinary MP4 in
    place. The size is that of the first frame; later frames of another size are fitted into it.
    H.264 wants even sides, so an odd one gets its last row or column twice, and takes sides of up
    to 16384 pixels.

    Args:
        path: Where to; `.mp4`, `.m4v` or `.mov`. An existing file is replaced.
        fps: Frames a second, for frames without a time of their own; None or 0 is taken as 30.
        quality: x264's constant rate factor: lower is better and larger, 0 to 51.
        aspect: Width of a pixel by its height, as a source's `aspect`; None where it is square.

    Raises:
        ConfigError: `fps`, `quality` or `aspect` is a number that cannot be.
        OutputError: The file cannot be written, now or later (disk full).

    Example:
        ```python
        with open_source("clip.mp4") as source, VideoWriter("out.mp4", fps=source.fps) as out:
            for frame in source:
                if frame.image is not None:
                    out.write(frame.image, frame.time)
        ```
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float | None = None,
        quality: int = 23,
        aspect: Fraction | float | None = None,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in VIDEO_SUFFIXES:
            raise OutputError(f"{path}: videos are written as .mp4, .m4v or .mov; rename it")
        if not self.path.parent.is_dir():
            raise OutputError(f"{path}: there is no folder {self.path.parent}; make it first")
        if not 0 <= quality <= 51:
            raise ConfigError(f"quality must be 0 to 51, where lower is better, got {quality}")
        if aspect is not None and not 0.01 <= aspect <= 100:
            raise ConfigError(f"aspect is width by height of a pixel, 0.01 to 100, got {aspect}")
        self.frames = 0
        self._rate = _rate(fps or DEFAULT_FPS)
        self._aspect = None if aspect is None else Fraction(aspect).limit_denominator(1000)
        # A clock in which every frame of a steady source falls on a tick.
        ticks = self._rate.numerator * math.ceil(_FINEST_CLOCK / self._rate.numerator)
        self._clock = Fraction(1, ticks)
        self._quality = quality
        self._container: OutputContainer | None = None
        self._stream: Any = None
        self._given = (0, 0)  # of the first frame
        self._size = (0, 0)  # of the video
        self._last = -1
        self.began: float | None = None
        """Time of the first frame in the source, in seconds."""

    def write(self, image: NDArray[np.uint8], time: float | None = None) -> None:
        """Append a frame.

        Args:
            image: `[H, W, 3]` uint8, BGR; or what `Tracker.update` takes besides.
            time: Seconds from the start of the source; None places it one frame after the last.

        Raises:
            FrameError: No picture.
            ConfigError: A time that is not finite.
            OutputError: It cannot be written.
        """
        from av import VideoFrame

        from ..tracking.frame import as_bgr

        if time is not None and not math.isfinite(time):
            raise ConfigError(f"the time of a frame must be finite seconds, got {time}")
        image = as_bgr(image)
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
        if self.began is None:
            self.began = time
        # Two frames never share a tick, whatever the source's clock says.
        self._last = max(self._last + 1, round((time - self.began) / self._clock))
        return self._last

    def _open(self, width: int, height: int) -> None:
        import av

        check_size(width, height)
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
            if self._aspect is not None:
                self._stream.codec_context.sample_aspect_ratio = self._aspect
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


def check_size(width: int, height: int) -> None:
    """Refuse frames that are too large for a video.

    Raises:
        OutputError: They are.
    """
    if max(width, height) > _LARGEST:
        raise OutputError(
            f"frames of {width} x {height} pixels make no video: H.264 takes sides of up to "
            f"{_LARGEST}; write boxes alone (--boxes), or scale the source down"
        )


def _rate(fps: float) -> Fraction:
    """A rate as a fraction; slow ones by the time of a frame, which keeps them as exact."""
    if not SLOWEST_FPS <= fps <= _FASTEST_FPS:
        raise ConfigError(
            f"fps must be {SLOWEST_FPS:g} to {_FASTEST_FPS:g} frames a second, got {fps}"
        )
    if fps < 1:
        return 1 / Fraction(1 / fps).limit_denominator(1001)
    return Fraction(fps).limit_denominator(1001)


def _reason(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    # FFmpeg's own errors have numbers that the system does not know.
    return os.strerror(number) if number and 0 < number < 200 else str(error)
