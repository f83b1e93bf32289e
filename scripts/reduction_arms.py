"""The list of `ablate_reduction`: what each run changes.

An arm's settings are those of `configs/ablation.yaml` with its own laid over; `@NAME` in them is
the folder of another arm's run, `@start` the bundle that the teachers begin with. One run may
stand in several tables of `reduction_tables`.
"""

from __future__ import annotations

from dataclasses import dataclass

START = "t"
"""The shipped bundle that all teachers begin with."""

NO_DENSE = ("loss.dense=0", "loss.dense_ciou=0", "loss.dense_to_sparse=0", "loss.inside=0")
"""Without fact 10's dense head: eq. 10 alone."""


@dataclass(frozen=True)
class Arm:
    """One run.

    Attributes:
        name: Of its folder and of its lines in the file of results.
        settings: What it changes.
        teacher: The arm whose sides it is compared with, whether it was taught or not; None where
            nothing is trained, or what comes out has no box.
        shared: One run for all seeds: a teacher.
        steps: Times the steps of a student.
        policy: Where nothing is trained: how the tracker takes its online template.
        tracks: Of a policy: the arm whose network tracks, or the shipped bundle.
    """

    name: str
    settings: tuple[str, ...] = ()
    teacher: str | None = None
    shared: bool = False
    steps: float = 1.0
    policy: str | None = None
    tracks: str = "start"

    @property
    def judged(self) -> bool:
        """Whether it has figures of its own; else it is run where another one needs it."""
        return self.teacher is not None or self.policy is not None

    @property
    def needs(self) -> tuple[str, ...]:
        """Arms whose runs it takes something of, the teacher that judges it included."""
        named = [one.partition("@")[2].partition("/")[0] for one in self.settings if "@" in one]
        others = [one for one in (*named, self.teacher, self.tracks) if one and one != self.name]
        return tuple(dict.fromkeys(name for name in others if name != "start"))


def _backbone(name: str, dense: bool, *settings: str) -> Arm:
    """A network of six layers whose backbone is the dense teacher's, all heads and tokens new."""
    off = () if dense else NO_DENSE
    return Arm(name, ("init=@teacher/backbone.pt", *settings, *off), "teacher")


def _pruned(name: str, method: str, *settings: str, dense: bool = False, depth: int = 4) -> Arm:
    """A shallow student of the token teacher."""
    off = () if dense else NO_DENSE
    base = ("stage=depth_pruning", f"prune.method={method}")
    if not any(one.startswith("distill.teacher") for one in settings):
        base += ("distill.teacher=@tokens",)
    if method != "fade":
        base += (f"model.depth={depth}",)
    return Arm(name, (*base, *settings, *off), "tokens")


def _corners(name: str, method: str, *settings: str) -> Arm:
    """A shallow MixViT under the MixViT teacher, corner maps under corner maps: as in the paper."""
    depth = () if method == "fade" else ("model.depth=4",)
    base = ("stage=depth_pruning", "model.name=mixvit_t", "distill.maps=corners")
    taught = ("distill.teacher=@teacher", f"prune.method={method}")
    return Arm(name, (*base, *taught, *depth, *settings, *NO_DENSE), "teacher")


FROM_T = ("init=@start", "model.score_head=true", "loss.sides=0.5", "optim.lr=2e-4")
SPARSE = ("stage=dense_to_sparse", "distill.teacher=@teacher")
NOTHING = ("loss.logits=0", "loss.features=0")
LOGITS = ("loss.logits=1", "loss.features=0")
BOTH = ("loss.logits=1", "loss.features=0.2")
TWO = "prune.layers=[0,1,3,4]"

ARMS = (
    Arm(
        "teacher",
        ("model.name=mixvit_t", "init=@start", "loss.sides=0.5"),
        "teacher",
        shared=True,
        steps=4.0,
    ),
    _backbone("base", False),
    _backbone("sparse", False, *SPARSE),
    _backbone("base_dense", True),
    _backbone("sparse_dense", True, *SPARSE),
    Arm(
        "tokens",
        FROM_T,
        "tokens",
        shared=True,
        steps=2.0,
    ),
    _pruned("first_none", "first", *NOTHING),
    _pruned("first_logits", "first", *LOGITS),
    _pruned("first", "first", *BOTH),
    _pruned("first_none_dense", "first", *NOTHING, dense=True),
    _pruned("first_logits_dense", "first", *LOGITS, dense=True),
    _pruned("first_dense", "first", *BOTH, dense=True),
    _corners("corners_none", "first", *NOTHING),
    _corners("corners_logits", "first", *LOGITS),
    _corners("corners_first", "first", *BOTH),
    _corners("corners_skip", "skip", *BOTH),
    _corners("corners_fade", "fade", *BOTH),
    _pruned("skip", "skip", *BOTH),
    _pruned("fade", "fade", *BOTH),
    _backbone("t1", False, "model.box_head=one_token_direct"),
    _backbone("corner", False, "model.name=mixvit_t"),
    Arm("template_first", policy="first"),
    Arm("template_newest", policy="newest"),
    Arm("template_score", policy="score"),
    _pruned("two_direct", "fade", *BOTH, TWO),
    _pruned("two_by_four", "fade", *BOTH, "distill.teacher=@fade", "model.depth=4"),
    _backbone("one_token_four", False, "model.box_head=one_token_four"),
    _backbone("four_tokens_own", False, "model.box_head=four_tokens_own"),
    _pruned("fade_6", "fade", *BOTH, "prune.fade=0.06"),
    _pruned("fade_10", "fade", *BOTH, "prune.fade=0.1"),
    _pruned("fade_30", "fade", *BOTH, "prune.fade=0.3"),
    Arm("mae", ("stage=mae", "optim.batch=64", "optim.lr=1e-3"), shared=True, steps=2.0),
    _pruned("mae_first", "first", *BOTH, "init=@mae"),
    Arm("scratch", NO_DENSE, "teacher"),
    Arm("scratch_sparse", (*SPARSE, "distill.start=random", *NO_DENSE), "teacher"),
    Arm("scratch_dense", (), "teacher"),
    Arm(
        "score_module",
        (
            "stage=score",
            "model.name=mixvit_t",
            "model.score_head=true",
            "init=@teacher",
            "loss.score=1",
            "data.absent=0.5",
            "optim.lr=1e-3",
        ),
        shared=True,
    ),
    Arm("mixvit_first", policy="first", tracks="score_module"),
    Arm("mixvit_newest", policy="newest", tracks="score_module"),
    Arm("mixvit_score", policy="score", tracks="score_module"),
    Arm("t_direct", FROM_T, "teacher"),
    Arm("t_sparse", (*FROM_T, *SPARSE), "teacher"),
)
"""In the order in which they run: the teachers when they are first needed, then by worth."""


def arms() -> dict[str, Arm]:
    """All arms by name."""
    return {arm.name: arm for arm in ARMS}
