"""The tables of the ablations: intervals, verdicts, and the page that shows them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from .test_ablate_reduction import record

Script = Callable[[str], ModuleType]


def test_the_bootstrap_agrees_with_the_normal_interval(script: Script) -> None:
    tables = script("reduction_tables")
    rng = np.random.default_rng(1)
    one = rng.normal(0.1, 1.0, (1, 2000))
    found = tables.bootstrap(one)
    half = 1.96 * one.std() / np.sqrt(one.size)
    # The ends of 4,000 draws tremble by some 3 % of the interval's half.
    assert found.low == pytest.approx(one.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(one.mean() + half, abs=0.1 * half)
    # Seeds that disagree widen it, though each alone is certain.
    three = np.array([[0.1], [0.5], [-0.2]]) + 0.001 * rng.normal(size=(3, 500))
    spread = tables.bootstrap(three)
    assert not spread.certain
    assert all(tables.bootstrap(row[None]).certain for row in three)


def test_pairs_of_one_video_count_as_one_fact(script: Script) -> None:
    tables = script("reduction_tables")
    rng = np.random.default_rng(2)
    videos = [f"v{number:02}" for number in range(20) for _ in range(50)]
    of_video = np.repeat(rng.normal(0.1, 1.0, 20), 50)  # all pairs of a video say the same
    found = tables.bootstrap(of_video[None], videos)
    by_video = tables.bootstrap(of_video[None, ::50])
    assert (found.mean, found.low, found.high) == pytest.approx(
        (by_video.mean, by_video.low, by_video.high)
    )
    apart = tables.bootstrap(of_video[None])
    assert found.high - found.low > 5 * (apart.high - apart.low)


def test_an_ordering_is_decided_by_both_figures_or_by_the_one_that_is_named(
    script: Script,
) -> None:
    tables = script("reduction_tables")
    up, down = tables.Difference(0.1, 0.05, 0.2), tables.Difference(-0.1, -0.2, -0.05)
    open_ = tables.Difference(0.1, -0.1, 0.3)
    said = {
        (up, up): "as in the paper",
        (up, open_): "as in the paper by IoU",
        (open_, down): "**the other way round** by AUC",
        (down, up): "the figures disagree",
        (open_, open_): "not decided",
        (None, up): "as in the paper",
        (None, None): "",
    }
    for (iou, auc), word in said.items():
        assert tables.verdict({"IoU": iou, "AUC": auc}, 1.4) == word
    assert tables.verdict({"IoU": up, "AUC": up}, None) == ""
    assert tables.verdict({"IoU": up, "AUC": None}, 0.0) == "the paper has none"


def test_the_videos_of_the_pairs_are_kept_beside_the_results(
    script: Script, tmp_path: Path
) -> None:
    module, judge = script("ablate_reduction"), script("reduction_judge")
    path = module.videos_file(tmp_path / "r.jsonl")
    assert module.read_videos(path) == {}
    for boxes in ([[0, 0, 0.5, 0.5]] * 3, [[0, 0, 0.2, 0.2]] * 3):
        pairs = {"box": np.array(boxes), "video": np.array(["b", "a", "b"])}
        module.remember_videos(path, pairs)
        assert module.read_videos(path)[judge.identity(pairs)] == ["b", "a", "b"]
    assert len(module.read_videos(path)) == 2


def test_every_judged_run_has_its_pairs_videos(script: Script) -> None:
    module = script("ablate_reduction")
    options = module.parse([])
    videos = module.read_videos(module.videos_file(options.results))
    for one in module.read_records(options.results):
        if "iou_by_pair" in one:
            assert len(videos[one["pairs"]]) == len(one["iou_by_pair"].split()), one["arm"]


def test_the_table_says_what_came_out_and_what_was_not_run(script: Script) -> None:
    module, tables = script("ablate_reduction"), script("reduction_tables")
    arms = module.arms()
    rng = np.random.default_rng(0)
    level = rng.integers(300, 500, 60)
    records = [
        record(arms["base"], 1, 850, list(level), [0.3, 0.4]),
        record(arms["sparse"], 1, 850, list(level + 50), [0.4, 0.5]),
        record(arms["base_dense"], 1, 850, list(level + 80), [0.5, 0.5]),
        record(arms["sparse_dense"], 1, 850, list(level + 60), [0.4, 0.3]),
        record(arms["t1"], 1, 850, list(level + rng.integers(-90, 91, 60)), [0.3, 0.4]),
        record(arms["corner"], 1, 400, list(level), [0.9, 0.9]),  # of another budget
    ]
    text = tables.report(records, 850)
    rows = {
        line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line[:2] == "| "
    }
    assert "| +0.050 (+0.050 to +0.050) |" in rows["dense teacher"]
    assert "| 68.9 | +1.4 | as in the paper |" in rows["dense teacher"]
    assert rows["dense teacher, dense head"].endswith("| **the other way round** |")
    assert rows["pyramidal corner head"].split(" | ")[1] == "to do"
    assert "Orderings, not decided: 3a T4" in text
    assert "Orderings, the other way round: 3c dense teacher, dense head." in text
    assert "3a pyramidal corner head: to do" in text
    assert "3c a larger teacher: no larger teacher was trained" in text


def test_figures_of_other_pairs_are_not_subtracted(script: Script) -> None:
    module, tables = script("ablate_reduction"), script("reduction_tables")
    arms = module.arms()
    one = record(arms["base"], 1, 850, [300, 400], [0.3, 0.4]) | {"pairs": "abc"}
    other = record(arms["sparse"], 1, 850, [300, 400, 500], [0.3, 0.4]) | {"pairs": "def"}
    figures = tables.Figures([one, other], 850)
    assert figures.difference("sparse", "base", "iou") is None
    assert figures.difference("sparse", "base", "auc") is not None
    other["auc_by_video"] = {"v0": 0.3}
    assert tables.Figures([one, other], 850).difference("sparse", "base", "auc") is None


def test_every_figure_of_the_paper_stands_in_a_row(script: Script) -> None:
    from mixformerv2.paper.rows import paper_tables

    tables = script("reduction_tables")
    used = {
        (table.key, name)
        for table in tables.TABLES
        for row in table.rows
        for name in (row.paper, row.against_paper)
        if name
    }
    for key, name in used:
        table = next(one for one in tables.TABLES if one.key == key)
        assert tables.printed(table, name) is not None
    figures = paper_tables()["ablations"]
    shown = {(k, n) if "/" not in n else tuple(n.split("/")) for k, n in used}
    missing = {(k, n) for k in figures for n in figures[k]} - shown
    assert missing == {("8b", "Tea-skip4"), ("8b", "PMDP")}  # the same rows as in 3e


def test_the_page_keeps_all_but_its_figures(script: Script) -> None:
    tables = script("reduction_tables")
    page = f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n"
    once = tables.fill(page, r"new \1")
    assert once == f"before\n{tables.BEGIN}\n\nnew \\1\n\n{tables.END}\nafter\n"
    assert tables.fill(once, r"new \1") == once


def test_the_page_shows_the_file_of_results(script: Script) -> None:
    module, tables = script("ablate_reduction"), script("reduction_tables")
    options = module.parse([])
    page = module.PAGE.read_text(encoding="utf-8")
    steps = re.search(r"(\d+) steps of 16 samples", page)
    assert steps is not None
    videos = module.read_videos(module.videos_file(options.results))
    text = tables.report(module.read_records(options.results), int(steps[1]), videos)
    assert tables.fill(page, text) == page
