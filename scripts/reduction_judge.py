"""How `ablate_reduction` judges a run: fixed pairs of validation videos, and tracking.

    python scripts/reduction_judge.py runs/reduction/sparse-3-850     # by expectation, and by mode

The pairs are made once by a fixed seed from videos that training never sees: templates and search
from one video, the target moved and scaled in the search crop as in training, no augmentation.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixformerv2.data.augment import PLAIN
from mixformerv2.data.sampling import SamplingConfig, SetConfig
from mixformerv2.data.synthetic import SampleGenerator, SyntheticConfig
from mixformerv2.distillation.sides import resample_sides
from mixformerv2.evaluation.report import Report
from mixformerv2.evaluation.run import evaluate
from mixformerv2.evaluation.trackers import TrackerSpec
from mixformerv2.runtime.base import Engine, EngineInfo, Memory, StepOutput
from mixformerv2.runtime.select import load_engine
from mixformerv2.tracking.tracker import Tracker
from mixformerv2.training.learner import Learner
from mixformerv2.training.losses import box_iou, kl_to_sides
from mixformerv2.training.outcome import read_outcome

Values = NDArray[np.float64]
Arrays = dict[str, NDArray[np.generic]]

SEED = 2026
BATCH = 50
FRAMES = 200
INTERVAL = 10
"""Frames between online templates where they change, as published for VOT."""


@dataclass(frozen=True)
class Judged:
    """What a run is worth.

    Attributes:
        iou: Of each pair's box with its truth, `[N]`.
        kl: Mean divergence of the four sides from the teacher's (eq. 5), or None where the network
            answers no distributions.
    """

    iou: Values
    kl: float | None


def make_pairs(root: Path, count: int, template: int = 64, search: int = 128) -> Arrays:
    """The fixed pairs: `template`, `online` and `search` `[N, side, side, 3]`, `box`, `video`."""
    config = SyntheticConfig(
        template_size=template,
        search_size=search,
        composites=0,
        stills=0,
        pairs=0,
        clips=0,
        labelled=1,
        absent=0,
        grey=0,
        augment=PLAIN,
        sets=(SetConfig(root),),
        sampling=SamplingConfig(centre_jitter=0.6, scale_jitter=0.3),
    )
    generator = SampleGenerator(root, config, SEED)
    samples = [generator.sample(index) for index in range(count)]
    return {
        "template": np.stack([one.template for one in samples]),
        "online": np.stack([one.online for one in samples]),
        "search": np.stack([one.search for one in samples]),
        "box": np.stack([one.box for one in samples]),
        "video": np.array([one.sequence for one in samples]),
    }


def fixed_pairs(root: Path, count: int, store: Path) -> Arrays:
    """The pairs, read from `store` where they were made before."""
    if store.exists():
        with np.load(store) as found:
            if len(found["box"]) == count and "video" in found:
                return dict(found)
    pairs = make_pairs(root, count)
    store.parent.mkdir(parents=True, exist_ok=True)
    np.savez(store, **pairs)
    return pairs


def identity(pairs: Arrays) -> str:
    """A short name of these very pairs: by their boxes, to a ten-thousandth of the crop."""
    boxes = np.round(np.asarray(pairs["box"], np.float64) * 1e4).astype(np.int32)
    return hashlib.sha256(boxes.tobytes()).hexdigest()[:12]


def load_learner(source: str | Path) -> Learner:
    """The network of a run's moving average or of a bundle; MixFormerV2's dense head is left."""
    outcome = read_outcome(source)
    learner = Learner(outcome.network, dense=False)
    wanted = {k: v for k, v in outcome.state.items() if k.startswith("net.")}
    learner.load_state_dict(wanted)
    return learner.eval()


def answers(learner: Learner, pairs: Arrays) -> tuple[Tensor, Tensor | None]:
    """Boxes `[N, 4]` and side logits `[N, 4, K]`, or None, of all pairs."""
    boxes, logits = [], []
    with torch.inference_mode():
        for batch in _batches(pairs):
            out = learner(batch["template"], batch["online"], batch["search"])
            boxes.append(out.boxes.float())
            if out.logits is not None:
                logits.append(out.logits.float())
    return torch.cat(boxes), torch.cat(logits) if logits else None


def judge_pairs(learner: Learner, pairs: Arrays, taught: Tensor | None) -> Judged:
    """IoU of each pair, and the mean divergence from the teacher's distributions `[N, 4, K]`."""
    boxes, logits = answers(learner, pairs)
    truth = torch.from_numpy(np.asarray(pairs["box"], np.float32))
    kl = None
    if logits is not None and taught is not None:
        kl = float(kl_to_sides(logits, resample_sides(taught, logits.shape[-1])).mean())
    return Judged(box_iou(boxes, truth).double().numpy(), kl)


def teacher_sides(source: Path, pairs: Arrays) -> Tensor:
    """What a teacher says of the pairs, `[N, 4, K]`, kept in the folder of its run."""
    store = source / f"sides-{identity(pairs)}.npy"
    if store.exists():
        return torch.from_numpy(np.load(store))
    _, logits = answers(load_learner(source), pairs)
    assert logits is not None
    sides = logits.softmax(-1)
    np.save(store, sides.numpy())
    return sides


def _batches(pairs: Arrays) -> Iterator[dict[str, Tensor]]:
    for first in range(0, len(pairs["box"]), BATCH):
        yield {
            name: torch.from_numpy(np.asarray(pairs[name][first : first + BATCH]))
            for name in ("template", "online", "search")
        }


def track(bundle: Path, root: Path, frames: int | None = FRAMES) -> dict[str, float]:
    """AUC of each video by one pass of a run's bundle."""
    return _by_video(
        evaluate(TrackerSpec(str(bundle), "torch", threads=1), root, max_frames=frames)
    )


def _by_video(report: Report) -> dict[str, float]:
    """AUC of the videos that have a label in their first frames."""
    return {one.name: one.figures.auc for one in report.sequences if one.figures.frames}


class Unscored:
    """An engine whose every answer counts as a little surer than the one before.

    So the newest crop is always the best candidate: templates change by the clock alone.
    """

    def __init__(self, inner: Engine) -> None:
        self.inner = inner
        self.count = 0

    @property
    def info(self) -> EngineInfo:
        """Of the engine within."""
        return self.inner.info

    def encode_templates(self, templates: NDArray[np.uint8]) -> Memory:
        """As the engine within."""
        return self.inner.encode_templates(templates)

    def step(self, search: NDArray[np.uint8], memory: Memory) -> StepOutput:
        """Boxes of the engine within; scores that only rise."""
        out = self.inner.step(search, memory)
        self.count += 1
        scores = np.full_like(out.scores, 1 - 1 / (self.count + 2))
        return StepOutput(out.boxes, scores, out.probs)


def track_policy(
    bundle: Path, policy: str, root: Path, frames: int | None = None
) -> dict[str, float]:
    """AUC of each video with the online template never changed, the newest, or the best scored."""
    fast = (bundle / "search.onnx").exists()
    engine, config = load_engine(bundle, "onnx" if fast else "torch", threads=1)
    interval = 0 if policy == "first" else INTERVAL
    # The boxes as the network finds them: what is asked here is which template finds them.
    settings: dict[str, Any] = {"update_interval": interval, "box_style": 0.0}

    def tracker() -> Tracker:
        used = Unscored(engine) if policy == "newest" else engine
        return Tracker.with_engine(used, config, settings=settings)

    return _by_video(evaluate(tracker, root, max_frames=frames))


def by_mode(logits: Tensor) -> Tensor:
    """Boxes `[N, 4]` of the most probable bins, which no tail of a distribution can shift."""
    return logits.argmax(-1) / logits.shape[-1]


def main() -> None:
    """Print what runs that are there are worth by two ways to read their sides."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--root", type=Path, default=Path(".work/validation"))
    parser.add_argument("--pairs", type=int, default=2000)
    given = parser.parse_args()
    for run in given.runs:
        pairs = fixed_pairs(given.root, given.pairs, run.parent / f"pairs-{given.pairs}.npz")
        truth = torch.from_numpy(np.asarray(pairs["box"], np.float32))
        boxes, logits = answers(load_learner(run), pairs)
        line = f"{run.name}: IoU {box_iou(boxes, truth).mean():.3f} by expectation"
        if logits is not None:
            offset = ((boxes - truth) * pairs["search"].shape[1]).mean(0)
            sides = ", ".join(f"{float(one):+.1f}" for one in offset)
            line += f" (sides off by {sides} px)"
            line += f", {box_iou(by_mode(logits), truth).mean():.3f} by the most probable bins"
        print(line, flush=True)


if __name__ == "__main__":
    main()
