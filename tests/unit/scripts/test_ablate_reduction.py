"""The list of ablations, its judge and its tables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mixformerv2.training.config import TrainConfig, load_config
from mixformerv2.training.losses import Predictions

Script = Callable[[str], ModuleType]
DENSE = {"loss.dense", "loss.dense_ciou", "loss.dense_to_sparse", "loss.inside"}

DIFFERENCES = [
    ("base", "sparse", {"stage", "distill.teacher"}),
    ("base_dense", "sparse_dense", {"stage", "distill.teacher"}),
    ("base", "base_dense", DENSE),
    ("sparse", "sparse_dense", DENSE),
    ("first_none", "first_logits", {"loss.logits"}),
    ("first_logits", "first", {"loss.features"}),
    ("first", "first_dense", DENSE),
    ("first_none_dense", "first_logits_dense", {"loss.logits"}),
    ("first", "skip", {"prune.method"}),
    ("skip", "fade", {"prune.method", "model.depth"}),
    ("base", "t1", {"model.box_head"}),
    ("base", "corner", {"model.name"}),
    ("base", "one_token_four", {"model.box_head"}),
    ("base", "four_tokens_own", {"model.box_head"}),
    ("two_direct", "two_by_four", {"distill.teacher", "model.depth", "prune.layers"}),
    ("fade", "fade_6", {"prune.fade"}),
    ("fade", "fade_10", {"prune.fade"}),
    ("fade", "fade_30", {"prune.fade"}),
    ("first", "mae_first", {"init"}),
    ("base", "scratch", {"init"}),
    ("scratch", "scratch_sparse", {"stage", "distill.teacher", "distill.start"}),
    ("scratch", "scratch_dense", DENSE),
    ("t_direct", "t_sparse", {"stage", "distill.teacher"}),
]


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        out |= flat(value, name + ".") if isinstance(value, dict) else {name: value}
    return out


def ablation(module: ModuleType, tmp_path: Path, *arguments: str) -> Any:
    return module.Ablation(
        module.parse(
            ["--out", str(tmp_path / "runs"), "--results", str(tmp_path / "r.jsonl"), *arguments]
        )
    )


def settings(module: ModuleType, tmp_path: Path, name: str, seed: int = 1) -> TrainConfig:
    command = ablation(module, tmp_path).command(module.arms()[name], seed)
    first, last = command.index("train") + 1, command.index("--out")
    return load_config(Path(command[first]), command[first + 1 : last])


@pytest.mark.parametrize(("one", "other", "changed"), DIFFERENCES)
def test_arms_differ_only_in_what_they_say(
    script: Script, tmp_path: Path, one: str, other: str, changed: set[str]
) -> None:
    module = script("ablate_reduction")
    a, b = (flat(asdict(settings(module, tmp_path, name))) for name in (one, other))
    assert {key for key in a | b if a.get(key) != b.get(key)} == changed


def test_all_students_have_one_budget_and_the_same_samples(script: Script, tmp_path: Path) -> None:
    module = script("ablate_reduction")
    seen = []
    for arm in module.ARMS:
        if not arm.shared and not arm.policy:
            config = settings(module, tmp_path, arm.name, seed=2)
            optim = asdict(config.optim)
            if arm.name.startswith("t_"):  # which begin with trained heads
                assert optim["lr"] == 2e-4
                optim["lr"] = 4e-4
            seen.append((config.seed, config.bank, config.clips, config.data, tuple(optim.items())))
    assert len(seen) > 15
    assert all(one == seen[0] for one in seen)


def test_what_an_arm_needs_stands_before_it(script: Script) -> None:
    names: list[str] = []
    for arm in script("reduction_arms").ARMS:
        assert set(arm.needs) <= set(names), arm.name
        assert arm.name not in names
        names.append(arm.name)


def test_every_student_fits_its_teacher(script: Script, tmp_path: Path) -> None:
    from mixformerv2.distillation.distill import DistillStage
    from mixformerv2.training.stage import make_stage

    module = script("ablate_reduction")
    checked = 0
    for arm in module.ARMS:
        if arm.policy:
            continue
        stage = make_stage(config := settings(module, tmp_path, arm.name))
        if isinstance(stage, DistillStage):
            run = Path(config.distill.teacher).name.split("-")[0]
            theirs = settings(module, tmp_path, run).network
            if run == "fade":
                theirs = settings(module, tmp_path, "first").network  # four of six are left
            stage.match(theirs)
            checked += 1
    assert checked >= 14


def record(arm: Any, seed: int, steps: int, iou: list[int], auc: list[float]) -> dict[str, Any]:
    return {
        "arm": arm.name, "seed": seed, "steps": steps, "settings": list(arm.settings),
        "start": "abc", "iou": sum(iou) / len(iou) / 1000, "auc": sum(auc) / len(auc), "kl": 1.0,
        "auc_by_video": {f"v{i}": v for i, v in enumerate(auc)},
        "iou_by_pair": " ".join(map(str, iou)),
    }  # fmt: skip


def test_a_second_call_runs_only_what_is_missing(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = script("ablate_reduction")
    results = tmp_path / "r.jsonl"
    arms = module.arms()
    done = [arms["teacher"], arms["base"]]
    for arm in done:
        steps = round(arm.steps * 850)
        module.append_line(results, json.dumps(record(arm, 1, steps, [500], [0.5])))
    with results.open("a", encoding="utf-8") as file:
        file.write('{"arm": "spa')  # killed while writing
    ran: list[tuple[str, int]] = []

    def run(self: Any, arm: Any, seed: int) -> None:
        ran.append((arm.name, seed))
        steps = self.steps(arm)
        line = record(arm, self.seed(arm, seed), steps, [500], [0.5])
        module.append_line(results, json.dumps(line))
        self.records.append(line)

    monkeypatch.setattr(module.Ablation, "run", run)
    call = [
        "--out", str(tmp_path / "runs"), "--results", str(results),
        "--arms", "teacher", "base", "sparse", "template_score",
        "--seeds", "1", "2",
    ]  # fmt: skip
    assert module.main(call) == 0
    # Teachers and what is not trained once, then all arms of the next seed.
    assert ran == [("sparse", 1), ("template_score", 1), ("base", 2), ("sparse", 2)]
    assert module.main(call) == 0
    assert len(ran) == 4
    # Another budget and another setting are other figures.
    assert module.main([*call, "--steps", "9", "--arms", "base", "--seeds", "1"]) == 0
    assert module.main(["optim.lr=1e-3", *call, "--arms", "base", "--seeds", "1"]) == 0
    assert ran[4:] == [("base", 1), ("base", 1)]


def test_figures_under_another_start_are_not_mixed(script: Script, tmp_path: Path) -> None:
    module = script("ablate_reduction")
    started = ablation(module, tmp_path)
    assert (started.start() / "config.json").exists()
    assert started.start() == tmp_path / "runs" / "start"
    arm = module.arms()["base"]
    module.append_line(tmp_path / "r.jsonl", json.dumps(record(arm, 1, 850, [500], [0.5])))
    with pytest.raises(SystemExit, match="began with a bundle t of weights abc, but"):
        ablation(module, tmp_path).command(module.arms()["teacher"], 1)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two videos of eight frames with a square that moves."""
    rng = np.random.default_rng(0)
    for name, size in (("a", 20), ("b", 30)):
        folder = tmp_path / "videos" / name
        (folder / "img").mkdir(parents=True)
        ground = cv2.resize(rng.integers(0, 99, (6, 8, 3), dtype=np.uint8), (160, 120))
        lines = []
        for frame in range(8):
            picture = ground.copy()
            x, y = 40 + 5 * frame, 40 + 2 * frame
            picture[y : y + size, x : x + size] = (20, 220, 240)
            cv2.imwrite(str(folder / "img" / f"{frame + 1:06d}.jpg"), picture)
            lines.append(f"{x},{y},{size},{size}")
        (folder / "groundtruth.txt").write_text("\n".join(lines) + "\n")
    return tmp_path / "videos"


def test_the_pairs_are_the_same_each_time_and_show_what_their_boxes_say(
    script: Script, tmp_path: Path, videos: Path
) -> None:
    judge = script("reduction_judge")
    pairs = judge.make_pairs(videos, 12)
    again = judge.fixed_pairs(videos, 12, tmp_path / "pairs.npz")
    stored = judge.fixed_pairs(tmp_path / "gone", 12, tmp_path / "pairs.npz")
    for name in ("template", "online", "search", "box"):
        np.testing.assert_array_equal(pairs[name], again[name])
        np.testing.assert_array_equal(pairs[name], stored[name])
    assert judge.identity(pairs) == judge.identity(stored)
    assert judge.identity(pairs) != judge.identity(judge.make_pairs(videos, 11))
    assert len({tuple(box) for box in pairs["box"].tolist()}) == 12
    assert set(pairs["video"].tolist()) == {"a", "b"}
    for search, box in zip(pairs["search"], pairs["box"], strict=True):
        red = search[..., 2] > 150
        ys, xs = np.nonzero(red)
        seen = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) / 128
        # JPEG and resampling move an edge by about a pixel of 128.
        np.testing.assert_allclose(seen, box, atol=0.02)


class Fixed(torch.nn.Module):
    """Answers the same boxes and distributions whatever it sees."""

    def __init__(self, boxes: list[list[float]], logits: torch.Tensor | None) -> None:
        super().__init__()
        self.boxes, self.logits = torch.tensor(boxes), logits

    def forward(self, template: Any, online: Any, search: Any) -> Predictions:
        return Predictions(self.logits, self.boxes, None)


def test_the_judge_on_a_case_by_hand(script: Script) -> None:
    judge = script("reduction_judge")
    pairs = {
        "template": np.zeros((2, 8, 8, 3), np.uint8), "online": np.zeros((2, 8, 8, 3), np.uint8),
        "search": np.zeros((2, 8, 8, 3), np.uint8),
        "box": np.array([[0.0, 0.0, 0.5, 0.5], [0.2, 0.2, 0.6, 0.6]], np.float32),
    }  # fmt: skip
    boxes = [[0.25, 0.0, 0.75, 0.5], [0.2, 0.2, 0.6, 0.6]]  # a third, and all
    even = torch.zeros(2, 4, 2)
    sure = torch.zeros(2, 4, 2)
    sure[..., 0] = 1.0  # the teacher is certain: KL to an even student is log 2 a side
    judged = judge.judge_pairs(Fixed(boxes, even), pairs, sure)
    np.testing.assert_allclose(judged.iou, [1 / 3, 1.0], atol=1e-6)
    assert judged.kl == pytest.approx(4 * np.log(2), abs=1e-6)
    assert judge.judge_pairs(Fixed(boxes, None), pairs, sure).kl is None


def test_without_a_score_the_newest_crop_becomes_the_template(script: Script) -> None:
    from mixformerv2.tracking.policy import TemplatePolicy, Templates

    judge = script("reduction_judge")

    class Engine:
        def step(self, search: Any, memory: Any) -> Any:
            from mixformerv2.runtime.base import StepOutput

            falling = np.zeros(1, np.float32)
            return StepOutput(np.zeros((1, 4), np.float32), falling, np.zeros((1, 4, 2)))

    engine, policy = judge.Unscored(Engine()), TemplatePolicy(interval=5)
    templates = Templates.of(np.zeros((4, 4, 3), np.uint8))
    for frame in range(1, 11):
        score = float(engine.step(None, None).scores[0])
        crop = np.full((4, 4, 3), frame, np.uint8)
        templates = policy.advance(templates, frame, score, lambda crop=crop: crop)
        assert templates.pair[1].max() == frame // 5 * 5


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
