"""CVAT for video 1.1: one `<track>` an object, one `<box>` a frame.

Source: https://docs.cvat.ai/docs/manual/advanced/xml_format/.
"""

from __future__ import annotations

import logging
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import TextIO
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from ...box import Box
from .journal import Journal
from .keyed import LARGEST, Keyed, read_limited, upright
from .stretches import keys

__all__ = ["UNTRACKED", "dump", "load"]

logger = logging.getLogger(__name__)

UNTRACKED = "not tracked from here on"
"""Comment before an `outside` box that ends a stretch of results, and is none itself."""


def dump(journal: Journal, file: TextIO) -> None:
    """Each result is a key frame; of a thinned journal those are that stay.

    Where the target is lost the box is marked `outside`, and so is one behind each stretch of
    results that ends before the video does.
    """
    header, length = journal.header, journal.length()
    count = length or journal.frame_count()
    file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
    file.write("  <version>1.1</version>\n  <meta>\n    <task>\n")
    file.write(f"      <name>{escape(header.source)}</name>\n      <size>{count}</size>\n")
    file.write("      <mode>interpolation</mode>\n      <start_frame>0</start_frame>\n")
    file.write(f"      <stop_frame>{max(0, count - 1)}</stop_frame>\n")
    names = "".join(f"<label><name>{escape(name)}</name></label>" for name in journal.labels())
    file.write(f"      <labels>{names}</labels>\n")
    file.write(f"      <original_size><width>{header.width}</width>")
    file.write(f"<height>{header.height}</height></original_size>\n")
    file.write(f"    </task>\n    <source>{escape(header.source)}</source>\n  </meta>\n")
    for track, number in enumerate(journal.ids()):
        label = quoteattr(header.label(number))
        file.write(f'  <track id="{track}" label={label} source="auto">\n')
        for result, is_end in keys(journal, number, length):
            if is_end:
                file.write(f"    <!-- {UNTRACKED} -->\n")
            x, y, w, h = result.box
            outside = int(result.state == "lost")
            file.write(
                f'    <box frame="{result.frame}" keyframe="1" outside="{outside}" occluded="0" '
                f'xtl="{x!r}" ytl="{y!r}" xbr="{x + w!r}" ybr="{y + h!r}" z_order="0"></box>\n'
            )
        file.write("  </track>\n")
    file.write("</annotations>\n")


def load(path: Path, size: tuple[int, int]) -> list[Keyed]:
    """Objects of the XML, or of the archive in which CVAT exports it; frames are the video's."""
    try:
        root = ElementTree.fromstring(_text(path))
    except ElementTree.ParseError as error:
        raise ValueError(error) from error
    tracks = root.findall("track")
    if not tracks and root.find("image") is not None:
        raise ValueError("it is of CVAT for images; export it as CVAT for video 1.1")
    other = sum(track.find("box") is None for track in tracks)
    if other:
        logger.warning("%s: %d tracks are of no rectangles and are left out", path, other)
    return [Keyed(track.get("label"), _keys(track)) for track in tracks]


def _keys(track: ElementTree.Element) -> dict[int, Box | None]:
    """Between key frames CVAT exports the boxes of its lines as well."""
    found: dict[int, Box | None] = {}
    for box in track.findall("box"):
        if box.get("keyframe", "1") == "0":
            continue
        frame = int(box.attrib["frame"])
        upright(frame, box.get("rotation"))
        sides = (float(box.attrib[side]) for side in ("xtl", "ytl", "xbr", "ybr"))
        hidden = box.get("outside") == "1"
        found[frame] = None if hidden else Box.parse(Box.from_xyxy(*sides))
    return found


def _text(path: Path) -> str:
    if path.suffix.lower() != ".zip":
        return read_limited(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entry = archive.getinfo("annotations.xml")
            if entry.file_size > LARGEST:
                raise ValueError(f"annotations.xml has more than {LARGEST >> 20} MiB")
            return archive.read(entry).decode("utf-8-sig")
    except KeyError as error:
        raise ValueError("there is no annotations.xml in it") from error
    # A damaged archive; one with a password, or packed in an unknown way, is a RuntimeError.
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError) as error:
        raise ValueError(error) from error
