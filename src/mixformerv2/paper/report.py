"""The measured tables as Markdown, the paper's figures beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .rows import HEADS

__all__ = ["markdown"]

_COLUMNS = ("cpu_whole", "cpu_kept", "gpu_whole", "gpu_kept")

Line = dict[str, Any]


def markdown(figures: dict[str, Any]) -> str:
    """Tables 1 and 2, the trackers and the head loads, from what `measure` answers.

    Args:
        figures: Of `measure`, or read back from its JSON.
    """
    lines = {table: [row for row in figures["rows"] if row["table"] == table] for table in range(3)}
    machine = figures["machine"]
    threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
    parts = [
        "Updates a second of `Tracker.update` on "
        f"{figures['frames'][0]} x {figures['frames'][1]} frames, eager PyTorch "
        f"{machine['torch']}, {machine['precision']}, {threads} of "
        f"{machine['cpu']}" + (f", {machine['gpu']}" if machine["gpu"] else ", no GPU") + ".",
        f"Median of turns: {figures['rounds']}"
        + (", processor time instead of wall time" if figures["clock"] == "processor" else "")
        + ". Whole: everything on each frame, as published; "
        "kept: the templates' keys and values computed once. x: over the row of the table that "
        "is slowest in the paper.",
    ]
    if lines[0]:
        parts += ["### Trackers", _table(lines[0], ("name",), ratios=False)]
    if lines[1]:
        parts += ["### Table 1: by head", _table(lines[1], ("layers", "head", "score"))]
    if lines[2]:
        parts += [
            "### Table 2: by layers, MLP ratio and input size",
            _table(lines[2], ("layers", "MLP ratio", "size")),
        ]
    counted = [row for row in figures["rows"] if row["table"] < 2]
    if counted:
        parts += ["### What can be counted", _counted(counted)]
    parts += ["### Localisation heads (S.5)", _loads(figures["head_loads"])]
    return "\n\n".join(parts) + "\n"


def _table(rows: list[Line], names: Sequence[str], *, ratios: bool = True) -> str:
    """Speeds: the paper's and ours, each also over the slowest row where that says something."""
    columns = [c for c in _COLUMNS if any(c in row["fps"] for row in rows)]
    printed = [c for c in ("cpu_fps", "gpu_fps") if any(c in row["paper"] for row in rows)]
    heads = [*names, *(f"paper {c[:3].upper()}" for c in printed)]
    heads += [f"here {c[:3].upper()}, {c[4:]}" for c in columns]
    body = []
    for row in rows:
        cells = [_name(row, name) for name in names]
        slowest = _slowest(rows, printed) if ratios else {"paper": {}, "fps": {}}
        cells += [_over(row["paper"].get(c), slowest["paper"].get(c)) for c in printed]
        cells += [_over(row["fps"].get(c), slowest["fps"].get(c)) for c in columns]
        body.append(cells)
    return _markdown_table(heads, body, len(names))


def _slowest(rows: list[Line], printed: Sequence[str]) -> Line:
    """The row that the paper calls the slowest; ours are put over the same one."""
    known = [row for row in rows if printed and printed[0] in row["paper"]]
    return min(known, key=lambda row: float(row["paper"][printed[0]])) if known else rows[0]


def _over(value: float | None, slowest: float | None) -> str:
    if value is None:
        return "-"
    shown = f"{value:.0f}" if value >= 20 or value == int(value) else f"{value:.1f}"
    return f"{shown} ({value / slowest:.1f} x)" if slowest else shown


def _counted(rows: list[Line]) -> str:
    heads = ["row", "parameters", "paper", "linear, one template", "all", "all, kept", "head"]
    body = [
        [
            row["row"],
            f"{row['counted']['parameters_m']:.1f} M",
            f"{row['paper']['gflops']:.1f} G" if "gflops" in row["paper"] else "-",
            *(
                _billions(row["counted"][name])
                for name in ("gflops_linear_one_template", "gflops", "gflops_kept", "head_gflops")
            ),
        ]
        for row in rows
    ]
    return _markdown_table(heads, body, 1)


def _loads(loads: dict[str, int]) -> str:
    tokens = loads["tokens"]
    body = [
        [name, f"{load:,}", f"{load / tokens:,.0f} x"] for name, load in loads.items() if tokens
    ]
    return _markdown_table(["head", "multiply-adds", "over tokens"], body, 1)


def _name(row: Line, column: str) -> str:
    if column == "head":
        return HEADS[row["head"]]
    if column == "score":
        return "yes" if row["score"] else "-"
    keys = {"name": "row", "layers": "layers", "MLP ratio": "mlp_ratio", "size": "search_size"}
    value = row[keys[column]]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _billions(value: float) -> str:
    return f"{value:.2f} G" if value >= 0.1 else f"{value * 1000:.1f} M"


def _markdown_table(heads: Sequence[str], body: Sequence[Sequence[str]], left: int) -> str:
    rule = ["---"] * left + ["---:"] * (len(heads) - left)
    return "\n".join("| " + " | ".join(row) + " |" for row in (heads, rule, *body))
