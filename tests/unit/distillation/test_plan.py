"""Plans: what they refuse, what the presets make of them, and one carried out."""

from __future__ import annotations

import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from mixformerv2.cli.main import main
from mixformerv2.distillation import checks, runner
from mixformerv2.distillation.checks import check_plan
from mixformerv2.distillation.config import matched_layers
from mixformerv2.distillation.plan import Plan, read_plan
from mixformerv2.distillation.records import status
from mixformerv2.distillation.runner import rows, run_plan
from mixformerv2.errors import ConfigError
from mixformerv2.models import load as load_network
from mixformerv2.models import model_config

from .conftest import write_plan

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own advice on import

DENSE = ("dense", "dense_ciou", "dense_to_sparse", "inside")
PLANS = Path(__file__).parents[3] / "configs" / "plans"


@pytest.fixture
def path(tmp_path: Path, tiny_plan: dict[str, object]) -> Path:
    """Teacher, student, pruned student, score."""
    return write_plan(tmp_path / "plan.yaml", **tiny_plan)


def test_a_plan_runs_stops_goes_on_and_reports(
    path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    plan = read_plan(path, out=out)
    assert [row.status for row in rows(plan)] == ["to do"] * 4
    assert check_plan(plan) == []
    assert run_plan(plan, minutes=0.0) is None
    with pytest.raises(ConfigError, match="minutes must be a number from 0 on, got -1"):
        run_plan(plan, minutes=-1)
    long = read_plan(path, ["optim.steps=4"], out=out)
    with monkeypatch.context() as still:  # however slow the machine, time is left to begin
        still.setattr(runner, "time", SimpleNamespace(monotonic=lambda: 0.0))
        assert run_plan(long, minutes=1e-6) is None  # one step of the first stage
    assert status(long.stages[0]) == "step 1 of 4"
    half = (out / "report.html").read_text()
    assert "Not done yet: teacher (step 1 of 4), sparse (to do)" in half
    assert "step 1 of 4, 4 samples" in half
    told: list[str] = []
    report = run_plan(read_plan(path, out=out), say=told.append)
    assert told == [
        "teacher: goes on at step 1 of 3",
        "sparse: begins",
        "shallow: begins",
        "score: begins",
    ]
    assert report is not None
    assert load_network(out / "score" / "bundle").config.depth == 2
    text = report.read_text()
    for word in ("A plan for a test.", "teacher", "depth pruning", "data:image/png;base64", "CPU"):
        assert word in text
    cells = re.findall(r"<tr><td>shallow</td>(.*?)</tr>", text)[0]
    assert "<td>2</td>" in cells
    before = {one.name: (one.folder / "checkpoint.pt").stat().st_mtime_ns for one in plan.stages}
    told.clear()
    assert run_plan(plan, say=told.append) == report
    assert "Not done yet" not in text
    assert f"--model {out / 'score' / 'bundle'}" in text
    assert all(line.endswith("done, skipped") for line in told)
    for one in plan.stages:
        assert (one.folder / "checkpoint.pt").stat().st_mtime_ns == before[one.name]
    # the command says the same
    assert main(["distill", str(path), "--out", str(out), "--dry-run"]) == 0
    assert capsys.readouterr().out.count("done") == 4


def test_a_student_that_does_not_fit_is_said_before_the_first_stage(
    path: Path, tmp_path: Path
) -> None:
    plan = read_plan(path, ["shallow.model.depth=3", "shallow.prune.layers=[1]"], out=tmp_path)
    with pytest.raises(ConfigError, match=r"stage shallow: .*needs model.depth=4, got 3"):
        check_plan(plan)
    with pytest.raises(ConfigError, match="stage shallow"):
        run_plan(plan)
    assert not (tmp_path / "teacher").exists()


def test_a_teacher_of_another_width_is_no_start(path: Path, tmp_path: Path) -> None:
    plan = read_plan(path, ["teacher.model.width=128"], out=tmp_path)
    with pytest.raises(ConfigError, match=r"stage sparse: .*width 64 cannot start.*width 128"):
        check_plan(plan)
    change = ["teacher.model.width=128", "sparse.distill.start=random"]
    assert check_plan(read_plan(path, change, out=tmp_path)) == []


def test_what_is_not_there_yet_is_named(path: Path, tmp_path: Path) -> None:
    plan = read_plan(path, ["sparse.distill.teacher=weights/none"], out=tmp_path)
    assert ["weights/none is neither a run nor a bundle" in one for one in check_plan(plan)] == [
        True
    ]
    with pytest.raises(ConfigError, match="weights/none"):
        run_plan(plan)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "must have a list `stages`"),
        ({"stages": []}, "must have a list `stages`"),
        ({"stages": [3]}, "is a table with a name, got 3"),
        ({"stages": [{"name": "a/b"}]}, "the name of a folder"),
        ({"stages": [{"name": "a"}, {"name": "a"}]}, "two stages called a"),
        ({"stages": [{"name": "a", "init": "@b"}]}, r"stage a: init names @b.*none"),
        ({"stages": [{"name": "a", "optin": {}}]}, "stage a: unknown setting 'optin'"),
        ({"stages": [{"name": "a", "stage": "third"}]}, "stage a: stage must be one of"),
        ({"stages": [{"name": "a"}], "preset": "other"}, "preset must be one of"),
        (
            {"stages": [{"name": "a"}], "colour": 1},
            "unknown key 'colour'; a plan has name.* and stages",
        ),
        ({"stages": [{"name": "a"}], "preset": "none"}, "says epochs or optim.steps"),
        ({"stages": [{"name": "a", "epochs": "ten"}]}, "epochs must be a number above 0.*'ten'"),
        ({"stages": [{"name": "a", "epochs": 0}]}, "epochs must be a number above 0.*got 0"),
        ({"stages": [{"name": "a", "epochs": True}]}, "epochs must be a number.*got True"),
        ({"stages": [{"name": "a", "epochs": math.nan}]}, "epochs must be a number.*got nan"),
        (
            {"stages": [{"name": "a", "epochs": 1, "optim": {"steps": 5}}]},
            "either epochs or optim.steps",
        ),
        ({"stages": [{"name": "a", "model": None}]}, "model must be a table of settings, got None"),
        ({"stages": [{"name": "a", "prune": 3}]}, "prune must be a table of settings, got 3"),
        ({"stages": [{"name": "a"}], "common": {"optim": 3}}, "optim must be a table.*got 3"),
    ],
)
def test_a_wrong_plan_is_one_sentence(
    tmp_path: Path, values: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        read_plan(write_plan(tmp_path / "plan.yaml", **values))


@pytest.mark.parametrize("preset", ["paper", "published"])
@pytest.mark.parametrize("path", sorted(PLANS.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_plans_are_valid_and_say_how_to_run_them(
    path: Path, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = read_plan(path, preset=preset)
    assert f"configs/plans/{path.name}" in plan.about
    missing = check_plan(plan)  # a teacher and a student that do not fit would raise
    # No bank where all samples are of labelled sets: nobody but us has ours.
    own = r"bank|eval\.root" if path.stem in ("small", "t") else "nothing else"
    to_bring = rf"weights/mixvit_|(data\.sets\[\d\]\.\w+|{own}) \S+ is not there"
    assert all(re.search(to_bring, sentence) for sentence in missing)
    # With the teachers that are to be brought along every stage fits.
    shipped = {"t": checks._network_of("t")}
    monkeypatch.setattr(
        checks,
        "_network_of",
        lambda source: shipped.get(source) or model_config(Path(source).name),
    )
    monkeypatch.setattr("mixformerv2.training.transfer.is_backbone", lambda source: False)
    assert not [one for one in check_plan(plan) if "is not there" not in one]


def test_all_that_is_missing_is_named_with_its_setting(path: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    change = [f"teacher.bank={gone}", f"score.eval.root={gone}", "sparse.distill.teacher=nothing"]
    said = check_plan(read_plan(path, change, out=tmp_path))
    assert said[0].startswith("stage sparse: nothing is neither a run nor a bundle")
    assert said[1:] == [
        f"bank {gone} is not there (stage teacher)",
        f"eval.root {gone} is not there (stage score)",
    ]


def test_a_misspelt_stage_is_said_with_the_stages(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"shalow is neither .* teacher, sparse, shallow, score"):
        read_plan(path, ["shalow.optim.lr=1e-4"])
    with pytest.raises(ConfigError, match=r"joint_batch is the samples of a step.*'many'"):
        read_plan(path, ["joint_batch=many"])
    assert read_plan(path, ["joint_batch=32"]).stages[0].samples_of_a_step == 32
    with pytest.raises(ConfigError, match=r"stage shallow: .*cannot be dropped from 4 layers"):
        list(rows(read_plan(path, ["shallow.prune.layers=[0,9]"])))


def _plan(name: str, preset: str) -> Plan:
    return read_plan(PLANS / f"{name}.yaml", preset=preset)


def test_the_paper_recipe_of_b() -> None:
    """Section 4.1 in numbers."""
    plan = _plan("b", "paper")
    assert [one.name for one in plan.stages] == ["sparse", "shallow", "score"]
    first = plan.stages[0].config
    assert (first.loss.l1, first.loss.ciou, first.loss.logits, first.loss.features) == (
        5,
        2,
        1,
        0.2,
    )
    assert (first.optim.lr, first.optim.weight_decay, first.optim.schedule) == (1e-4, 1e-4, "step")
    assert first.optim.batch * first.optim.accumulate == 256
    assert first.optim.steps == round(500 * 60_000 / 256)
    assert first.distill.sides == "sum"
    assert not first.loss.has_dense
    assert (first.optim.ema, first.data.grey, first.data.augment.light) == (0, 0.05, 1)
    assert first.data.augment.noise == first.data.augment.look_alikes == 0
    assert (first.tracker_settings({}).update_interval, first.tracker_settings({}).min_size) == (
        200,
        10,
    )
    shallow = plan.stages[1]
    assert shallow.config.prune.fade * 500 == pytest.approx(40)
    assert shallow.outcome.depth == 8
    assert plan.stages[2].config.optim.steps == round(50 * 60_000 / 256)
    assert (first.data.absent, first.data.sampling.mode) == (0.0, "causal")
    score = plan.stages[2].config
    assert (score.data.absent, score.data.sampling.mode, score.loss.score) == (0.5, "trident", 1.0)
    assert [one.name for one in score.data.sets] == ["lasot", "got10k", "coco", "trackingnet"]


def test_the_published_recipe_of_b() -> None:
    plan = _plan("b", "published")
    assert [one.name for one in plan.stages] == ["sparse", "shallow_fade", "shallow", "score"]
    fade, rest = plan.stage("shallow_fade"), plan.stage("shallow")
    assert fade.config.optim.steps == round(45 * 60_000 / 256)
    assert fade.config.prune.fade * 45 == pytest.approx(40)
    assert rest.config.optim.steps == round(500 * 60_000 / 256)
    assert rest.config.init == str(fade.folder)
    assert rest.config.distill.teacher == str(plan.stage("sparse").folder)
    assert rest.config.distill.pairs == ((1, 2), (3, 5), (5, 8), (7, 11))
    optim = rest.config.optim
    assert (optim.lr, optim.backbone, optim.clip) == (4e-4, 0.1, 0.1)
    assert (rest.config.loss.logits, rest.config.distill.sides) == (5.0, "mean")


def test_the_paper_recipe_of_s() -> None:
    """12 to 8, 8 to 4 under the eight, then MLPs of the width itself."""
    plan = _plan("s", "paper")
    assert [one.outcome.depth for one in plan.stages] == [12, 8, 4, 4, 4]
    assert [one.outcome.mlp_ratio for one in plan.stages] == [4, 4, 4, 1, 1]
    four = plan.stage("four").config
    assert four.distill.teacher == str(plan.stage("eight").folder)
    assert matched_layers(8, (0, 2, 4, 6)) == (1, 3, 5, 7)


def test_the_two_runs_of_published_pruning_follow_the_command_line() -> None:
    """What is said of the stage counts for both runs, and pairs follow the layers."""
    plan = read_plan(
        PLANS / "b.yaml",
        ["shallow.prune.layers=[1,4,7,10]", "shallow.optim.lr=1e-3", "shallow_fade.optim.lr=2e-3"],
        preset="published",
    )
    fade, rest = plan.stage("shallow_fade").config, plan.stage("shallow").config
    assert fade.prune.layers == (1, 4, 7, 10)
    assert rest.distill.pairs == ((0, 0), (2, 3), (4, 6), (6, 9), (7, 11))
    assert rest.network.depth == 8
    assert (fade.optim.lr, rest.optim.lr) == (2e-3, 1e-3)


def test_pairs_of_ones_own_are_numbered_anew_after_the_drop() -> None:
    def read(pairs: str) -> Plan:
        return read_plan(PLANS / "b.yaml", [f"shallow.distill.pairs={pairs}"], preset="published")

    plan = read("[[1,1],[11,10]]")
    assert plan.stage("shallow_fade").config.distill.pairs == ((1, 1), (11, 10))
    assert plan.stage("shallow").config.distill.pairs == ((0, 1), (7, 10))
    with pytest.raises(ConfigError, match=r"stage shallow: .*matches layer 3 of the student"):
        read("[[3,3]]")


def test_pruning_that_does_not_fade_is_one_run_in_every_preset() -> None:
    change = ["shallow.prune.method=skip", "shallow.model.depth=8"]
    plan = read_plan(PLANS / "b.yaml", change, preset="published")
    assert [one.name for one in plan.stages] == ["sparse", "shallow", "score"]
    with pytest.raises(ConfigError, match="there is no stage shallow_fade"):
        read_plan(PLANS / "b.yaml", [*change, "shallow_fade.optim.lr=1"], preset="published")


def test_a_step_keeps_its_samples_on_any_number_of_devices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def joint(world: int) -> tuple[int, int]:
        monkeypatch.setenv("WORLD_SIZE", str(world))
        optim = _plan("b", "paper").stages[0].config.optim
        # as many samples in all, whatever a step has
        together = optim.batch * optim.accumulate * world
        assert optim.steps * together == pytest.approx(500 * 60_000, rel=1e-3)
        return together, optim.accumulate

    assert [joint(world) for world in (1, 2, 8)] == [(256, 8), (256, 4), (256, 1)]
    for world in (3, 5, 6, 7, 300):  # which do not divide 256
        assert joint(world)[0] == pytest.approx(256, rel=0.2)


def test_epochs_are_those_of_all_devices_together(
    tmp_path: Path, tiny_plan: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a preset there is no joint batch: more devices take fewer steps."""
    optim = {"batch": 4, "warmup": 0}
    plan = {"common": {**tiny_plan["common"], "optim": optim}}  # type: ignore[dict-item]
    stage = {"name": "a", "epochs": 0.1, "model": tiny_plan["stages"][1]["model"]}  # type: ignore[index]
    path = write_plan(tmp_path / "plan.yaml", **plan, stages=[stage])

    def steps(world: int) -> int:
        monkeypatch.setenv("WORLD_SIZE", str(world))
        return read_plan(path).stages[0].config.optim.steps

    assert (steps(1), steps(3)) == (1500, 500)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["score.model.depth=1"], "stage score: init has depth 2, the model here 1"),
        (["score.model.mlp_ratio=2"], "stage score: init has hidden 256, the model here 128"),
        (["score.model.score_head=false"], "stage score: .*needs a network with a score head"),
        (["shallow.model.mlp_ratio=1"], "stage shallow: .*hidden is 256 in the teacher and 64"),
        (["shallow.model.box_head=four_tokens_own"], "stage shallow: .*box_head is four_tokens_sh"),
        (
            ["shallow.distill.head=dense", *(f"sparse.loss.{name}=0" for name in DENSE)],
            "stage shallow: .*will have no dense head",
        ),
        (["teacher.stage=mae"], "stage sparse: .*masked pictures and answers no boxes"),
        (["sparse.model.bins=30"], "stage sparse: a dense head needs bins.*of the 4 .*got 30"),
        (["score.init=null"], "stage score: .*without init they are random"),
        (["teacher.stage=mae", "teacher.mae.share=0.99"], "stage teacher: of 16 tokens some must"),
        (["score.data.absent=0"], "stage score: .*data.absent is 0; set it to 0.5"),
        (["score.loss.score=0"], "stage score: .*loss.score is 0; set it above 0"),
        (
            ["sparse.model.box_head=one_token_direct", "sparse.loss.logits=0"],
            "stage shallow: .*regresses the box directly and answers no distributions",
        ),
        (
            [
                "teacher.stage=mae",
                "sparse.stage=box",
                "sparse.init='@teacher'",
                "sparse.model.depth=2",
                "sparse.init_layers=0,9",
            ],
            "stage sparse: 2 different layers of 0 to 3 are wanted, got 0,9",
        ),
        (
            [
                "sparse.stage=box",
                "sparse.init=@teacher",
                "sparse.model.depth=2",
                "sparse.init_layers=0,9",
            ],
            "stage sparse: 2 different layers of 0 to 3 are wanted, got 0,9",
        ),
    ],
)
def test_what_must_fail_hours_later_is_said_at_once(
    path: Path, tmp_path: Path, change: list[str], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_plan(read_plan(path, change, out=tmp_path / "out"))
