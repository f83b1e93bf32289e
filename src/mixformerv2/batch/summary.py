"""What a batch came to: `summary.json`, `quarantine.csv` and a page to look at."""

from __future__ import annotations

import csv
import html
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from ..errors import DataError, OutputError
from .manifest import QUARANTINE
from .plan import Plan, shown_name
from .shard import VIDEOS

__all__ = ["Totals", "write_summary"]

_LISTED = 500  # videos on the page; all of them are in quarantine.csv


@dataclass(slots=True)
class Totals:
    """Counts over all shards.

    Attributes:
        videos: In the manifest.
        done: With results.
        quarantined: Without, because they failed twice.
        shards: In the plan.
        missing: Shards that are not done: run again.
        targets: Followed.
        frames: In the results.
        broken: Frames among them that could not be decoded.
        cut_short: Videos that ended before their end.
        seconds: Of all workers together, in their shards.
        states: Frames by state, summed over the targets.
    """

    videos: int = 0
    done: int = 0
    quarantined: int = 0
    shards: int = 0
    missing: int = 0
    targets: int = 0
    frames: int = 0
    broken: int = 0
    cut_short: int = 0
    seconds: float = 0.0
    states: dict[str, int] = field(default_factory=dict)


def write_summary(plan: Plan) -> Totals:
    """Count what is there, and write the summary beside it.

    Raises:
        OutputError: The summary cannot be written.
    """
    totals = Totals(videos=plan.videos, shards=plan.shards)
    listed: list[dict[str, Any]] = []
    try:
        with _Quarantine(plan) as quarantine:
            for shard in range(plan.shards):
                folder = plan.folder / "shards" / f"{shard:06d}"
                if not folder.is_dir():
                    totals.missing += 1
                    continue
                bad = [(place, one) for place, one in _reports(folder) if _count(one, totals)]
                totals.seconds += _seconds(folder)
                listed += [one for _, one in bad[: max(0, _LISTED - len(listed))]]
                quarantine.add(shard, bad)
            quarantine.publish()
        _write(plan.folder / "summary.json", json.dumps(asdict(totals), indent=2) + "\n")
        _write(plan.folder / "index.html", _page(plan, totals, listed))
    except OSError as error:
        raise OutputError(f"{plan.folder}: no summary can be written: {error.strerror}") from error
    return totals


def _reports(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with (folder / VIDEOS).open(encoding="utf-8") as file:
        for place, line in enumerate(file):
            try:
                yield place, json.loads(line)
            except ValueError as error:
                raise DataError(
                    f"{folder / VIDEOS} is damaged; delete {folder} to do it again"
                ) from error


def _count(one: dict[str, Any], totals: Totals) -> bool:
    """Add a video to the totals; whether it is in quarantine."""
    if one["status"] != "done":
        totals.quarantined += 1
        return True
    totals.done += 1
    totals.frames += one["frames"]
    totals.broken += one["broken"]
    totals.cut_short += one["cut_short"] is not None
    totals.targets += len(one["states"])
    for states in one["states"].values():
        for state, count in states.items():
            totals.states[state] = totals.states.get(state, 0) + count
    return False


def _seconds(folder: Path) -> float:
    try:
        return float(json.loads((folder / "timing.json").read_text("utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


class _Quarantine:
    """Writes `quarantine.csv`: a manifest, so that a second batch can take just these videos.

    Which tags there are is known after the last row: rows wait on disk until then.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._tags: dict[str, None] = {}

    def __enter__(self) -> Self:
        self._rows = tempfile.TemporaryFile("w+", dir=self._plan.folder, encoding="utf-8")
        return self

    def __exit__(self, *raised: object) -> None:
        self._rows.close()

    def add(self, shard: int, bad: list[tuple[int, dict[str, Any]]]) -> None:
        """Videos of a shard, by their place in it, with their reports."""
        videos = self._plan.read(shard) if bad else []
        for place, one in bad:
            video = videos[place]
            for target in video.targets:
                row: dict[str, Any] = dict(target.tags)
                if target.fault is None:
                    box = target.box or ("", "", "", "")
                    row |= dict(zip("xywh", box, strict=True))
                    row |= {"start": target.start, "id": target.id}
                row["video"] = shown_name(video.address)
                row["given"] = video.name
                row["reason"] = one["reasons"][-1] if one["reasons"] else ""
                self._tags |= dict.fromkeys(row)
                self._rows.write(json.dumps(row) + "\n")

    def publish(self) -> None:
        """Give the file its name."""
        first, last = ("video", "x", "y", "w", "h", "start", "id"), QUARANTINE
        tags = [name for name in self._tags if name not in {*first, *last}]
        part = self._plan.folder / "quarantine.csv.part"
        self._rows.seek(0)
        # JSON can hold halves of letters, which no table can.
        with part.open("w", encoding="utf-8", newline="", errors="replace") as file:
            writer = csv.DictWriter(file, (*first, *tags, *last), lineterminator="\n")
            writer.writeheader()
            writer.writerows(map(json.loads, self._rows))
        os.replace(part, self._plan.folder / "quarantine.csv")


def _write(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bad: #b3261e; --soft: #888; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
.tiles { display: flex; flex-wrap: wrap; gap: .8rem; padding: 0; list-style: none }
.tiles li { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem 1rem;
min-width: 7rem }
.tiles b { display: block; font-size: 1.5rem } .bad b { color: var(--bad) }
.bar { display: flex; height: 1.2rem; border-radius: .3rem; overflow: hidden }
.bar span { min-width: 1px } .tracked { background: #2e9e5b } .uncertain { background: #e0a21b }
.lost { background: #c8453b } small, .soft { color: var(--soft) }
table { border-collapse: collapse; width: 100% } td, th { text-align: left;
padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
overflow-wrap: anywhere }
th { white-space: nowrap }
"""


def _page(plan: Plan, totals: Totals, bad: list[dict[str, Any]]) -> str:
    speed = f"{totals.frames / totals.seconds:.0f}" if totals.seconds else "?"
    tiles = [
        ("videos done", f"{totals.done:,} of {totals.videos:,}", False),
        ("quarantined", f"{totals.quarantined:,}", bool(totals.quarantined)),
        ("targets", f"{totals.targets:,}", False),
        ("frames", f"{totals.frames:,}", False),
        ("broken frames", f"{totals.broken:,}", bool(totals.broken)),
        ("frames a second and worker", speed, False),
    ]
    if totals.missing:
        tiles.insert(2, ("shards missing: run again", f"{totals.missing:,}", True))
    body = "".join(
        f"<li{' class=bad' if warn else ''}><b>{value}</b>{name}</li>"
        for name, value, warn in tiles
    )
    settings = plan.settings
    facts = {
        "model": settings.model,
        "inference": settings.inference,
        "formats": ", ".join(settings.formats),
        "shards": f"{plan.shards:,}, of {settings.shard_size} videos each",
        "ended early": f"{totals.cut_short:,} videos",
        "worker time": f"{totals.seconds / 3600:.2f} h",
    }
    about = "".join(f"<tr><th>{k}<td>{html.escape(str(v))}" for k, v in facts.items())
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width">'
        f"<title>Batch: {totals.done:,} of {totals.videos:,} videos</title><style>{_STYLE}</style>"
        f"<h1>Batch <small>{html.escape(plan.folder.name)}</small></h1><ul class=tiles>{body}</ul>"
        f"{_bar(totals.states)}{_table(bad, totals.quarantined)}"
        f"<h2>Run</h2><table>{about}</table></html>\n"
    )


def _bar(states: dict[str, int]) -> str:
    whole = sum(states.values())
    if not whole:
        return ""
    names = [name for name in ("tracked", "uncertain", "lost") if states.get(name)]
    parts = "".join(f'<span class={n} style="flex:{states[n]}"></span>' for n in names)
    words = ", ".join(f"{n} {states[n] / whole:.1%}" for n in names)
    return f"<h2>States of the targets</h2><div class=bar>{parts}</div><p class=soft>{words}</p>"


def _reasons(one: dict[str, Any]) -> list[str]:
    """Why a video failed; twice the same is said once."""
    return [html.escape(why) for why in dict.fromkeys(one["reasons"])]


def _table(bad: list[dict[str, Any]], count: int) -> str:
    if not bad:
        return ""
    rows = "".join(
        f"<tr><td>{html.escape(one['video'])}<td>{'<br>'.join(_reasons(one))}" for one in bad
    )
    more = f"<p>{count - len(bad):,} more in quarantine.csv</p>" if count > len(bad) else ""
    return (
        "<h2>Quarantine</h2><p class=soft>Each failed twice; quarantine.csv is a manifest of them."
        f"</p><table><tr><th>video<th>reasons{rows}</table>{more}"
    )
