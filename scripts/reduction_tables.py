"""Tables of `ablate_reduction`: our figures with paired differences beside those of the paper.

Differences are paired: the same pairs, the same videos, the same seeds. Their intervals come from
the bootstrap: videos are drawn anew, each with all its pairs, and of several seeds the seeds too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from reduction_arms import ARMS, arms

from mixformerv2.paper.rows import paper_tables

Values = NDArray[np.float64]
Record = dict[str, Any]

BEGIN, END = "<!-- figures: written by scripts/ablate_reduction.py -->", "<!-- end of figures -->"
DRAWS = 4000


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        choice: What it is.
        arm: The run, or None where the row is not run, and `why` says why not.
        paper: Its name among the paper's figures, if it has one.
        against: The arm that it is compared with; none in a baseline.
        against_paper: That one's name among the paper's figures.
    """

    choice: str
    arm: str | None
    paper: str | None = None
    against: str | None = None
    against_paper: str | None = None
    why: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the paper: its key among the paper's figures, its title, and rows."""

    key: str
    title: str
    rows: tuple[Row, ...]


_LARGE = "no larger teacher was trained"

TABLES = (
    Table("3c", "Dense to sparse, six layers", (
        Row("no teacher", "base", "none"),
        Row("dense teacher", "sparse", "base", "base", "none"),
        Row("no teacher, dense head", "base_dense"),
        Row("dense teacher, dense head", "sparse_dense", "base", "base_dense", "none"),
        Row("dense head alone against nothing", "base_dense", None, "base"),
        Row("random weights, no teacher", "scratch"),
        Row("random weights, dense teacher", "scratch_sparse", "base", "scratch", "none"),
        Row("random weights, dense head", "scratch_dense", None, "scratch"),
        Row("a larger teacher", None, "large", why=_LARGE),
    )),
    Table("3d", "Logits and features, four layers from the teacher's first four", (
        Row("none", "first_none", "none"),
        Row("logits", "first_logits", "logits", "first_none", "none"),
        Row("logits and features", "first", "both", "first_logits", "logits"),
        Row("none, MixViT", "corners_none", "none"),
        Row("logits, MixViT", "corners_logits", "logits", "corners_none", "none"),
        Row("logits and features, MixViT", "corners_first", "both", "corners_logits", "logits"),
        Row("none, dense head", "first_none_dense"),
        Row("logits, dense head", "first_logits_dense", "logits", "first_none_dense", "none"),
        Row("logits and features, dense head", "first_dense", "both", "first_logits_dense",
            "logits"),
    )),
    Table("3e", "What four layers begin with (8b the same)", (
        Row("the teacher's first four", "first", "8b/Tea-fir4"),
        Row("Tea-skip", "skip", "Tea-skip4", "first", "8b/Tea-fir4"),
        Row("PMDP", "fade", "PMDP", "skip", "Tea-skip4"),
        Row("the teacher's first four, MixViT", "corners_first", "8b/Tea-fir4"),
        Row("Tea-skip, MixViT", "corners_skip", "Tea-skip4", "corners_first", "8b/Tea-fir4"),
        Row("PMDP, MixViT", "corners_fade", "PMDP", "corners_skip", "Tea-skip4"),
        Row("first four of MAE", "mae_first", "MAE-fir4", "first", "8b/Tea-fir4"),
    )),
    Table("3a", "Ways to regress the box, six layers, no teacher", (
        Row("T1, direct", "t1", "T1"),
        Row("T4", "base", "T4", "t1", "T1"),
        Row("pyramidal corner head", "corner", "corner", "base", "T4"),
    )),
    Table("3b", "Online templates: the shipped T, and the dense teacher with a score module", (
        Row("T, first template alone", "template_first"),
        Row("T, newest every ten frames, no score", "template_newest", "without"),
        Row("T, best scored of every ten frames", "template_score", "score", "template_newest",
            "without"),
        Row("T, best scored against the first alone", "template_score", None, "template_first"),
        Row("MixViT, first template alone", "mixvit_first"),
        Row("MixViT, newest every ten frames", "mixvit_newest", "MixViT without"),
        Row("MixViT, best scored of every ten frames", "mixvit_score", "MixViT score",
            "mixvit_newest", "MixViT without"),
        Row("MixViT, best scored against the first alone", "mixvit_score", None, "mixvit_first"),
    )),
    Table("3f", "Intermediate teacher, two layers of six", (
        Row("six to two", "two_direct", "none"),
        Row("six to four to two", "two_by_four", "intermediate", "two_direct", "none"),
    )),
    Table("8a", "Designs of tokens, six layers, no teacher", (
        Row("1 token, 4 MLPs", "one_token_four", "1 token, 4 MLPs"),
        Row("4 tokens, 4 MLPs", "four_tokens_own", "4 tokens, 4 MLPs", "one_token_four",
            "1 token, 4 MLPs"),
        Row("4 tokens, 1 MLP", "base", "4 tokens, 1 MLP", "four_tokens_own", "4 tokens, 4 MLPs"),
    )),
    Table("3g", "m, as a share of the run", (
        Row("0.06 (30 of 500)", "fade_6", "30"),
        Row("0.08 (40 of 500)", "fade", "40", "fade_6", "30"),
        Row("0.10 (50 of 500)", "fade_10", "50", "fade", "40"),
        Row("0.30", "fade_30", None, "fade"),
    )),
    Table("T", "The shipped T trained on, alone or under the dense teacher, 128 pixels", (
        Row("true boxes and dense head", "t_direct"),
        Row("the same, dense teacher", "t_sparse", None, "t_direct"),
    )),
)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """A mean of paired differences and its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def bootstrap(
    differences: Values, videos: Sequence[str] | None = None, draws: int = DRAWS, seed: int = 0
) -> Difference:
    """Interval of the mean of `[seeds, N]` paired differences.

    Args:
        differences: Of each pair, or each video, by seed.
        videos: Which video each column shows: two pairs of one video are alike, so whole videos
            are drawn. None where each column stands for itself.
        draws: How often.
        seed: Of the draws; of several seeds of training these are drawn too.
    """
    generator = np.random.default_rng(seed)
    seeds, count = differences.shape
    group = np.arange(count) if videos is None else np.unique(videos, return_inverse=True)[1]
    sizes = np.bincount(group)
    sums = np.stack([np.bincount(group, row) for row in differences])
    means = np.empty(draws)
    for draw in range(draws):
        rows = generator.integers(0, seeds, seeds)
        drawn = generator.integers(0, len(sizes), len(sizes))
        times = np.bincount(drawn, minlength=len(sizes))
        means[draw] = (sums[rows] @ times).mean() / (sizes @ times)
    low, high = np.percentile(means, [2.5, 97.5])
    return Difference(float(differences.mean()), float(low), float(high))


class Figures:
    """All results of one budget, by arm and seed.

    Args:
        records: Of the file of results.
        steps: The budget.
        videos: Which video each of the fixed pairs shows, by the pairs' name.
    """

    def __init__(
        self,
        records: Sequence[Record],
        steps: int,
        videos: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.videos = videos or {}
        self.by_arm: dict[str, dict[int, Record]] = {}
        self._known: dict[tuple[str | None, ...], Difference | None] = {}
        known = arms()
        for one in records:
            arm = known.get(one["arm"])
            if arm is None or one["settings"] != list(arm.settings):
                continue  # of an older list, or of a try with other settings
            if one["steps"] == (0 if arm.policy else round(arm.steps * steps)):
                self.by_arm.setdefault(one["arm"], {})[one["seed"]] = one

    def of(self, arm: str | None) -> dict[int, Record]:
        """The figures of an arm by seed."""
        return self.by_arm.get(arm or "", {})

    def difference(self, arm: str | None, other: str | None, figure: str) -> Difference | None:
        """Of an arm from another in "iou" or "auc", over the seeds that both have."""
        key = (arm, other, figure)
        if key not in self._known:
            self._known[key] = self._difference(arm, other, figure)
        return self._known[key]

    def _difference(self, arm: str | None, other: str | None, figure: str) -> Difference | None:
        ours, theirs = self.of(arm), self.of(other)
        both = [seed for seed in sorted(ours) if seed in theirs and _has(ours[seed], figure)]
        seeds = [seed for seed in both if _what(ours[seed], figure) == _what(theirs[seed], figure)]
        if not seeds:
            return None
        values = [_values(ours[seed], figure) - _values(theirs[seed], figure) for seed in seeds]
        of_pair = None if figure == "auc" else self.videos.get(ours[seeds[0]].get("pairs", ""))
        return bootstrap(np.stack(values), of_pair)

    def mean(self, arm: str | None, figure: str) -> float | None:
        """Of an arm over its seeds."""
        values = [one[figure] for one in self.of(arm).values() if one.get(figure) is not None]
        return float(np.mean(values)) if values else None


def _has(record: Record, figure: str) -> bool:
    return figure == "auc" or "iou_by_pair" in record


def _what(record: Record, figure: str) -> object:
    """What a figure was measured on: only figures of the same may be subtracted."""
    return sorted(record["auc_by_video"]) if figure == "auc" else record.get("pairs")


def _values(record: Record, figure: str) -> Values:
    if figure == "auc":
        videos = record["auc_by_video"]
        return np.array([videos[name] for name in sorted(videos)])
    return np.array([int(v) for v in record["iou_by_pair"].split()]) / 1000


def printed(table: Table, name: str | None) -> float | None:
    """A figure of the paper; `8b/NAME` is of another table."""
    if name is None:
        return None
    other, slash, rest = name.partition("/")
    figures: dict[str, float] = paper_tables()["ablations"][other if slash else table.key]
    return figures[rest if slash else name]


AS_PRINTED, AGAINST = "as in the paper", "the other way round"


def verdict(changes: Mapping[str, Difference | None], paper: float | None) -> str:
    """Whether an ordering of the paper came out, by our differences in each figure.

    Where one figure decides and the other does not, it is named; where they contradict each other
    that is said, and neither is chosen.
    """
    known = {name: one for name, one in changes.items() if one is not None}
    if not known or paper is None:
        return ""
    words = {
        name: AS_PRINTED if (one.mean > 0) == (paper > 0) else AGAINST
        for name, one in known.items()
        if one.certain
    }
    if not words:
        return "not decided"
    if paper == 0:
        return "the paper has none"
    if len(set(words.values())) > 1:
        return "the figures disagree"
    word = next(iter(words.values()))
    only = f" by {next(iter(words))}" if len(words) < len(known) else ""
    return f"**{word}**{only}" if word == AGAINST else f"{word}{only}"


def table_text(table: Table, figures: Figures) -> str:
    """A table in Markdown."""
    lines = [
        f"### {table.key}: {table.title}",
        "",
        "| choice | seeds | IoU of pairs | difference (95 %) | AUC | difference (95 %) "
        "| KL to the teacher | paper: AUC | difference | ordering |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in table.rows:
        if row.arm is None:
            continue
        lines.append(_line(table, row, figures))
    return "\n".join(lines)


def _line(table: Table, row: Row, figures: Figures) -> str:
    def number(value: float | None, form: str = ".3f") -> str:
        return "" if value is None else format(value, form)

    paper, base = printed(table, row.paper), printed(table, row.against_paper)
    gain = None if paper is None or base is None else paper - base
    changes = [figures.difference(row.arm, row.against, f) for f in ("iou", "auc")]
    named = dict(zip(("IoU", "AUC"), changes, strict=True))
    cells = [
        row.choice,
        str(len(figures.of(row.arm)) or "to do"),
        number(figures.mean(row.arm, "iou")),
        "" if changes[0] is None else str(changes[0]),
        number(figures.mean(row.arm, "auc")),
        "" if changes[1] is None else str(changes[1]),
        number(figures.mean(row.arm, "kl"), ".2f"),
        number(paper, ".1f"),
        number(gain, "+.1f"),
        verdict(named, gain),
    ]
    return f"| {' | '.join(cells)} |"


def summary(figures: Figures) -> str:
    """Orderings by how they came out, and the rows that were not run."""
    found: dict[str, list[str]] = {}
    left = []
    for table in TABLES:
        for row in table.rows:
            if row.arm is None:
                left.append(f"{table.key} {row.choice}: {row.why}")
                continue
            if not figures.of(row.arm):
                left.append(f"{table.key} {row.choice}: to do")
            cells = _line(table, row, figures).split(" | ")
            word = cells[-1].rstrip(" |").replace("*", "")
            if word:
                found.setdefault(word, []).append(f"{table.key} {row.choice}")
    lines = [f"- Orderings, {word}: {'; '.join(rows)}." for word, rows in sorted(found.items())]
    lines.append(f"- Not run: {'; '.join(left)}.")
    return "\n".join(lines)


def teachers_text(figures: Figures, steps: int) -> str:
    """The teachers' figures, and the budget."""
    lines = ["| teacher | steps | IoU of pairs | AUC |", "|---|---:|---:|---:|"]
    for arm in ARMS:
        if arm.shared and arm.judged:
            values = [figures.mean(arm.name, name) for name in ("iou", "auc")]
            cells = ["to do" if v is None else f"{v:.3f}" for v in values]
            kind = "MixViT, pyramidal corner head" if arm.name == "teacher" else "T4, six layers"
            lines.append(
                f"| {kind} (`{arm.name}`) | {round(arm.steps * steps)} | {' | '.join(cells)} |"
            )
    return "\n".join(lines)


def report(
    records: Sequence[Record], steps: int, videos: Mapping[str, Sequence[str]] | None = None
) -> str:
    """All that is written into the page."""
    figures = Figures(records, steps, videos)
    seeds = sorted({seed for arm in ("base", "first") for seed in figures.of(arm)})
    said = (
        f"{steps} steps of 16 samples a student; seeds so far: "
        f"{', '.join(map(str, seeds)) or 'none'}."
    )
    parts = [said, teachers_text(figures, steps)]
    parts += [table_text(table, figures) for table in TABLES]
    return "\n\n".join([*parts, "### What came out", summary(figures)])


def fill(page: str, text: str) -> str:
    """The page with its figures written anew between their marks."""
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    return pattern.sub(lambda _: f"{BEGIN}\n\n{text}\n\n{END}", page)
