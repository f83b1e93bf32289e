"""What makes a sequence hard, from the files that benchmarks publish.

| benchmark | file | form |
|---|---|---|
| LaSOT, extension | `att/NAME.txt` or `annos/att/NAME.txt` of its toolkit | 0 and 1 |
| TNL2K | `annos/att/NAME_attribute.txt` of its toolkit | 0 and 1 |
| UAV123, UAV20L | `anno/UAV123/att/NAME.txt`, `anno/UAV20L/att/NAME.txt` | 0 and 1 |
| OTB | `anno/att/NAME.txt` of its toolkit, or `NAME/attrs.txt` | 0 and 1, or names |
| your own | `NAME/attributes.txt`, or `NAME.attributes.txt` beside a clip | words and commas |
"""

from __future__ import annotations

import re
from pathlib import Path

from ..data.datasets.text import read_names
from ..data.store import FolderStore, FrameStore
from ..errors import DataError

__all__ = ["NAMES", "read_attributes"]

NAMES = {
    "IV": "illumination variation",
    "POC": "partial occlusion",
    "DEF": "deformation",
    "MB": "motion blur",
    "CM": "camera motion",
    "ROT": "rotation",
    "BC": "background clutter",
    "VC": "viewpoint change",
    "SV": "scale variation",
    "FOC": "full occlusion",
    "FM": "fast motion",
    "OV": "out of view",
    "LR": "low resolution",
    "ARC": "aspect ratio change",
    "AS": "adversarial samples",
    "TC": "thermal crossover",
    "MS": "modality switch",
    "SOB": "similar object",
    "OCC": "occlusion",
    "IPR": "in-plane rotation",
    "OPR": "out-of-plane rotation",
}
"""The short names of tables, spelt out."""

_LASOT = "IV POC DEF MB CM ROT BC VC SV FOC FM OV LR ARC"
_UAV = "SV ARC LR FM FOC POC OV BC IV VC CM SOB"
# In the order of each benchmark's own evaluation code.
ORDERS = {
    "lasot": _LASOT,
    "lasot_ext": _LASOT,
    "tnl2k": "CM ROT DEF FOC IV OV POC VC SV BC MB ARC LR FM AS TC MS",
    "uav123": _UAV,
    "uav20l": _UAV,
    "otb": "IV OPR SV OCC DEF MB FM IPR OV BC LR",
}
PLACES = {
    "lasot": ("att/{}.txt", "annos/att/{}.txt"),
    "lasot_ext": ("att/{}.txt", "annos/att/{}.txt"),
    "tnl2k": ("att/{}_attribute.txt", "annos/att/{}_attribute.txt"),
    "uav123": ("anno/UAV123/att/{}.txt", "anno/att/{}.txt"),
    "uav20l": ("anno/UAV20L/att/{}.txt", "anno/att/{}.txt"),  # other videos of the same names
    "otb": ("anno/att/{}.txt", "att/{}.txt", "{}/attrs.txt"),
}
OWN = ("{}/attributes.txt", "{}.attributes.txt")


def read_attributes(
    store: FrameStore, layout: str, name: str, folder: Path | None = None
) -> frozenset[str]:
    """Short names of a sequence's attributes; empty where nothing is published beside it.

    Args:
        store: Root of the benchmark.
        layout: Its layout, `uav20l` for that part of UAV123's.
        name: The sequence.
        folder: Where attribute files lie that are not beside the data, `NAME.txt` each, as in the
            toolkit of the benchmark.

    Raises:
        DataError: the file has another number of flags than the benchmark has attributes.
    """
    if folder is not None:
        for one in (f"{name}.txt", f"{name}_attribute.txt"):
            if (folder / one).is_file():
                return _read(FolderStore(folder), one, layout)
    for place in (*PLACES.get(layout, ()), *OWN):
        if store.has(place.format(name)):
            return _read(store, place.format(name), layout)
    return frozenset()


def _read(store: FrameStore, file: str, layout: str) -> frozenset[str]:
    parts = [part.strip() for part in re.split(r"[,\n]", "\n".join(read_names(store, file)))]
    parts = [part for part in parts if part]
    if len(parts) == 1 and re.fullmatch(r"[01](\s+[01])*", parts[0]):
        parts = parts[0].split()
    if not all(part in ("0", "1") for part in parts):
        return frozenset(parts)
    order = ORDERS.get(layout, "").split()
    if len(parts) != len(order):
        raise DataError(
            f"{store.where(file)} has {len(parts)} flags, but {layout} has {len(order)} "
            "attributes; write their names instead, parted by commas"
        )
    return frozenset(short for short, flag in zip(order, parts, strict=True) if flag == "1")
