"""The benchmarks by name: where their sequences come from, which frames count, what is published.

```python
found = read_benchmark("lasot", "/data/LaSOT")
found.sequences, found.benchmark.counting.sentence
```

Where a benchmark's own toolkit and the code that published tables were made with (pytracking, STARK
and what came from them) differ, ours follows the latter and says so in the report: `Counting` is
that sentence as a value. Tests hold each entry to the rules of that code. What stays different: it
refuses results with NaN, where ours count as misses; it fills up results that are too short with
zeros, where ours refuses them; and a frame of LaSOT whose true box has no size though no flag calls
it absent is a hit of its normalized distance.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..data.datasets import LAYOUTS
from ..data.datasets.lasot import test_set
from ..data.store import open_store
from ..errors import ConfigError, DataError
from .benchmarks import Sequence, read_sequences
from .metrics import Counting

__all__ = ["BENCHMARKS", "Benchmark", "Found", "find_benchmark", "read_benchmark"]


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's protocol.

    Attributes:
        name: By which it is asked for.
        title: Its usual name.
        layout: A name of `data.datasets.LAYOUTS`, or None for any.
        split: Which part is measured.
        count: How many sequences it has; None where that depends on the copy.
        counting: Which frames count.
        columns: Keys of the figures in the published form of its table.
        pooled: Means are over all frames of all sequences, as GOT-10k has them.
        clipped: Boxes are clipped to the picture before they are compared, as GOT-10k does it.
        server: Who has the truth, where it is not published.
        max_frames: At most so many frames of each sequence, None for all.
        percent: Its tables print percent.
    """

    name: str
    title: str
    layout: str | None
    split: str | None
    count: int | None
    counting: Counting
    columns: tuple[str, ...] = ("auc", "precision", "normalized_precision")
    pooled: bool = False
    clipped: bool = False
    server: str | None = None
    max_frames: int | None = None
    percent: bool = True

    @property
    def origin(self) -> str:
        """How its files call the first pixel, and who says so."""
        return "0" if self.layout is None else LAYOUTS[self.layout].origin


@dataclass(frozen=True)
class Found:
    """A benchmark as it lies on a disk.

    Attributes:
        sequences: Those that are there, or were asked for.
        remarks: What the report has to say of it: that a part is missing, for one.
    """

    benchmark: Benchmark
    sequences: list[Sequence] = field(repr=False)
    remarks: tuple[str, ...] = ()


_LASOT = Counting(first=True, absent="miss", sizeless="repeated")
_UAV = Counting(first=True, absent="near", sizeless="repeated-if-labelled")
_OTHER = Counting(first=True, absent="near-normalized", sizeless="repeated")
_P = ("auc", "normalized_at_20", "precision")

BENCHMARKS: dict[str, Benchmark] = {
    one.name: one
    for one in (
        Benchmark("own", "your own folder", None, None, None, Counting(), max_frames=300),
        Benchmark("lasot", "LaSOT", "lasot", "test", 280, _LASOT, _P),
        Benchmark("lasot_ext", "LaSOT extension", "lasot_ext", None, 150, _OTHER, _P),
        Benchmark("tnl2k", "TNL2K", "tnl2k", "test", 700, _OTHER, _P),
        Benchmark(
            "trackingnet",
            "TrackingNet",
            "trackingnet",
            "test",
            511,
            Counting(),
            ("auc", "normalized_precision", "precision"),
            server="the server of TrackingNet",
        ),
        Benchmark(
            "uav123",
            "UAV123",
            "uav123",
            "uav123",
            123,
            _UAV,
            ("auc", "precision"),
        ),
        Benchmark(
            "uav20l",
            "UAV20L",
            "uav123",
            "uav20l",
            20,
            _UAV,
            ("auc", "precision"),
        ),
        Benchmark(
            "got10k_val",
            "GOT-10k validation",
            "got10k",
            "val",
            180,
            Counting(),
            ("overlap", "sr_50", "sr_75"),
            pooled=True,
            clipped=True,
            percent=False,
        ),
        Benchmark(
            "got10k_test",
            "GOT-10k test",
            "got10k",
            "test",
            180,
            Counting(),
            ("overlap", "sr_50", "sr_75"),
            pooled=True,
            clipped=True,
            server="the server of GOT-10k",
            percent=False,
        ),
        Benchmark(
            "otb100",
            "OTB-100",
            "otb",
            None,
            100,
            _OTHER,
            ("auc", "precision"),
        ),
        Benchmark("nfs", "NFS, 30 fps", "nfs", "30", 100, _OTHER, ("auc",)),
        Benchmark("nfs240", "NFS, 240 fps", "nfs", "240", 100, _OTHER, ("auc",)),
        Benchmark("vot2020", "VOT2020, one pass", "vot", None, 60, Counting(), ("auc", "overlap")),
        Benchmark(
            "vot2022", "VOT2022, one pass", "vot", None, None, Counting(), ("auc", "overlap")
        ),
    )
}


def find_benchmark(name: str) -> Benchmark:
    """A benchmark by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    key = name.lower().replace("-", "_")
    if key not in BENCHMARKS:
        raise ConfigError(f"there is no benchmark {name!r}; choose from {', '.join(BENCHMARKS)}")
    return BENCHMARKS[key]


def read_benchmark(
    name: str,
    root: str | Path,
    names: Iterable[str] | None = None,
    *,
    attributes: str | Path | None = None,
) -> Found:
    """Read a benchmark's sequences.

    Args:
        name: One of `BENCHMARKS`.
        root: Its folder, `.zip` or `.lmdb`, as it is published.
        names: Only these sequences.
        attributes: Folder of attribute files that do not lie beside the data.

    Raises:
        ConfigError: there is no such benchmark.
        DataError: the folder is not laid out as it is published; what is missing is named.
    """
    benchmark = find_benchmark(name)
    folder = None if attributes is None else Path(attributes)
    if folder is not None and not folder.is_dir():
        raise DataError(f"--attributes {folder} is not a folder")
    if benchmark.layout is not None:
        _check_layout(benchmark, Path(root))
    sequences = read_sequences(
        root, names, layout=benchmark.layout, split=benchmark.split, attributes=folder
    )
    if benchmark.layout is None and sequences[0].layout != "own":
        title = LAYOUTS[sequences[0].layout].title
        return Found(benchmark, sequences, (f"read as {title}, measured by our own protocol",))
    return Found(benchmark, sequences, _remarks(benchmark, sequences, names is not None))


def _check_layout(benchmark: Benchmark, root: Path) -> None:
    if not root.exists():
        raise DataError(f"{root} is not there; {benchmark.title} is wanted in it")
    layout = LAYOUTS[str(benchmark.layout)]
    store = open_store(root)
    with suppress(DataError):  # a list that a reader looks for is not there
        if layout.entries(store, benchmark.split):
            return
    inside = [*store.folders()[:3], *store.files()[:3]]
    holds = ", ".join(inside) if inside else "nothing"
    part = f" (part {benchmark.split})" if benchmark.split else ""
    raise DataError(f"{root} is not {benchmark.title}{part}: wanted {layout.form}; found {holds}")


def _remarks(benchmark: Benchmark, sequences: list[Sequence], chosen: bool) -> tuple[str, ...]:
    if benchmark.count is None or len(sequences) == benchmark.count:
        return ()
    text = f"{len(sequences)} of the {benchmark.count} sequences of {benchmark.title}"
    if chosen:
        return (f"{text}, as asked for",)
    if benchmark.name == "lasot":
        missing = sorted(test_set() - {one.name for one in sequences})
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            text += f"; {', '.join(missing[:5])}{more} not found"
    return (f"{text}: not to be called a result on {benchmark.title}",)
