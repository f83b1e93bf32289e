"""CVAT for video 1.1: one `<track>` an object, one `<box>` a frame.

Source: https://docs.cvat.ai/docs/manual/advanced/xml_format/.
"""

from __future__ import annotations

from typing import TextIO
from xml.sax.saxutils import escape, quoteattr

from .journal import Journal
from .stretches import keys

__all__ = ["UNTRACKED", "dump"]

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
