"""What each kind of supervision adds: short training runs that differ in their samples alone.

    python scripts/ablate_supervision.py configs/t.yaml --steps 4000 --seeds 1 2
    python scripts/ablate_supervision.py configs/t.yaml --seeds 1 2 --list

Every arm has the same settings, steps and seeds; samples are composites alone, then stills, real
pairs and unlabelled clips as well, the clips labelled by the peer, by point tracks or by flow
(`python -m mixformerv2.data.pseudo ../shared/data/videos .work/clips_flow --by flow`). Each is
evaluated at its end on `--root`. Stop it at any time: a second call goes on where it stopped, and
leaves alone what is done. The table is written anew after each run. Other settings of `train` may
follow: `... optim.batch=8 threads=1`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Arm:
    """One mixture: weights of composites, stills, pairs, clips; who labelled the clips."""

    name: str
    weights: tuple[float, float, float, float]
    clips: str | None = None
    against: str | None = None

    @property
    def folder(self) -> str:
        return self.name.replace(" ", "-").replace("+", "and").replace(",", "")

    def settings(self, clips: Path) -> list[str]:
        names = ("composites", "stills", "pairs", "clips")
        pairs = [f"data.{n}={w}" for n, w in zip(names, self.weights, strict=True)]
        return [*pairs, f"clips={clips / self.clips if self.clips else 'null'}"]


ARMS = (
    Arm("composites", (1.0, 0.0, 0.0, 0.0)),
    Arm("+ stills", (0.7, 0.3, 0.0, 0.0), against="composites"),
    Arm("+ pairs", (0.45, 0.2, 0.35, 0.0), against="+ stills"),
    Arm("+ clips, peer", (0.35, 0.15, 0.25, 0.25), "clips", "+ pairs"),
    Arm("+ clips, points", (0.35, 0.15, 0.25, 0.25), "clips_points", "+ pairs"),
    Arm("+ clips, flow", (0.35, 0.15, 0.25, 0.25), "clips_flow", "+ pairs"),
)


def result(run: Path, steps: int) -> dict[str, float] | None:
    """The last figures of a run that has come to its end, else None."""
    log = run / "log.jsonl"
    if not log.exists():
        return None
    found: dict[str, float] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break  # half a line: the run was killed
        found |= {name: row[name] for name in ("iou", "dense_iou") if name in row}
        if row["step"] >= steps and "eval_auc" in row:
            return {**found, "auc": row["eval_auc"]}
    return None


def table(out: Path, arms: list[Arm], seeds: list[int], steps: int) -> str:
    """Means over the seeds that are done; differences of pairs with the same seed."""
    auc = {
        arm.name: {
            seed: found["auc"]
            for seed in seeds
            if (found := result(out / f"{arm.folder}-{seed}", steps)) is not None
        }
        for arm in arms
    }
    lines = [
        f"{steps} steps; AUC on the validation set.",
        "",
        "| samples | seeds | AUC | against | difference |",
        "|---|---|---|---|---|",
    ]
    for arm in arms:
        mine, other = auc[arm.name], auc.get(arm.against or "", {})
        both = [mine[seed] - other[seed] for seed in mine if seed in other]
        mean = f"{np.mean(list(mine.values())):.3f}" if mine else "to do"
        change = f"{np.mean(both):+.3f}" if both else ""
        if len(both) > 1:
            change += f" ± {np.std(both, ddof=1) / np.sqrt(len(both)):.3f}"
        lines.append(f"| {arm.name} | {len(mine)} | {mean} | {arm.against or ''} | {change} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", help="settings of train, as optim.batch=8")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--arms", nargs="+", default=[arm.name for arm in ARMS])
    parser.add_argument("--root", type=Path, default=PROJECT / ".work" / "validation")
    parser.add_argument("--clips", type=Path, default=PROJECT / ".work", help="holds clips*/")
    parser.add_argument("--out", type=Path, default=PROJECT / "runs" / "ablation")
    parser.add_argument("--init", help="bundle or run that all arms start from")
    parser.add_argument("--list", action="store_true", help="show the table, run nothing")
    options = parser.parse_args()
    unknown = set(options.arms) - {arm.name for arm in ARMS}
    if unknown:
        parser.error(f"no arm {unknown.pop()!r}; choose from {[arm.name for arm in ARMS]}")
    arms = [arm for arm in ARMS if arm.name in options.arms]
    for arm in list(arms):
        if arm.clips and not (options.clips / arm.clips / "tracklets.json").exists():
            print(f"{arm.name} is left out: {options.clips / arm.clips} is not there")
            arms.remove(arm)
    # All arms with one seed before the next: the table is soon whole.
    for seed in () if options.list else options.seeds:
        for arm in arms:
            run = options.out / f"{arm.folder}-{seed}"
            if result(run, options.steps) is not None:
                continue
            print(f"\n{arm.name}, seed {seed}: {run}", flush=True)
            command = [
                sys.executable, "-m", "mixformerv2", "train", str(options.config),
                *arm.settings(options.clips), *options.overrides,
                f"optim.steps={options.steps}", f"seed={seed}", f"eval.root={options.root}",
                "eval.every_minutes=1e6", "--out", str(run),
                *(["--init", options.init] if options.init else []),
            ]  # fmt: skip
            done = subprocess.run(command, check=False)
            if done.returncode:
                print(f"{arm.name} ended with code {done.returncode}; a second call goes on")
                return done.returncode
            options.out.mkdir(parents=True, exist_ok=True)
            text = table(options.out, arms, options.seeds, options.steps)
            (options.out / "table.md").write_text(text, encoding="utf-8")
    print(table(options.out, arms, options.seeds, options.steps))
    return 0


if __name__ == "__main__":
    sys.exit(main())
