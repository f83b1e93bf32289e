"""Does fine-tuning adapt a bundle to an odd domain, and what does it forget?

    python scripts/adapt_domain.py --steps 600 [--bundle t] [--out runs/adapt]

The odd domain is made from videos with truth, so that both sides can be measured: DAVIS videos as
an imaging sonar might show them, grey, coarse and full of speckle. `configs/own.yaml` is trained
on the 22 of them that training may use, as a user would on videos of his own: on these alone, and
with samples of the picture bank beside them, each as it is (half a blend with the first weights)
and unblended. Measured before and after are the eight held-out videos in the odd look, and the
validation set as it is. A second call does what is missing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import cv2
import make_validation
import numpy as np
from numpy.typing import NDArray

from mixformerv2.evaluation.run import evaluate
from mixformerv2.evaluation.trackers import TrackerSpec

Image = NDArray[np.uint8]
PROJECT = Path(__file__).resolve().parents[1]
DATA = PROJECT.parent / "shared" / "data"
ALONE = "own videos alone"
MIXED = "own videos and the bank"
BANK = [
    f"bank={DATA / 'train'}",
    "data.composites=0.25",
    "data.stills=0.15",
    "data.pairs=0.3",
    "data.labelled=0.3",
]
UNBLENDED = ", unblended"
ARMS: dict[str, list[str]] = {ALONE: [], MIXED: BANK}


def sonar(picture: Image, rng: np.random.Generator) -> Image:
    """A picture `[H, W, 3]` as a sonar might show it: coarse, grey, with multiplied noise."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32) / 255
    coarse = cv2.resize(grey, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    coarse = coarse * rng.gamma(0.5, 2.0, coarse.shape).astype(np.float32)
    echo = cv2.resize(cv2.GaussianBlur(coarse, (0, 0), 0.7), grey.shape[::-1])
    return np.asarray(
        cv2.cvtColor(np.uint8(np.clip(np.sqrt(echo), 0, 1) * 255), cv2.COLOR_GRAY2BGR)
    )


def make_domain(out: Path, held_out: bool) -> Path:
    """DAVIS videos in the odd look, in the layout of `data/sequences`."""
    if not out.exists():
        half_done = out.with_name(out.name + ".part")
        make_validation.add_videos(DATA / "train" / "davis16_train", half_done, held_out)
        for number, path in enumerate(sorted(half_done.glob("*/img/*.jpg"))):
            picture = np.asarray(cv2.imread(str(path)), np.uint8)
            cv2.imwrite(str(path), sonar(picture, np.random.default_rng(number)))
        half_done.rename(out)
    return out


def measure(bundle: str, roots: dict[str, Path]) -> dict[str, float]:
    """AUC of a bundle on each folder."""
    return {
        name: float(evaluate(TrackerSpec(bundle, "onnx"), root).mean.auc)
        for name, root in roots.items()
    }


def train(
    bundle: str, data: Path, extra: list[str], out: Path, steps: int, suffix: str = ""
) -> str:
    """Fine-tune as the how-to says; answers the exported bundle."""
    exported = out.with_name(out.name + suffix.replace(", ", "_") + "_bundle")
    if not exported.exists():
        command = [sys.executable, "-m", "mixformerv2"]
        settings = [
            f"data.sets=[{{root: {data}}}]",
            "data.absent=0",
            f"optim.steps={steps}",
            *extra,
        ]
        config = str(PROJECT / "configs" / "own.yaml")
        subprocess.run(
            [*command, "train", config, "--init", bundle, "--out", str(out), *settings], check=True
        )
        subprocess.run([*command, "export", str(out / "bundle"), str(exported)], check=True)
    return str(exported)


def main() -> None:
    """Make the domain, train both arms, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bundle", default="t")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--out", type=Path, default=PROJECT / "runs" / "adapt")
    parser.add_argument("--validation", type=Path, default=PROJECT / ".work" / "validation")
    parser.add_argument("--arms", nargs="+", choices=sorted(ARMS), default=sorted(ARMS))
    parser.add_argument("settings", nargs="*", help="more settings of `train`")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    own = make_domain(args.out / "own", held_out=False)
    roots = {"odd": make_domain(args.out / "odd", held_out=True), "rest": args.validation}
    figures = {"before": measure(args.bundle, roots)}
    for name in args.arms:
        folder = args.out / name.replace(" ", "_")
        settings = [*ARMS[name], *args.settings]
        made = train(args.bundle, own, settings, folder, args.steps)
        figures[name] = measure(made, roots)
        # A run that is done writes its bundle anew, and trains nothing.
        made = train(args.bundle, own, [*settings, "optim.blend=1"], folder, args.steps, UNBLENDED)
        figures[name + UNBLENDED] = measure(made, roots)
    (args.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    print("| | AUC in the odd look | AUC on the validation set |\n|---|---|---|")
    for name, row in figures.items():
        print(f"| {name} | {row['odd']:.3f} | {row['rest']:.3f} |")


if __name__ == "__main__":
    main()
