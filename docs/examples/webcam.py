"""Steer by a camera without ROS: `python webcam.py 0 --box 250,140,120,160 | your_controller`.

Prints a JSON object for each frame: where the target is, how sure that is, and how far it lies from
the middle of the picture (-1 left or top to 1), which is what a pan-tilt head or a robot turns by.
While the target is lost `turn` is null: stand still. Frames that come while one is being tracked
are dropped, so answers do not fall behind.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import mixformerv2 as mf
from mixformerv2.video import open_source


def follow(source: str, box: Sequence[float] | None, **named: Any) -> Iterator[dict[str, Any]]:
    """An answer for each frame; without a box the middle third of the first one is the target."""
    tracker = mf.Tracker(**named)
    with open_source(source, read_ahead=1) as camera:
        for frame in camera:
            if frame.image is None:  # broken on the way
                continue
            height, width = frame.image.shape[:2]
            if tracker.state is None:
                box = box or (width / 3, height / 3, width / 3, height / 3)
                result = tracker.init(frame.image, box, frame.time)
            else:
                result = tracker.update(frame.image, frame.time)
            x, y, w, h = result.box
            turn = [2 * (x + w / 2) / width - 1, 2 * (y + h / 2) / height - 1]
            yield {
                "frame": frame.index,
                "time": frame.time,
                "box": result.box,
                "score": result.score,
                "state": result.state,
                "turn": None if result.state == "lost" else turn,
            }


def numbers(text: str) -> list[float]:
    """A box as it is typed."""
    return [float(value) for value in text.split(",")]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Follow a target with a camera.")
    parser.add_argument("source", nargs="?", default="0", help="camera number, address or file")
    parser.add_argument("--box", type=numbers, help="x,y,w,h in pixels of the first frame")
    parser.add_argument("--engine", default="auto")
    arguments = parser.parse_args()
    try:
        # Look for a lost target in the whole picture, until it is there again.
        named = {"engine": arguments.engine, "settings": {"long_term": True}}
        for answer in follow(arguments.source, arguments.box, **named):
            print(json.dumps(answer), flush=True)
    except mf.MixFormerError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
