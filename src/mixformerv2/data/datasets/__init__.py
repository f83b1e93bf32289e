"""Labelled videos in the layouts they are published in, and in your own.

```python
dataset = read_dataset("LaSOT", split="train")         # a folder, .zip, .lmdb, or an export's file
for sequence in dataset:
    sequence.frames[0], sequence.boxes[0], sequence.absent[0]
```

Boxes are x, y, w, h in pixels with the first pixel at 0, whatever the files count from: `LAYOUTS`
says for each. Nothing here needs PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ...errors import DataError
from ..store import FolderStore, FrameStore, open_store, suffix_of
from . import (
    coco,
    exports,
    got10k,
    lasot,
    masks,
    nfs,
    otb,
    own,
    tnl2k,
    trackingnet,
    uav123,
    vid,
    vot,
)
from .base import AnnotatedSequence, Entry, Findings, Frames, Layout

__all__ = [
    "LAYOUTS",
    "AnnotatedSequence",
    "Dataset",
    "Entry",
    "Findings",
    "Frames",
    "Layout",
    "choose",
    "find_layout",
    "read_dataset",
]

# In the order of asking: what is surest to be told apart comes first.
LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        got10k.LAYOUT,
        lasot.LAYOUT,
        lasot.EXTENSION,
        trackingnet.LAYOUT,
        tnl2k.LAYOUT,
        coco.LAYOUT,
        vid.LAYOUT,
        masks.YOUTUBE,
        masks.DAVIS,
        uav123.LAYOUT,
        nfs.LAYOUT,
        otb.LAYOUT,
        vot.LAYOUT,
        exports.MOT,
        own.LAYOUT,
        exports.COCOVID,
        exports.CVAT,
        exports.CSV,
    )
}


class Dataset(Sequence[AnnotatedSequence]):
    """Sequences of one place; labels are read when a sequence is asked for, frames later still.

    Attributes:
        store: Where they lie.
        layout: How.
        entries: Names and loaders.
    """

    def __init__(self, store: FrameStore, layout: str, entries: list[Entry]) -> None:
        self.store = store
        self.layout = layout
        self.entries = entries

    @property
    def names(self) -> list[str]:
        """Names of the sequences, in order."""
        return [entry.name for entry in self.entries]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # overloads would hide it
        """A sequence by its place; a slice gives a `Dataset`.

        Raises:
            DataError: its labels are wrong; the file and line are named.
        """
        if isinstance(index, slice):
            return Dataset(self.store, self.layout, self.entries[index])
        return self.entries[index].load(Findings())

    def __iter__(self) -> Iterator[AnnotatedSequence]:
        for entry in self.entries:
            yield entry.load(Findings())

    def __repr__(self) -> str:
        return f"Dataset({self.layout}, {len(self)} sequences of {self.store.place})"


def find_layout(store: FrameStore) -> str:
    """Name of the layout of a store.

    Raises:
        DataError: it is none that is known.
    """
    for name, layout in LAYOUTS.items():
        if layout.detect(store):
            return name
    found = [*store.folders()[:3], *store.files()[:3]]
    holds = ", ".join(found) if found else "nothing"
    raise DataError(
        f"{store.where()} is laid out in no known way (it holds {holds}); for your own videos: "
        f"{own.LAYOUT.form}. `mixformerv2 data layouts` lists all"
    )


def read_dataset(
    place: str | Path,
    *,
    layout: str | None = None,
    split: str | None = None,
    names: Iterable[str] | str | Path | None = None,
) -> Dataset:
    """Find the sequences of a place.

    Args:
        place: A folder, `.zip` or `.lmdb`; or one file that a label tool exported.
        layout: How it is laid out, a name of `LAYOUTS`; found out where not given.
        split: One split; all that are there where not given.
        names: Only these, in this order; or a file with a name or a number (from 0, of the split's
            order) on each line, such as the published `got10k_vot_train_split.txt`.

    Raises:
        DataError: the place, layout, split or a name is not there.
    """
    path = Path(place)
    if layout is not None and layout not in LAYOUTS:
        raise DataError(f"there is no layout {layout!r}; choose from {', '.join(LAYOUTS)}")
    exported = path.is_file() and path.suffix.lower() in exports.READERS and layout != "own"
    store = FolderStore(path.parent) if exported else open_store(path)
    if exported:
        name = {".json": "cocovid", ".xml": "cvat", ".csv": "csv"}.get(suffix_of(path.name), "mot")
        if layout not in (None, name):
            raise DataError(f"{path} is read as {name}, by its ending, and not as {layout}")
    else:
        name = layout or find_layout(store)
    splits = LAYOUTS[name].splits
    if split is not None and split not in splits:
        offer = f"choose from {', '.join(splits)}" if splits else "it has no splits"
        raise DataError(f"{name} has no split {split!r}; {offer}")
    if exported:
        entries = exports.READERS[suffix_of(path.name)](store, path.name)
    else:
        entries = LAYOUTS[name].entries(store, split)
    if not entries:
        part = f" of split {split}" if split else ""
        raise DataError(f"{store.where()} holds no sequence{part} in the layout of {name}")
    dataset = Dataset(store, name, entries)
    return dataset if names is None else choose([dataset], names)[0]


def choose(parts: Sequence[Dataset], names: Iterable[str] | str | Path) -> list[Dataset]:
    """Of the parts of one data set, such as its shards, those that hold any of some sequences.

    Args:
        parts: Numbers count through them in this order.
        names: As `read_dataset` takes them; the order is kept within a part.

    Raises:
        DataError: no name is given, or one is in no part.
    """
    where, listed = "the data set", "the list of names"
    if isinstance(names, str | Path):
        where, listed = f"the data set that {names} is for", f"list of names {names}"
        try:
            lines = Path(names).read_text(encoding="utf-8-sig").splitlines()
            names = [line.strip() for line in lines if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{listed} cannot be read: {error}") from error
    entries = [(number, entry) for number, part in enumerate(parts) for entry in part.entries]
    by_name = {entry.name: (number, entry) for number, entry in entries}
    chosen: list[list[Entry]] = [[] for _ in parts]
    for name in names:
        if name in by_name:
            number, entry = by_name[name]
        elif name.isdecimal() and int(name) < len(entries):
            number, entry = entries[int(name)]
        else:
            some = ", ".join(sorted(by_name)[:10])
            raise DataError(f"{where} holds no sequence {name!r}; it has {some}")
        chosen[number].append(entry)
    if not any(chosen):
        raise DataError(f"{listed} is empty; give names or numbers of sequences, or no list")
    return [
        Dataset(part.store, part.layout, found)
        for part, found in zip(parts, chosen, strict=True)
        if found
    ]
