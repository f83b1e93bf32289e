"""A bank in one small file: pictures made smaller, masks and boxes along, to carry it elsewhere.

```python
pack_bank("pictures", "bank.zip", clips="clips", megabytes=45)     # PackedBank(...)
Bank("bank.zip")                                                   # reads like the folder
```
"""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .bank import CLIPS, TRACKLETS, Bank
from .datasets.text import read_table
from .pack import check_target, pack_files
from .store import FolderStore, FrameStore

__all__ = ["PackedBank", "pack_bank"]

log = logging.getLogger(__name__)
Image = NDArray[np.uint8]
Codec = Literal["jpeg", "webp"]
SMALLEST = 64  # pixels; below, segments are slivers
PROBE = 120  # so many pictures tell how large all will be
ENTRY = 150  # bytes that a zip spends on a file beside its data
PAGE = 4096  # of an LMDB


@dataclass(frozen=True, slots=True)
class PackedBank:
    """What was packed: number of files, pixels of the pictures' short side, megabytes."""

    files: int
    short_side: int
    megabytes: float


@dataclass(frozen=True, slots=True)
class _Recipe:
    short_side: int
    quality: int
    codec: Codec

    def scale(self, image: NDArray[Any]) -> float:
        return min(self.short_side / float(min(image.shape[:2])), 1.0)

    def picture(self, image: Image) -> bytes:
        small = _resized(image, self.scale(image), cv2.INTER_AREA)
        key = cv2.IMWRITE_WEBP_QUALITY if self.codec == "webp" else cv2.IMWRITE_JPEG_QUALITY
        suffix = ".webp" if self.codec == "webp" else ".jpg"
        return bytes(cv2.imencode(suffix, small, [key, self.quality])[1])

    def mask(self, labels: NDArray[np.uint16]) -> bytes:
        mask = np.asarray(labels, np.uint8 if labels.max() < 256 else np.uint16)
        # Nearest, for labels have no mean.
        small = _resized(mask, self.scale(mask), cv2.INTER_NEAREST)
        return bytes(cv2.imencode(".png", small, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1])


def _resized(image: NDArray[Any], scale: float, how: int) -> NDArray[Any]:
    if scale == 1.0:
        return image
    height, width = image.shape[:2]
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(image, size, interpolation=how), image.dtype)


def pack_bank(
    folder: str | Path,
    out: str | Path,
    *,
    clips: str | Path | None = None,
    megabytes: float = 45.0,
    short_side: int | None = None,
    quality: int = 80,
    codec: Codec = "jpeg",
    progress: Callable[[int], Any] = lambda total: None,
) -> PackedBank:
    """Write a bank into one file of at most so many megabytes (of a million bytes).

    Videos that are held out for validation are left out. Pictures are only ever made smaller.

    Args:
        folder: The bank.
        out: `.zip` or `.lmdb`; must not exist.
        clips: Folder of tracklets to pack along.
        megabytes: The largest size wanted.
        short_side: Of the pictures, in pixels; the largest that fits where not given.
        quality: Of the pictures, 1..100.
        codec: Of the pictures; they keep their names, for readers go by content. WebP takes a
            fifth less room than JPEG at the same error (60 pictures of the bank at 256 pixels).
        progress: Called with the number of pictures in all, after each.

    Raises:
        DataError: no bank, or no short side is small enough.
        OutputError: `out` exists or cannot be written.
    """
    target = check_target(out)
    bank = Bank(Path(folder))
    if clips is not None:
        own = bool(bank.tracklets)
        bank.add_clips(Path(clips))  # which says that it leaves them out beside its own
        clips = None if own else clips
    limit = int(megabytes * 1e6)
    side = short_side or _fitting(bank, quality, codec, limit)
    while True:
        files = list(_files(bank, _Recipe(side, quality, codec), clips, progress))
        room = _pages if target.suffix.lower() == ".lmdb" else len
        size = sum(room(data) + 2 * len(name) + ENTRY for name, data in files)
        if size <= limit:
            break
        if short_side is not None:
            raise DataError(
                f"at a short side of {side} pixels {folder} takes {size / 1e6:.1f} MB, more than "
                f"{megabytes:g}; ask for fewer pixels or a lower quality"
            )
        side = _smaller(side, megabytes, folder)
        log.info("%.1f MB are too many; trying a short side of %d pixels", size / 1e6, side)
    count = pack_files(iter(files), target)
    return PackedBank(count, side, target.stat().st_size / 1e6)


def _pages(data: bytes) -> int:
    """Bytes that a value takes in an LMDB: whole pages, or a part of one that is seldom full."""
    return -(-(len(data) + 16) // PAGE) * PAGE if len(data) > PAGE // 3 else 3 * len(data)


def _smaller(side: int, megabytes: float, folder: str | Path) -> int:
    if side <= SMALLEST:
        raise DataError(
            f"{folder} does not fit into {megabytes:g} MB even at a short side of {SMALLEST} "
            "pixels; give it more room"
        )
    return max(side - 8, SMALLEST)


def _fitting(bank: Bank, quality: int, codec: Codec, limit: int) -> int:
    """The largest short side at which some of the pictures promise that all will fit."""
    step = -(-len(bank.paths) // PROBE)
    some = [bank.decode(index) for index in range(0, len(bank.paths), step)]
    share = len(bank.paths) / len(some)
    low, high = SMALLEST, min(512, max(int(min(image.shape[:2])) for image in some))

    def fits(side: int) -> bool:
        recipe = _Recipe(side, quality, codec)
        # Masks, tables and names are about a tenth of what the pictures take.
        return 1.1 * share * sum(len(recipe.picture(image)) for image in some) <= limit

    if fits(high):  # pictures that have room as they are stay as they are
        return high
    while high - low > 4:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low


def _files(
    bank: Bank, recipe: _Recipe, clips: str | Path | None, progress: Callable[[int], Any]
) -> Iterator[tuple[str, bytes]]:
    scales: dict[str, float] = {}
    tables: dict[str, FrameStore] = {}
    for index, (store, name) in enumerate(bank.files):
        image = bank.decode(index)
        inside = store is bank.files[0][0]  # else it lies in the folder of the tracklets
        packed = name if inside else f"{CLIPS}/{name}"
        scales[packed] = recipe.scale(image)
        yield packed, recipe.picture(image)
        mask = bank.mask_of(index) if inside else None
        if mask is not None:
            yield f"{packed.removesuffix('.jpg')}_mask.png", recipe.mask(mask)
        table = f"{name.rpartition('/')[0]}/boxes.csv"
        if inside and table not in tables and store.has(table):
            tables[table] = store
        progress(len(bank.files))
    for table, store in tables.items():
        yield table, _scaled_table(store, table, scales)
    name = f"{CLIPS}/{TRACKLETS}"
    if clips is not None:
        yield name, _scaled_tracklets(FolderStore(clips).text(TRACKLETS), scales)
    elif bank.tracklets:
        yield name, _scaled_tracklets(bank.files[0][0].text(name), scales)


def _scaled_table(store: FrameStore, table: str, scales: dict[str, float]) -> bytes:
    names, rows = read_table(store, table)
    source = table.rpartition("/")[0]
    out = io.StringIO()
    # A row with more values than the header has names, as with a comma at its end, is read too.
    writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for _, row in rows:
        scale = scales.get(f"{source}/{row['id']}.jpg")
        if scale is not None:
            scaled = {key: f"{float(row[key]) * scale:.2f}" for key in ("x", "y", "w", "h")}
            writer.writerow({**row, **scaled})
    return out.getvalue().encode()


def _scaled_tracklets(text: str, scales: dict[str, float]) -> bytes:
    record = json.loads(text)
    for entry in record["tracklets"]:
        entry["boxes"] = [
            [round(v * scales[f"{CLIPS}/{entry['clip']}/{int(index):05d}.jpg"], 2) for v in box]
            for index, box in zip(entry["frames"], entry["boxes"], strict=True)
        ]
    return json.dumps(record, separators=(",", ":")).encode()
