"""Training weights to a shipped bundle: weights, graphs, thresholds, card and figures.

    python scripts/make_bundle.py runs/t --settings configs/bundles/t.yaml --out build/t
    make bundle FROM=runs/t
    python scripts/make_bundle.py --measure --out src/mixformerv2/assets/t

Choices are made on the validation set (`scripts/make_validation.py`); `../shared/data/sequences` is
only reported. With `--tune` the candidates of the settings file are tried on the validation set
and the table is printed; nothing is chosen by itself. With `--measure` the bundle at `--out` stays
as it is, thresholds too, and figures and card alone are made anew.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import calibrate
import failures

from mixformerv2.errors import ConfigError, MixFormerError
from mixformerv2.evaluation.benchmarks import read_sequences
from mixformerv2.evaluation.calibration import Calibration
from mixformerv2.evaluation.presence import Presence, presence
from mixformerv2.evaluation.report import Report
from mixformerv2.evaluation.run import evaluate
from mixformerv2.evaluation.trackers import TrackerSpec
from mixformerv2.export import export_bundle, export_int8
from mixformerv2.export.quantize import record_auc
from mixformerv2.models import build as build_network
from mixformerv2.runtime.choice import int8_engine
from mixformerv2.runtime.select import load_engine
from mixformerv2.settings import build, read_yaml
from mixformerv2.tracking import Tracker, TrackerSettings
from mixformerv2.training.checkpoint import load_checkpoint
from mixformerv2.training.outcome import read_outcome
from mixformerv2.weights.bundle import read_config, save_bundle, write_config

SHARED = Path(__file__).resolve().parents[2] / "shared"


@dataclass(frozen=True)
class BundleSettings:
    """What `configs/bundles/NAME.yaml` says."""

    name: str
    licence: str
    about: Path
    search_factor: float = 4.0
    template_factor: float = 2.0
    min_size: float = 4.0
    update_interval: int = 0
    update_threshold: float = 0.5
    motion: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)
    tune: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """Figures of one bundle."""

    validation: Report
    sequences: Report | None
    presence_validation: Presence
    presence_sequences: Presence | None
    calibration: Calibration


def main() -> int:
    """Parse the command line and make the bundle."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("run", type=Path, nargs="?", help="folder of a training run")
    parser.add_argument("--settings", type=Path, default=Path("configs/bundles/t.yaml"))
    parser.add_argument("--out", type=Path, default=Path("src/mixformerv2/assets/t"))
    parser.add_argument("--validation", type=Path, default=Path(".work/validation"))
    parser.add_argument("--absences", type=Path, default=calibrate.ABSENCES)
    parser.add_argument("--sequences", type=Path, default=SHARED / "data" / "sequences")
    parser.add_argument("--tune", action="store_true", help="try the settings file's candidates")
    parser.add_argument("--measure", action="store_true", help="the bundle at --out as it is")
    args = parser.parse_args()
    if args.measure == (args.run is not None):
        parser.error("give the folder of a training run, or --measure")
    try:
        settings = build(BundleSettings, read_yaml(args.settings))
        if not settings.about.is_file():  # read at the very end, after an hour of measuring
            raise ConfigError(
                f"{args.settings}: about names {settings.about}, which is no file here; it is the "
                "text of the model card, sought from the folder in which the script is started"
            )
        if args.run is not None:
            _write(args.run, args.out, settings)
        if args.tune:
            _tune(args.out, settings, args.validation)
            return 0
        calibration = calibrate.of_bundle(
            args.out, args.validation, args.absences, as_is=args.measure
        )
        _set_thresholds(args.out, calibration)
        measured = _measure(args.out, args.validation, args.sequences, calibration)
        reported = args.sequences if args.sequences.is_dir() else args.validation
        full = measured.sequences or measured.validation
        engine = int8_engine()
        loss = full.mean.auc - evaluate(TrackerSpec(str(args.out), engine), reported).mean.auc
        record_auc(args.out, loss)
        print(f"{engine} loses {loss:.4f} of AUC on {reported.name}")
        _write_card(args.out, settings, measured, reported)
    except MixFormerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _write(run: Path, out: Path, settings: BundleSettings) -> None:
    """Weights as in the run's own bundle, both graphs, and both in int8."""
    state = load_checkpoint(run)
    if state is None:
        raise MixFormerError(f"{run} holds no checkpoint.pt; give the folder of a training run")
    if state.get("stage") == "mae":
        raise MixFormerError(
            f"{run} trained a backbone and no tracker (stage mae); start a run from it with "
            "`mixformerv2 train --init`, and give that"
        )
    outcome = read_outcome(run)  # blended as the run asks, without the layers that it dropped
    arch = replace(outcome.network, drop_path=0.0)
    model = build_network(arch)
    model.load_state_dict(outcome.weights())
    average = outcome.state
    tracker = TrackerSettings(
        arch.template_size,
        arch.search_size,
        template_factor=settings.template_factor,
        search_factor=settings.search_factor,
        min_size=settings.min_size,
        update_interval=settings.update_interval,
        update_threshold=settings.update_threshold,
        **settings.motion,
    )
    provenance = {
        "stage": state["stage"],
        "steps": state["step"],
        "samples": state["samples"],
        "minutes": round(state["seconds"] / 60, 1),
        "optim": state["optim"],
        "seed": state.get("seed"),
        "before": settings.before,
    }
    save_bundle(
        model.eval(),
        out,
        name=settings.name,
        tracker=tracker,
        licence={"weights": settings.licence, "file": "LICENSE"},
        provenance=provenance,
        training=average,
    )
    for parity in export_bundle(out):
        print(parity)
    print(export_int8(out))


def _tune(out: Path, settings: BundleSettings, validation: Path) -> None:
    """AUC on the validation set for each combination of candidates."""
    names = list(settings.tune)
    for values in itertools.product(*settings.tune.values()):
        changes = dict(zip(names, values, strict=True))

        def factory(changes: dict[str, Any] = changes) -> Tracker:
            return Tracker(str(out), engine="onnx", settings=changes)

        report = evaluate(factory, validation)
        families = {k: round(v.auc, 3) for k, v in report.families.items()}
        print(f"{report.mean.auc:.4f}  {changes}  {families}", flush=True)


def _set_thresholds(out: Path, found: Calibration) -> None:
    """Thresholds of the states, by `scripts/calibrate.py`, into the bundle."""
    config = read_config(out)
    write_config(out, replace(config, tracker=replace(config.tracker, **found.thresholds)))
    print("\n".join(calibrate.tables(found)))


def _measure(out: Path, validation: Path, sequences: Path, calibration: Calibration) -> Measured:
    spec = TrackerSpec(str(out), engine="onnx")
    engine, config = load_engine(out, "onnx")
    reported = sequences.is_dir()
    return Measured(
        evaluate(spec, validation, label=config.name),
        evaluate(spec, sequences, label=config.name) if reported else None,
        presence(engine, config.tracker, read_sequences(validation)),
        presence(engine, config.tracker, read_sequences(sequences)) if reported else None,
        calibration,
    )


def _write_card(out: Path, settings: BundleSettings, measured: Measured, reported: Path) -> None:
    """`figures.json`, `MODEL_CARD.md` and its two plots, into the bundle."""
    config = read_config(out)
    figures = {
        "weights_sha256": config.weights_sha256,
        "engine": "onnx",
        "validation": measured.validation.as_dict(),
        "presence_auc_validation": measured.presence_validation.auc,
        "calibration": measured.calibration.as_dict(),
    }
    if measured.sequences is not None and measured.presence_sequences is not None:
        figures["sequences"] = measured.sequences.as_dict()
        figures["presence_auc_sequences"] = measured.presence_sequences.auc
    for report in ("validation", "sequences"):
        for row in figures.get(report, {}).get("sequences", []):
            row.pop("fps")  # a speed is a ratio measured beside another, never a figure by itself
    (out / "figures.json").write_text(json.dumps(figures, indent=1, default=float) + "\n")
    (out / "MODEL_CARD.md").write_text(
        _card(config.name, asdict(config), settings, measured, reported)
    )
    calibrate.draw(measured.calibration, out / "calibration.png")
    failures.draw(measured.sequences or measured.validation, reported, out / "failures.png")
    print(f"validation AUC {measured.validation.mean.auc:.4f}", end="")
    if measured.sequences is not None:
        print(f", sequences AUC {measured.sequences.mean.auc:.4f}", end="")
    print(f", presence {measured.presence_validation.auc:.3f}")


def _card(
    name: str, config: dict[str, Any], settings: BundleSettings, measured: Measured, reported: Path
) -> str:
    template = Path(__file__).with_name("model_card.md").read_text()
    provenance = config["provenance"]
    tracker = config["tracker"]
    lines = []
    for title, report in (
        ("Validation set (choices are made here)", measured.validation),
        ("`../shared/data/sequences` (only reported)", measured.sequences),
    ):
        if report is None:
            continue
        mean = report.mean
        lines += [f"### {title}", "", "| sequence | AUC | precision | normalized precision |"]
        lines += ["|---|---|---|---|"]
        lines.append(
            f"| **mean of {mean.sequences}** | **{mean.auc:.3f}** | **{mean.precision:.3f}** | "
            f"**{mean.normalized_precision:.3f}** |"
        )
        for family, figures in report.families.items():
            lines.append(
                f"| *{family}, mean of {figures.sequences}* | {figures.auc:.3f} | "
                f"{figures.precision:.3f} | {figures.normalized_precision:.3f} |"
            )
        lines += [
            f"| {one.name} | {one.figures.auc:.3f} | {one.figures.precision:.3f} | "
            f"{one.figures.normalized_precision:.3f} |"
            for one in report.sequences
        ]
        lines.append("")
    if measured.presence_sequences is not None:
        lines.append(
            "Present against absent by score (area under the ROC curve): validation "
            f"{measured.presence_validation.auc:.3f}, sequences "
            f"{measured.presence_sequences.auc:.3f}."
        )
    int8 = config["graphs"]["search.int8.onnx"]
    lines.append(
        f"\nThe int8 graphs: boxes within {int8['parity']:.2%} of the search crop (median over the "
        f"calibration crops), {int8['auc_loss']:.4f} of AUC lost."
    )
    return template.format(
        name=name,
        about=settings.about.read_text(encoding="utf-8"),
        provenance=json.dumps(provenance, indent=1),
        tracker=json.dumps(tracker, indent=1),
        calibration="\n".join(calibrate.tables(measured.calibration)),
        failures="\n".join(failures.sentences(measured.sequences or measured.validation, reported)),
        tables="\n".join(lines),
    )


if __name__ == "__main__":
    raise SystemExit(main())
