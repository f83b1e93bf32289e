"""Video in, results out: sources, the MP4 writer, drawing and the formats of results.

```python
from mixformerv2.video import Overlay, VideoWriter, open_source

with open_source("clip.mp4") as source, VideoWriter("out.mp4", fps=source.fps) as out:
    overlay = Overlay()
    for frame in source:
        ...
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .draw import Overlay
    from .source import Source, VideoFrame, open_source
    from .writer import VideoWriter

__all__ = ["Overlay", "Source", "VideoFrame", "VideoWriter", "open_source"]

_HOME = {
    "Overlay": "draw",
    "Source": "source",
    "VideoFrame": "source",
    "VideoWriter": "writer",
    "open_source": "source",
}


def __getattr__(name: str) -> Any:
    # OpenCV and PyAV cost a third of a second: whoever only asks for --help does not pay it.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
