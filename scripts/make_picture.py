"""Put frames of an annotated video side by side: the picture of the README.

mixformerv2 demo && python scripts/make_picture.py out/demo_tracked.mp4
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from mixformerv2.video.source import open_source

COLUMNS, WIDTH, GAP = 3, 320, 4


def main() -> None:
    """Pick the frames, scale them and save one PNG."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("--frames", default="10,62,82,146,166,196")
    parser.add_argument("--out", type=Path, default=Path("docs/images/demo.png"))
    arguments = parser.parse_args()
    wanted = [int(number) for number in arguments.frames.split(",")]
    with open_source(arguments.video) as source:
        frames = {f.index: f.image for f in source if f.index in wanted and f.image is not None}
    tiles = []
    for number in wanted:
        height, width = frames[number].shape[:2]
        size = (WIDTH, round(WIDTH * height / width))
        tile = cv2.resize(frames[number], size, interpolation=cv2.INTER_AREA)
        tiles.append(
            cv2.copyMakeBorder(tile, 0, GAP, 0, GAP, cv2.BORDER_CONSTANT, value=(255,) * 3)
        )
    rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    picture = np.vstack(rows)[:-GAP, :-GAP]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(arguments.out), picture, (cv2.IMWRITE_PNG_COMPRESSION, 9))
    print(f"{arguments.out}: {picture.shape[1]} x {picture.shape[0]}")


if __name__ == "__main__":
    main()
