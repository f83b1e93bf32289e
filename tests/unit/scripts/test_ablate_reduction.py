"""The list of ablations, its judge and its tables."""

from __future__ import annotations

import json
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


def test_figures_of_other_pairs_or_frames_are_not_mixed(
    script: Script, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = script("ablate_reduction")
    for option in ("--pairs", "--frames"):
        with pytest.raises(SystemExit):
            module.parse([option, "50"])
        assert "give others another file, as --results" in " ".join(capsys.readouterr().err.split())
        assert module.parse([option, "50", "--results", str(tmp_path / "r.jsonl")])


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
