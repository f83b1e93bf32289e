"""What a file is, by its content alone. A name says nothing."""

from __future__ import annotations

from pathlib import Path

from ..errors import SourceError

__all__ = ["REFUSED", "SNIFF_BYTES", "TooLargeError", "check_container", "looks_like_video"]

SNIFF_BYTES = 4096

# FFmpeg also reads lists of other files (HLS, DASH, concat, SDP, image sequences). Those could
# point anywhere on this machine or its network, so only formats that hold their own frames count.
_FORMATS = frozenset(
    {"mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "flv"}
    | {"ogg", "asf", "gif", "mxf", "yuv4mpegpipe", "ivf", "h264", "hevc", "m4v", "mpegvideo"}
)
_ATOMS = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"FLV",
    b"OggS",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b"GIF87a",
    b"GIF89a",
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01",  # MXF
    b"YUV4MPEG2 ",
    b"DKIF",
    b"\x00\x00\x01",  # MPEG program and elementary streams, H.264, HEVC
    b"\x00\x00\x00\x01",
)
_PACKET = 188  # bytes, of an MPEG transport stream


REFUSED = "this is not a video that can be taken; MP4, MOV, MKV, WebM, AVI, TS and kin can"


class TooLargeError(SourceError):
    """A video that is longer, or has larger frames, than the server takes."""


def looks_like_video(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a container that is taken.

    Example:
        >>> looks_like_video(b"\\x00\\x00\\x00\\x20ftypisom"), looks_like_video(b"#EXTM3U")
        (True, False)
    """
    if head[4:8] in _ATOMS or head.startswith(_STARTS):
        return True
    if head[:4] == b"RIFF" and head[8:11] == b"AVI":
        return True
    # M2TS has four more bytes before each packet.
    for start, step in ((0, _PACKET), (4, _PACKET + 4)):
        marks = head[start::step][:4]
        if len(marks) >= 3 and set(marks) == {0x47}:
            return True
    return False


def check_container(path: Path, pixels: int) -> float | None:
    """Open a file with everything forbidden but formats that hold their own frames.

    Args:
        path: The file.
        pixels: Most that a frame may have.

    Returns:
        Length in seconds, as the header promises; None where it does not say.

    Raises:
        SourceError: another format, or no video in it.
        TooLargeError: larger frames.
    """
    import av
    from av.error import FFmpegError

    options = {"protocol_whitelist": "file", "format_whitelist": ",".join(sorted(_FORMATS))}
    try:
        with av.open(f"file:{path}", options=options, metadata_errors="replace") as container:
            names = set(container.format.name.split(","))
            if not names & _FORMATS:
                raise SourceError(REFUSED)
            if not container.streams.video:
                raise SourceError("this file has no picture, only sound; send a video")
            for stream in container.streams.video:
                size = stream.codec_context.width * stream.codec_context.height
                if size > pixels:
                    raise TooLargeError(
                        f"frames of {stream.codec_context.width} x {stream.codec_context.height} "
                        f"are more than the {pixels / 1e6:.1f} megapixels that this server takes"
                    )
            return container.duration / 1e6 if container.duration else None
    except FFmpegError as error:
        raise SourceError(REFUSED) from error
