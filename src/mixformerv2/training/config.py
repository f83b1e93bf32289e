"""Everything that steers a training run, as frozen dataclasses (no PyTorch here)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from ..data.synthetic import SyntheticConfig
from ..distillation.config import DistillConfig, PruneConfig
from ..errors import ConfigError
from ..models.config import HEAD_WIDTH, ModelConfig
from ..models.registry import model_config
from ..settings import build, merge, parse_overrides, read_yaml
from ..tracking.settings import TrackerSettings

__all__ = [
    "EvalConfig",
    "LossConfig",
    "MaeConfig",
    "OptimConfig",
    "StageName",
    "TrainConfig",
    "check_sizes",
    "load_config",
    "show_config",
]

_OF_SAMPLES = ("template_size", "search_size", "template_factor", "search_factor")
"""Settings of a tracker that are those of its samples, `data`."""

StageName = Literal[
    "mae", "box", "score", "dense_to_sparse", "distill", "depth_pruning", "mlp_reduction"
]


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Weights of the loss terms; 0 leaves a term out of the sum.

    Attributes:
        l1: L1 of the box (eq. 10: 5).
        ciou: Complete IoU of the box (eq. 10: 2).
        sides: KL from soft labels to the tokens' side distributions.
        dense: The same for the dense head.
        dense_ciou: Complete IoU of the dense head's box.
        dense_to_sparse: KL from the dense head to the prediction tokens (eq. 5, weight 1).
        inside: How much of each search token is target, cross-entropy.
        score: Target present or not, cross-entropy.
        logits: KL from the teacher's side distributions (eq. 5 and 10: 1; published code: 5, with
            `distill.sides: mean`).
        features: Mean squared difference from the teacher's tokens (eq. 6 and 10: 0.2).
        label_sigma: Width of the soft labels, in bins.
    """

    l1: float = 5.0
    ciou: float = 2.0
    sides: float = 0.5
    dense: float = 0.5
    dense_ciou: float = 1.0
    dense_to_sparse: float = 1.0
    inside: float = 1.0
    score: float = 0.5
    logits: float = 1.0
    features: float = 0.2
    label_sigma: float = 1.0

    def __post_init__(self) -> None:
        for f in fields(self):
            if not 0 <= getattr(self, f.name) <= 1e3:
                raise ConfigError(f"loss.{f.name} must be 0 to 1000, got {getattr(self, f.name)}")
        if self.label_sigma == 0:
            raise ConfigError("loss.label_sigma must be above 0 bins")

    @property
    def has_dense(self) -> bool:
        """Whether a dense head helps the prediction tokens: one of its terms counts."""
        return any((self.dense, self.dense_ciou, self.dense_to_sparse, self.inside))


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """AdamW and its schedule.

    Attributes:
        batch: Samples of a step, on each device.
        steps: Steps of the whole run; the schedule ends there.
        lr: Peak learning rate.
        lr_end: Learning rate at the end, over `lr`; of the schedule "cosine" alone.
        warmup: Steps of linear rise at the start.
        schedule: "cosine" falls smoothly to the end; "step" falls to a tenth after 80 % of the
            steps, as in section 4.1; "constant" stays.
        weight_decay: For weights of two and more dimensions.
        clip: Largest norm of the gradient.
        ema: Decay of the moving average that is evaluated and saved.
        blend: Share of the trained weights in `bundle/`, the rest being those that the run began
            with: what it learnt for less of what it forgot (Wortsman et al., "Robust fine-tuning
            of zero-shot models", 2022). 1 for the trained ones alone.
        accumulate: Batches of a step: the gradient is that of the joint batch.
        layer_decay: Learning rate of a layer over that of the layer after it.
        backbone: Learning rate of the backbone over that of the heads (published: 0.1).
        compile: Compile the network with `torch.compile`.
        fused: One kernel for all of AdamW.
        channels_last: Keep pictures and convolutions in channels-last memory.
        explode: A loss of so many times its running mean stops the run.
    """

    batch: int = 16
    steps: int = 25_000
    lr: float = 5e-4
    lr_end: float = 0.02
    warmup: int = 500
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    weight_decay: float = 1e-4
    clip: float = 1.0
    ema: float = 0.999
    blend: float = 1.0
    accumulate: int = 1
    layer_decay: float = 1.0
    backbone: float = 1.0
    compile: bool = False
    fused: bool = True
    channels_last: bool = False
    explode: float = 100.0

    def __post_init__(self) -> None:
        for name in ("batch", "steps", "accumulate"):
            if getattr(self, name) < 1:
                raise ConfigError(f"optim.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("layer_decay", "backbone", "blend"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(
                    f"optim.{name} must be above 0 and at most 1, got {getattr(self, name)}"
                )
        if not self.explode > 1:
            raise ConfigError(f"optim.explode must be above 1, got {self.explode}")
        if not 0 <= self.weight_decay <= 100:
            raise ConfigError(f"optim.weight_decay must be 0 to 100, got {self.weight_decay}")
        if not 0 <= self.lr_end <= 1:
            raise ConfigError(f"optim.lr_end is a share of lr in 0..1, got {self.lr_end}")
        for name in ("lr", "clip"):
            if not 0 < getattr(self, name) <= 100:
                raise ConfigError(f"optim.{name} must be above 0, got {getattr(self, name)}")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"optim.ema must be from 0 to below 1, got {self.ema}")
        if not 0 <= self.warmup < self.steps:
            raise ConfigError(f"optim.warmup must be below steps {self.steps}, got {self.warmup}")


@dataclass(frozen=True, slots=True)
class MaeConfig:
    """Masked-autoencoder pre-training (stage "mae").

    Attributes:
        share: Share of a picture's tokens that is hidden.
        decoder_width: Width of the decoder, a multiple of 64.
        decoder_depth: Layers of the decoder.
    """

    share: float = 0.75
    decoder_width: int = 128
    decoder_depth: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ConfigError(f"mae.share must be above 0 and below 1, got {self.share}")
        if self.decoder_width < 1 or self.decoder_width % HEAD_WIDTH:
            raise ConfigError(
                f"mae.decoder_width must be a multiple of {HEAD_WIDTH}, got {self.decoder_width}"
            )
        if self.decoder_depth < 1:
            raise ConfigError(f"mae.decoder_depth must be at least 1, got {self.decoder_depth}")


@dataclass(frozen=True, slots=True)
class EvalConfig:
    """Tracking of whole sequences, now and then during a run.

    Attributes:
        root: Folder of sequences with truth, as `mixformerv2 eval --root` takes it; none, no
            evaluation.
        every_minutes: Minutes from the end of one evaluation to the next.
        limit: At most so many sequences, spread evenly over the sorted names; 0 for all.
        max_frames: At most so many frames of each.
    """

    root: Path | None = None
    every_minutes: float = 30.0
    limit: int = 0
    max_frames: int = 300

    def __post_init__(self) -> None:
        if not self.every_minutes >= 0:
            raise ConfigError(f"eval.every_minutes must be from 0 on, got {self.every_minutes}")
        if self.limit < 0:
            raise ConfigError(f"eval.limit must be from 0 on, got {self.limit}")
        if self.max_frames < 2:
            raise ConfigError(f"eval.max_frames must be at least 2, got {self.max_frames}")

    @property
    def what(self) -> str:
        """What figures are of, wherever the sequences lie."""
        where = Path(self.root).name if self.root is not None else "nothing"
        return f"{where}, {self.limit} sequences, {self.max_frames} frames"


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training run.

    Attributes:
        model: `{name: mixformerv2_t, ...}` with any settings of `ModelConfig` changed.
        stage: "box" trains everything from true boxes; "score" the score head alone (fact 6);
            "dense_to_sparse", "distill", "depth_pruning" and "mlp_reduction" under a teacher;
            "mae" the backbone alone, without labels.
        init: Run or bundle whose weights a fresh run starts from; `--init` wins over it. A run of
            stage "mae" or a published MAE checkpoint gives its backbone alone.
        init_layers: Which layers of such a backbone, or of a MixViT's for a MixFormerV2 and the
            other way round, are taken where the network has fewer: "first", "skip" (at equal
            distances), or numbers such as "0,4,8,11" (Table 3e).
        bank: Folder of pictures, masks and boxes, or the file that it was packed into, here or at
            an address of fsspec (`s3://bucket/bank.zip`), of which a copy is kept.
        clips: Folder of tracklets from unlabelled clips (`mixformerv2.data.pseudo`), or nothing.
        data: How samples are made.
        optim: Optimizer and schedule.
        loss: Weights of the loss terms.
        distill: The teacher and how the student is held to it.
        prune: What is taken away.
        eval: Tracking of whole sequences, now and then.
        mae: Masked-autoencoder pre-training.
        tracker: Settings of `TrackerSettings` for the bundle that comes out, such as
            `{update_interval: 200}`; the online template never changes where it is not said.
        precision: "32-true", "bf16-mixed" (Lightning Fabric's names), or "auto": the second where
            the device multiplies bf16 at its full rate, else the first.
        device: "auto", "cpu" or "cuda".
        strategy: Under torchrun: "ddp", the whole network in each process, or "fsdp", a part of it.
        threads: Threads of PyTorch on a CPU; 0 leaves its choice.
        workers: Processes that make samples; of no use with `data.backend: tensors`.
        seed: Of weights and samples.
        log_every: Steps between lines of the log.
        save_minutes: Minutes between checkpoints.
    """

    model: dict[str, Any] = field(default_factory=lambda: {"name": "mixformerv2_t"})
    stage: StageName = "box"
    init: str | None = None
    init_layers: str = "first"
    bank: str | Path = "../shared/data/train"
    clips: Path | None = None
    data: SyntheticConfig = field(default_factory=SyntheticConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    prune: PruneConfig = field(default_factory=PruneConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    mae: MaeConfig = field(default_factory=MaeConfig)
    tracker: dict[str, Any] = field(default_factory=dict)
    precision: Literal["auto", "32-true", "bf16-mixed"] = "32-true"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    strategy: Literal["ddp", "fsdp"] = "ddp"
    threads: int = 0
    workers: int = 1
    seed: int = 1
    log_every: int = 50
    save_minutes: float = 5.0

    def __post_init__(self) -> None:
        if self.log_every < 1:
            raise ConfigError(f"log_every must be at least 1 step, got {self.log_every}")
        for name in ("threads", "workers", "save_minutes"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must be from 0 on, got {getattr(self, name)}")
        if not re.fullmatch(r"first|skip|\s*\d+\s*(,\s*\d+\s*)*", self.init_layers):
            raise ConfigError(
                f'init_layers is "first", "skip" or numbers such as "0,4,8,11", got '
                f"{self.init_layers!r}"
            )
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must be from 0 to below 2**63, got {self.seed}")
        for name in _OF_SAMPLES:
            if name in self.tracker:
                raise ConfigError(f"tracker.{name} is that of the samples; set data.{name}")
        self.tracker_settings({})

    def tracker_settings(self, thresholds: Mapping[str, float]) -> TrackerSettings:
        """How the bundle of this run tracks.

        Args:
            thresholds: Of the weights that the run began with; what `tracker` says wins.

        Raises:
            ConfigError: an unknown setting, or a value that cannot work.
        """
        ours = {name: getattr(self.data, name) for name in _OF_SAMPLES}
        plain = {"min_size": 4.0, "update_interval": 0, "box_style": 0.5}
        return build(TrackerSettings, {**plain, **thresholds, **self.tracker, **ours}, "tracker")

    @property
    def network(self) -> ModelConfig:
        """The network that this run trains."""
        settings = dict(self.model)
        name = settings.pop("name", "mixformerv2_t")
        return model_config(name, **settings)


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a settings file and lay `key=value` pairs over it.

    Raises:
        ConfigError: an unknown key or an impossible value, before anything is loaded.
    """
    base = read_yaml(path) if path is not None else {}
    config = build(TrainConfig, merge(base, parse_overrides(overrides)))
    check_sizes(config)
    return config


def check_sizes(config: TrainConfig) -> None:
    """Samples must have the size that the network takes.

    Raises:
        ConfigError: they have not.
    """
    data, network = config.data, config.network
    made = data.template_size, data.search_size
    taken = network.template_size, network.search_size
    if made != taken:
        raise ConfigError(
            f"data makes crops of {made[0]} and {made[1]} pixels, but the model takes {taken[0]} "
            f"and {taken[1]}; set data.template_size and data.search_size"
        )


def show_config(config: TrainConfig) -> str:
    """All settings of a run as YAML, defaults included."""
    import yaml

    values = _plain(asdict(config))
    values["model"] = {
        "name": config.model.get("name", "mixformerv2_t"),
        **config.network.to_dict(),
    }
    text: str = yaml.safe_dump(values, sort_keys=False, default_flow_style=None)
    return text


def _plain(value: Any) -> Any:
    """Paths as text and tuples as lists, which every YAML reader knows."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value
