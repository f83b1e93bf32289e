"""What a plan says of runs that are there: done, stale, begun with something else, moved."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mixformerv2.cli.main import main
from mixformerv2.distillation.given import auc_of, measure_given
from mixformerv2.distillation.plan import Plan, read_plan
from mixformerv2.distillation.records import check_records, last_evaluation, status
from mixformerv2.distillation.report import write_report
from mixformerv2.distillation.runner import run_plan
from mixformerv2.errors import ConfigError, DataError, WeightsError
from mixformerv2.training.checkpoint import load_checkpoint
from mixformerv2.training.config import TrainConfig
from mixformerv2.training.loop import train
from mixformerv2.weights.bundle import find_bundle, read_config

from .conftest import write_plan

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own advice on import

Read = Callable[..., Plan]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_plan: dict[str, Any]) -> Path:
    """A folder with the plan and its runs, all done."""
    root = tmp_path_factory.mktemp("finished")
    path = write_plan(root / "plan.yaml", **tiny_plan)
    assert run_plan(read_plan(path, out=root / "out")) is not None
    return root


@pytest.fixture
def read(finished: Path, tmp_path: Path) -> Read:
    """The plan, its runs in another place than where they were made."""
    out = tmp_path / "moved"
    shutil.copytree(finished / "out", out)

    def make(*overrides: str) -> Plan:
        return read_plan(finished / "plan.yaml", overrides, out=out)

    return make


def states(plan: Plan) -> list[str]:
    return [status(stage) for stage in plan.stages]


def test_a_folder_that_was_moved_is_still_done(read: Read) -> None:
    told: list[str] = []
    assert states(read()) == ["done"] * 4
    assert run_plan(read(), say=told.append) is not None
    assert [line.split(": ")[1] for line in told] == ["done, skipped"] * 4


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("shallow.prune.fade=0.9", "stage shallow was begun with prune.fade 0.5, now 0.9; remove"),
        ("shallow.prune.form=block", "prune.form 'branches', now 'block'"),
        ("sparse.loss.logits=0", "stage sparse was begun with loss.logits 1.0, now 0.0"),
        ("teacher.optim.lr=1e-6", "stage teacher was begun with optim.lr"),
        ("shallow.distill.pairs=[[1,1]]", "stage shallow was begun with distill.pairs"),
        ("seed=9", "stage teacher was begun with seed 1, now 9"),
        ("teacher.model.head_channels=32", "teacher was begun with model.head_channels 16, now 32"),
        ("score.optim.batch=8", "stage score was begun with samples of a step 4, now 8"),
    ],
)
def test_another_setting_of_a_stage_that_is_done_is_refused(
    read: Read, change: str, sentence: str
) -> None:
    plan = read(change)
    with pytest.raises(ConfigError, match=sentence):
        run_plan(plan)


def test_the_dry_run_refuses_it_too(
    finished: Path, read: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(read().out)
    plan = str(finished / "plan.yaml")
    assert main(["distill", plan, "seed=9", "--out", out, "--dry-run"]) != 0
    assert "was begun with seed 1, now 9" in capsys.readouterr().err


def test_what_does_not_decide_the_numbers_may_change(read: Read) -> None:
    plan = read("threads=2", "workers=1", "log_every=7", "bank=elsewhere", "eval.limit=3")
    check_records(plan)


def test_what_is_to_do_beside_the_training_keeps_later_stages(read: Read, tmp_path: Path) -> None:
    """Sequences named after the last step, an evaluation that failed, a bundle that is gone."""
    videos = write_sequence(tmp_path / "videos").parent
    plan = read(f"eval.root={videos}", "eval.max_frames=3")
    shutil.rmtree(plan.stage("sparse").folder / "bundle")
    todo = "evaluation to do"
    assert states(plan) == [todo, "bundle to do", todo, todo]
    before = [load_checkpoint(one.folder) for one in plan.stages]
    assert run_plan(plan) is not None
    assert states(plan) == ["done"] * 4
    for one, old in zip(plan.stages, before, strict=True):
        new = load_checkpoint(one.folder)
        assert new is not None
        assert old is not None
        assert (new["run"], new["step"]) == (old["run"], old["step"])


def test_a_stage_trained_anew_does_not_leave_later_ones_as_they_were(read: Read) -> None:
    plan = read()
    shutil.rmtree(plan.stage("sparse").folder)
    with pytest.raises(ConfigError, match=r"shallow was begun when sparse was done.*remove .*too"):
        run_plan(plan)
    # Trained anew by itself it is another teacher.
    sparse = plan.stage("sparse")
    train(sparse.config, sparse.folder)
    with pytest.raises(ConfigError, match="shallow was begun with other weights as teacher"):
        run_plan(plan)
    for name in ("shallow", "score"):
        shutil.rmtree(plan.stage(name).folder)
    told: list[str] = []
    assert run_plan(plan, say=told.append) is not None
    assert told == [
        "teacher: done, skipped", "sparse: done, skipped", "shallow: begins", "score: begins",
    ]  # fmt: skip


def test_more_steps_for_a_stage_ask_for_the_later_ones_anew(read: Read) -> None:
    with pytest.raises(ConfigError, match="stage score was begun when shallow was done"):
        run_plan(read("shallow.optim.steps=9"))


def test_faded_layers_do_not_come_back_with_more_steps(read: Read) -> None:
    plan = read("shallow.optim.steps=9")
    shutil.rmtree(plan.stage("score").folder)
    with pytest.raises(Exception, match="another fading_steps"):
        run_plan(plan)


def test_what_a_stage_was_begun_with_is_known_before_its_first_step(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle: it does not go on under another teacher."""
    plan = read()
    for name in ("shallow", "score"):
        shutil.rmtree(plan.stage(name).folder)

    def stop(config: TrainConfig, folder: Path, **kwargs: object) -> None:
        train(config, folder, minutes=0)
        raise KeyboardInterrupt

    with monkeypatch.context() as still:
        still.setattr("mixformerv2.distillation.runner.train", stop)
        with pytest.raises(KeyboardInterrupt):
            run_plan(plan)
    begun = json.loads((plan.stage("shallow").folder / "stage.json").read_text())
    assert begun["settings"]["prune.fade"] == 0.5
    with pytest.raises(ConfigError, match="other weights as teacher"):
        run_plan(read(f"shallow.distill.teacher={plan.stage('score').folder}", *_deeper(plan)))


def test_a_stage_that_failed_before_its_first_checkpoint_takes_other_settings(read: Read) -> None:
    """What its sentence asks to change may be changed: nothing is there to mix it with."""
    plan = read(*(f"score.data.{name}=0" for name in ("composites", "stills", "pairs")))
    shutil.rmtree(plan.stage("score").folder)
    with pytest.raises(DataError, match="there is nothing to make samples of"):
        run_plan(plan)
    assert run_plan(read()) is not None
    begun = json.loads((plan.stage("score").folder / "stage.json").read_text())
    assert begun["settings"]["data.composites"] > 0


def _deeper(plan: Plan) -> list[str]:
    """A second run of the student, elsewhere, as another teacher of the same shape."""
    other = plan.out / "other"
    train(plan.stage("sparse").config, other)
    shutil.move(other, plan.stage("score").folder)
    return []


def test_a_run_alone_does_not_go_on_under_another_teacher(read: Read, tmp_path: Path) -> None:
    plan = read()
    student = plan.stage("shallow")
    other = tmp_path / "other"
    train(plan.stage("sparse").config, other)
    moved = read(f"shallow.distill.teacher={other}").stage("shallow")
    with pytest.raises(Exception, match="holds a run with another teacher"):
        train(moved.config, student.folder)


def test_done_needs_the_bundle(read: Read) -> None:
    plan = read()
    score = plan.stage("score")
    before = load_checkpoint(score.folder)
    shutil.rmtree(score.folder / "bundle")
    told: list[str] = []
    assert status(score) == "bundle to do"
    assert run_plan(plan, say=told.append) is not None
    assert told[-1] == "score: bundle to do"
    assert (score.folder / "bundle" / "config.json").exists()
    after = load_checkpoint(score.folder)
    assert before is not None
    assert after is not None
    assert (after["run"], after["step"]) == (before["run"], before["step"])


def test_another_tracker_asks_for_the_bundle_alone(read: Read) -> None:
    """How its template changes is no training."""
    plan = read("tracker.update_interval=25")
    assert states(plan) == ["bundle to do"] * 4
    told: list[str] = []
    assert run_plan(plan, say=told.append) is not None
    assert set(states(plan)) == {"done"}
    assert read_config(plan.stage("score").folder / "bundle").tracker.update_interval == 25
    assert states(read()) == ["bundle to do"] * 4


def test_a_given_teacher_without_a_bundle_is_no_error(read: Read, tmp_path: Path) -> None:
    """As a run that was stopped: it teaches by its checkpoint."""
    plan = read()
    given = tmp_path / "given"
    shutil.copytree(plan.stage("teacher").folder, given)
    shutil.rmtree(given / "bundle")
    old = plan.stage("sparse").config
    root = write_sequence(tmp_path / "videos").parent
    config = replace(
        old, distill=replace(old.distill, teacher=str(given)), eval=replace(old.eval, root=root)
    )
    plan = replace(plan, stages=(replace(plan.stage("sparse"), config=config, needs=()),))
    told: list[str] = []
    assert not measure_given(plan, told.append)
    assert told == [f"{given}: has no bundle, so that its AUC is not measured"]


def test_the_auc_of_a_stage_is_that_of_its_last_step(read: Read, tmp_path: Path) -> None:
    stage = read(f"score.eval.root={tmp_path}").stage("score")
    log = stage.folder / "log.jsonl"
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": 1, "samples": 4, "eval_auc": 0.9}) + "\n")
    assert last_evaluation(stage) is None
    assert status(stage) == "evaluation to do"
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": 3, "samples": 12, "eval_auc": 0.5}) + "\n")
    assert last_evaluation(stage) == 0.5
    assert status(stage) == "done"
    # Of other videos, or more of them, it is another figure.
    longer = read(f"score.eval.root={tmp_path}", "eval.max_frames=9").stage("score")
    with log.open("a", encoding="utf-8") as file:
        what = {"eval_auc": 0.7, "evaluated": longer.config.eval.what}
        file.write(json.dumps({"step": 3, "samples": 12, **what}) + "\n")
    assert (last_evaluation(stage), last_evaluation(longer)) == (0.5, 0.7)
    log.write_text("".join(log.read_text().splitlines(keepends=True)[-1:]))
    assert status(stage) == "evaluation to do"
    assert status(longer) == "done"
    log.unlink()
    assert last_evaluation(stage) is None


def test_an_older_or_damaged_record_is_no_record(read: Read) -> None:
    plan = read("seed=9")
    for stage, text in zip(plan.stages, ("{}", "[]", '{"sett', ""), strict=True):
        (stage.folder / "stage.json").write_text(text)
    check_records(plan)


def test_the_report_has_teachers_that_the_plan_did_not_make(read: Read, tmp_path: Path) -> None:
    plan = read()
    given = tmp_path / "given"
    shutil.move(plan.stage("teacher").folder, given)
    stages = plan.stage("sparse")
    config = replace(stages.config, distill=replace(stages.config.distill, teacher=str(given)))
    shutil.rmtree(plan.stage("score").folder)
    shorter = replace(plan, stages=(replace(stages, config=config, needs=()), *plan.stages[2:]))
    text = write_report(shorter).read_text()
    rows = re.findall(r"<tr><td>(.*?)</tr>", text)
    names = [row.split("</td>")[0] for row in rows]
    assert names == [str(given), "sparse", "shallow"]
    cells = [row.replace("<td>", "").split("</td>") for row in rows]
    assert cells[0][1] == "given"
    assert cells[0][-4:] == ["not measured", "", "", ""]
    assert cells[1][-4] == "not measured"
    assert "Not done yet: score (to do)" in text


def test_a_stage_may_be_called_as_its_teacher_is(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """t under t: both have a row, and each its own figures."""
    plan = read()
    monkeypatch.chdir(tmp_path)
    shutil.copytree(plan.stage("teacher").folder, tmp_path / "sparse")
    old = plan.stage("sparse").config
    root = write_sequence(tmp_path / "videos").parent
    config = replace(
        old,
        distill=replace(old.distill, teacher="sparse"),
        eval=replace(old.eval, root=root, max_frames=3),
    )
    plan = replace(plan, stages=(replace(plan.stage("sparse"), config=config, needs=()),))
    assert measure_given(plan, lambda text: None)
    rows = re.findall(r"<tr><td>(.*?)</tr>", write_report(plan).read_text())
    cells = [row.replace("<td>", "").split("</td>") for row in rows]
    assert [row[:2] for row in cells] == [["sparse", "given"], ["sparse", "dense to sparse"]]
    assert [row[-4] for row in cells] == [f"{auc_of(plan, 'sparse'):.3f}", "not measured"]


def test_teachers_that_the_plan_did_not_make_are_tracked_with_once(
    read: Read, tmp_path: Path
) -> None:
    plan = read()
    given = tmp_path / "given"
    shutil.copytree(plan.stage("teacher").folder, given)
    old = plan.stage("sparse").config
    config = replace(
        old,
        distill=replace(old.distill, teacher=str(given)),
        eval=replace(old.eval, root=write_sequence(tmp_path / "videos").parent, max_frames=3),
    )
    plan = replace(plan, stages=(replace(plan.stage("sparse"), config=config, needs=()),))
    told: list[str] = []
    assert measure_given(plan, told.append)
    auc = auc_of(plan, str(given))
    assert auc is not None
    assert told == [f"{given}: tracking {tmp_path / 'videos'}, for the first row of the table"]
    assert f"<td>{auc:.3f}</td>" in write_report(plan).read_text()
    assert not measure_given(plan, told.append)  # known
    assert len(told) == 1
    longer = replace(config, eval=replace(config.eval, max_frames=4))
    other = replace(plan, stages=(replace(plan.stages[0], config=longer),))
    assert auc_of(other, str(given)) is None  # of another evaluation


def write_sequence(folder: Path) -> Path:
    """Four frames of a square that moves."""
    (folder / "square" / "img").mkdir(parents=True)
    for frame in range(4):
        picture = np.full((90, 120, 3), 90, np.uint8)
        picture[30:50, 30 + 3 * frame : 50 + 3 * frame] = (20, 220, 240)
        cv2.imwrite(str(folder / "square" / "img" / f"{frame + 1:06d}.jpg"), picture)
    lines = "".join(f"{30 + 3 * frame},30,20,20\n" for frame in range(4))
    (folder / "square" / "groundtruth.txt").write_text(lines)
    return folder / "square"


def test_a_run_is_as_good_as_its_bundle(read: Read) -> None:
    """`track --model` and others take the folder of a run."""
    score = read().stage("score")
    assert find_bundle(score.folder) == score.folder / "bundle"
    shutil.rmtree(score.folder / "bundle")
    with pytest.raises(WeightsError, match="is no bundle"):
        find_bundle(score.folder)
