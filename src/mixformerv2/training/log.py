"""The log of a run, `log.jsonl`: what it was worth, step by step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from ..weights.files import write_whole

__all__ = ["forget_after", "read_log"]


def read_log(folder: Path) -> Iterator[dict[str, float]]:
    """The lines of a run's log, oldest first, up to one that is damaged or half written.

    Lines of evaluations have a text beside the numbers, "evaluated". None where there is no log.
    """
    if not (folder / "log.jsonl").exists():
        return
    with (folder / "log.jsonl").open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                return
            if not (isinstance(row, dict) and isinstance(row.get("step"), int)):
                return
            yield row


def forget_after(folder: Path, step: int) -> None:
    """Drop lines of steps that were lost with a kill and are now done again."""
    path = folder / "log.jsonl"
    if path.exists():
        kept = [json.dumps(row) + "\n" for row in read_log(folder) if row["step"] <= step]
        write_whole(path, "".join(kept).encode())  # a full disk leaves the log as it was
