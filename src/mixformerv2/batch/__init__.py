"""Many videos: a manifest in, tables of results out, each exactly once, whatever is killed.

```
manifest ──> plan/00000.jsonl ...   what each shard holds, written once
                  │  a cluster hands shards to workers (local processes, or Ray)
                  ▼
             work/00000.1/          a worker's try at a shard
                  │  renamed when it is whole: a shard is there or it is not
                  ▼
             shards/00000/          results.csv|jsonl|parquet, videos.jsonl
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .plan import Settings
    from .run import Progress, run_batch
    from .summary import Totals

__all__ = ["Progress", "Settings", "Totals", "run_batch"]

_HOME = {"Progress": "run", "Settings": "plan", "Totals": "summary", "run_batch": "run"}


def __getattr__(name: str) -> Any:
    # --help reads none of this.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
