"""The ablations of the paper's model reduction at small size (Tables 3 and 8), run by run.

    python scripts/ablate_reduction.py --seeds 1 2 3     # what is missing; stop it at any time
    python scripts/ablate_reduction.py --list            # the list, and what is done
    python scripts/ablate_reduction.py --steps 20 --pairs 50 --frames 3 --results runs/try.jsonl

Each arm of `reduction_arms.py` is a run of `mixformerv2 train` with `configs/ablation.yaml`. All
arms of a seed take the same number of steps and see the same batches; all arms of one seed come
before the next seed. At its end a run is judged on 2,000 fixed pairs and by tracking, both on
videos that training never sees (`make .work/validation`), and its figures are appended to
`docs/data/ablations.jsonl`; then the tables of `docs/ablations.md` are written anew. A second call
goes on where the first stopped and leaves alone what the file of results has, whether or not the
folders of the runs are still there. Settings of `train` may stand before the options: `threads=2`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reduction_arms import ARMS, START, Arm, arms

PROJECT = Path(__file__).resolve().parents[1]
CONFIG = PROJECT / "configs" / "ablation.yaml"
MACHINE = ("threads=", "workers=", "device=", "bank=", "save_minutes=", "log_every=")
"""Settings that do not change what a run learns."""
Record = dict[str, Any]
PAGE = PROJECT / "docs" / "ablations.md"
RESULTS = PROJECT / "docs" / "data" / "ablations.jsonl"
PAIRS, FRAMES = 2000, 200
"""Of which all figures in `RESULTS` are."""


class Ablation:
    """What is asked of this call, and what is known already."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.out: Path = options.out
        self.results: Path = options.results
        self.records = read_records(self.results)
        self._pairs: Any = None

    def steps(self, arm: Arm) -> int:
        """Of an arm's run; none where nothing is trained."""
        return 0 if arm.policy else round(arm.steps * int(self.options.steps))

    def seed(self, arm: Arm, seed: int) -> int:
        """Teachers and what is not trained have one seed for all."""
        return 1 if arm.shared or arm.policy else seed

    def folder(self, arm: Arm, seed: int) -> Path:
        """Of an arm's run."""
        return self.out / f"{arm.name}-{self.seed(arm, seed)}-{self.steps(arm)}"

    def settings(self, arm: Arm) -> list[str]:
        """What an arm changes, and this call for all of them, as it is kept with its figures."""
        return [*arm.settings, *(o for o in self.options.overrides if not o.startswith(MACHINE))]

    def done(self, arm: Arm, seed: int) -> Record | None:
        """The figures of an arm where they are known."""
        return find(self.records, arm, self.seed(arm, seed), self.steps(arm), self.settings(arm))

    def run(self, arm: Arm, seed: int) -> None:
        """Train an arm, with all that it needs, and judge it.

        Raises:
            CalledProcessError: training ended with an error.
        """
        by_name = arms()
        for name in arm.needs:
            self.train(by_name[name], seed)
        if arm.policy:
            self.append(arm, seed, {"auc_by_video": self._track_policy(arm)})
            return
        self.train(arm, seed)
        if self.done(arm, seed) is None:
            self.append(arm, seed, self._judge(arm, seed))

    def train(self, arm: Arm, seed: int) -> None:
        """Bring a run to its end; at once where it is there already."""
        from mixformerv2.training.checkpoint import load_checkpoint

        folder = self.folder(arm, seed)
        state = load_checkpoint(folder, lazy=True)
        if state is None or not state["finished"] or not (folder / "bundle").exists():
            for name in arm.needs:
                self.train(arms()[name], seed)
            print(f"\n{arm.name}, seed {self.seed(arm, seed)}: {folder}", flush=True)
            subprocess.run(self.command(arm, seed), check=True)
        if arm.name == "teacher" and not (folder / "backbone.pt").exists():
            save_backbone(folder)

    def command(self, arm: Arm, seed: int) -> list[str]:
        """The run as a command; later settings win."""
        steps = self.steps(arm)
        settings = [self._place(one, seed) for one in arm.settings]
        budget = [f"optim.steps={steps}", f"seed={self.seed(arm, seed)}"]
        if steps <= 50:
            budget.append("optim.warmup=2")
        return [
            sys.executable, "-m", "mixformerv2", "train", str(CONFIG), *settings,
            *self.options.overrides, *budget, "--out", str(self.folder(arm, seed)),
        ]  # fmt: skip

    def _place(self, setting: str, seed: int) -> str:
        """`@NAME` as the folder of that arm's run."""
        before, at, rest = setting.partition("@")
        if not at:
            return setting
        if rest == "start":
            return f"{before}{self.start()}"
        name, slash, inside = rest.partition("/")
        return f"{before}{self.folder(arms()[name], seed)}{slash}{inside}"

    def start(self) -> Path:
        """The bundle that the teachers begin with: a copy, for a new one may be shipped meanwhile.

        Raises:
            SystemExit: there are figures under teachers that began with another one.
        """
        from mixformerv2.weights.bundle import find_bundle

        folder = self.out / "start"
        if not folder.exists():
            half_done = self.out / "start.part"
            shutil.rmtree(half_done, ignore_errors=True)
            shutil.copytree(find_bundle(START), half_done)
            half_done.rename(folder)
        known = {one["start"] for one in self.records}
        if known and known != {sha_of(folder)}:
            raise SystemExit(
                f"{self.results} holds figures under teachers that began with a bundle {START} of "
                f"weights {', '.join(sorted(known))}, but {folder} has {sha_of(folder)}; put that "
                "bundle there, or give another file as --results"
            )
        return folder

    def pairs(self) -> Any:
        """The fixed pairs."""
        from reduction_judge import fixed_pairs

        if self._pairs is None:
            count = self.options.pairs
            self._pairs = fixed_pairs(self.options.root, count, self.out / f"pairs-{count}.npz")
            remember_videos(videos_file(self.results), self._pairs)
        return self._pairs

    def _judge(self, arm: Arm, seed: int) -> Record:
        import torch
        from reduction_judge import identity, judge_pairs, load_learner, teacher_sides, track

        from mixformerv2.training.checkpoint import load_checkpoint

        torch.set_num_threads(1)
        folder, pairs = self.folder(arm, seed), self.pairs()
        assert arm.teacher is not None
        taught = teacher_sides(self.folder(arms()[arm.teacher], seed), pairs)
        judged = judge_pairs(load_learner(folder), pairs, taught)
        state = load_checkpoint(folder, lazy=True)
        assert state is not None
        return {
            "pairs": identity(pairs),
            "iou": round(float(judged.iou.mean()), 5),
            "kl": None if judged.kl is None else round(judged.kl, 4),
            "auc_by_video": track(folder / "bundle", self.options.root, self.options.frames),
            "minutes": round(state["seconds"] / 60, 1),
            "iou_by_pair": " ".join(str(round(1000 * v)) for v in judged.iou),
        }

    def _track_policy(self, arm: Arm) -> dict[str, float]:
        from reduction_judge import track_policy

        assert arm.policy is not None
        print(f"\n{arm.name}: tracking", flush=True)
        bundle = self.start()
        if arm.tracks != "start":
            bundle = self.folder(arms()[arm.tracks], 1) / "bundle"
        return track_policy(bundle, arm.policy, self.options.root)

    def append(self, arm: Arm, seed: int, figures: Record) -> None:
        """Add a run's figures to the file of results, one line of JSON each."""
        videos = {name: round(value, 4) for name, value in figures.pop("auc_by_video").items()}
        record = {
            "arm": arm.name,
            "seed": self.seed(arm, seed),
            "steps": self.steps(arm),
            "settings": self.settings(arm),
            "start": sha_of(self.start()),
            "auc": round(sum(videos.values()) / len(videos), 5),
            **figures,
            "auc_by_video": videos,
        }
        append_line(self.results, json.dumps(record))
        self.records.append(record)
        iou = f"IoU {record['iou']:.3f}, " if "iou" in record else ""
        print(f"{arm.name}, seed {record['seed']}: {iou}AUC {record['auc']:.3f}", flush=True)


def sha_of(bundle: Path) -> str:
    """A bundle's weights, by the first digits of their hash."""
    values = json.loads((bundle / "config.json").read_text(encoding="utf-8"))
    return str(values["weights_sha256"])[:12]


def save_backbone(folder: Path) -> None:
    """Write the backbone of a run alone, as a source for `init`: others begin without its head."""
    import torch

    from mixformerv2.training.outcome import read_outcome

    weights = read_outcome(folder).part("net.backbone.")
    torch.save({k: v.clone() for k, v in weights.items()}, folder / "backbone.pt")


def videos_file(results: Path) -> Path:
    """Beside the results: which video each of the fixed pairs shows, by the pairs' name."""
    return results.with_name(f"{results.stem}-pairs.json")


def remember_videos(path: Path, pairs: Any) -> None:
    """Write which video each of these pairs shows, for pairs of one video are no separate facts."""
    from reduction_judge import identity

    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if identity(pairs) not in known:
        names = sorted({str(name) for name in pairs["video"]})
        numbers = " ".join(str(names.index(str(name))) for name in pairs["video"])
        known[identity(pairs)] = {"videos": names, "of_pair": numbers}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known) + "\n", encoding="utf-8")


def read_videos(path: Path) -> dict[str, list[str]]:
    """The video of each pair, by the pairs' name."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {
        name: [one["videos"][int(number)] for number in one["of_pair"].split()]
        for name, one in known.items()
    }


def read_records(path: Path) -> list[Record]:
    """All figures of a file of results; half a line at its end is left out."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue  # killed while writing; the run itself is there and is judged again
    return records


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, after whatever a killed process left of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, 2)
            line = line if file.read() == b"\n" else "\n" + line
        file.write(line.encode() + b"\n")


def find(
    records: Sequence[Record], arm: Arm, seed: int, steps: int, settings: Sequence[str]
) -> Record | None:
    """The figures of an arm with these very settings, the last ones."""
    wanted = (arm.name, seed, steps, list(settings))
    for one in reversed(records):
        if (one["arm"], one["seed"], one["steps"], one["settings"]) == wanted:
            return one
    return None


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("overrides", nargs="*", help="settings of train, as threads=2")
    parser.add_argument("--steps", type=int, default=850, help="of a student; teachers take more")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--arms", nargs="+", default=[arm.name for arm in ARMS])
    parser.add_argument("--root", type=Path, default=PROJECT / ".work" / "validation")
    parser.add_argument("--out", type=Path, default=PROJECT / "runs" / "reduction")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, help="to write the tables into; of other --results")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--frames", type=int, default=FRAMES, help="of each video, for AUC")
    parser.add_argument("--list", action="store_true", help="say what is done, run nothing")
    options = parser.parse_intermixed_args(arguments)
    if (options.pairs, options.frames) != (PAIRS, FRAMES) and options.results == RESULTS:
        parser.error(
            f"{RESULTS} holds figures of {PAIRS} pairs and {FRAMES} frames; give others another "
            "file, as --results"
        )
    unknown = set(options.arms) - set(arms())
    if unknown:
        parser.error(f"no arm {unknown.pop()!r}; choose from {', '.join(arms())}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, and write the tables."""
    options = parse(arguments)
    ablation = Ablation(options)
    todo = list(
        dict.fromkeys(
            (ablation.seed(arm, seed), arm)
            for seed in options.seeds
            for arm in ARMS
            if arm.name in options.arms and arm.judged
        )
    )
    if options.list:
        for seed, arm in todo:
            state = "done" if ablation.done(arm, seed) else "to do"
            print(f"{arm.name:20} seed {seed}  {ablation.steps(arm):6} steps  {state}")
        return 0
    for seed, arm in todo:
        if ablation.done(arm, seed) is None:
            try:
                ablation.run(arm, seed)
            except subprocess.CalledProcessError as error:
                print(f"{arm.name} ended with code {error.returncode}; a second call goes on")
                return error.returncode
            except KeyboardInterrupt:
                print("stopped; a second call goes on")
                return 130
            write_page(options, ablation.records)
    write_page(options, ablation.records)
    return 0


def write_page(options: argparse.Namespace, records: list[Record]) -> None:
    """Write the tables into the page, between its marks; of a try, only where it is named."""
    from reduction_tables import fill, report

    page = options.page or (PAGE if options.results == RESULTS else None)
    if page is not None:
        text = page.read_text(encoding="utf-8")
        videos = read_videos(videos_file(options.results))
        page.write_text(fill(text, report(records, options.steps, videos)), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
