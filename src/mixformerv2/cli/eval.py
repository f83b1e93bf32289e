"""`mixformerv2 eval`: trackers side by side on a benchmark, with a report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .chosen import LongTerm, Sets, chosen_settings

if TYPE_CHECKING:
    from ..evaluation import Sequence, TrackerSpec

__all__ = ["run"]

EPILOG = (
    "Exit codes: 0 done, 2 wrong option, 5 output, 6 bundle, 7 engine, 9 data. A sequence in which "
    "a tracker fails counts with zeros and is named; the run goes on and ends with 0."
)
_HOW = "How it is done"
_COUNT = "Which frames count (the benchmark's own rules else)"
_OUT = "What is kept"


def _list(asked: bool) -> None:
    if asked:
        from .eval_tables import print_benchmarks

        print_benchmarks()
        raise typer.Exit


def run(
    trackers: Annotated[
        list[str],
        typer.Argument(
            metavar="TRACKER...",
            help="A bundle's name or folder; MODULE:CLASS, a class with init(frame, box) and "
            "update(frame); opencv:csrt, opencv:mil, opencv:nano:FOLDER and others; "
            "results:FOLDER, what another program wrote; still, a box that never moves. "
            "LABEL=TRACKER names it.",
        ),
    ],
    root: Annotated[
        Path, typer.Option(help="The benchmark's folder, .zip or .lmdb, as it is published.")
    ],
    benchmark: Annotated[
        str,
        typer.Option(help="lasot, got10k_val, uav123 ...; own: any layout. --benchmarks lists."),
    ] = "own",
    benchmarks: Annotated[
        bool,
        typer.Option("--benchmarks", help="List them and end.", is_eager=True, callback=_list),
    ] = False,
    names: Annotated[
        str, typer.Option(help="Only these sequences, parted by commas.", rich_help_panel=_HOW)
    ] = "",
    max_frames: Annotated[
        int | None,
        typer.Option(
            help="At most so many frames of each sequence, 0 for all. [own: 300, else all]",
            rich_help_panel=_HOW,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Sequences at once; speeds then share the machine. [local: 1, ray: all cores]",
            rich_help_panel=_HOW,
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="Who does it: local (processes) or ray (a cluster). A network's engine may stand "
            "here too, as in --inference.",
            rich_help_panel=_HOW,
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            help="Of the Ray cluster: auto, HOST:PORT or ray://HOST:PORT.", rich_help_panel=_HOW
        ),
    ] = None,
    inference: Annotated[
        str | None,
        typer.Option(
            help="Engine of the network, for bundles: auto, onnx, openvino or torch. [auto]",
            rich_help_panel=_HOW,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="Threads of the engine or of OpenCV.", rich_help_panel=_HOW),
    ] = None,
    long_term: LongTerm = False,
    sets: Sets = None,
    robustness: Annotated[
        str,
        typer.Option(
            help="Curves as well, parted by commas: box, dropped, jpeg, noise, blur, resolution, "
            "or all. Each runs every sequence four or five times more.",
            rich_help_panel=_HOW,
        ),
    ] = "",
    presence: Annotated[
        bool,
        typer.Option(
            "--presence",
            help="Bundles: does the score tell the target from another sequence's? Its ROC AUC.",
            rich_help_panel=_HOW,
        ),
    ] = False,
    convention: Annotated[
        str | None,
        typer.Option(
            help="size: true width and height above 0; all-four: x and y too.",
            rich_help_panel=_COUNT,
        ),
    ] = None,
    absent: Annotated[
        str | None,
        typer.Option(
            help="Frames without the target: left-out, miss, near (a miss of overlap, a hit of "
            "distance), or near-normalized (a hit of normalized distance alone).",
            rich_help_panel=_COUNT,
        ),
    ] = None,
    count_first: Annotated[
        bool | None,
        typer.Option(
            "--count-first/--no-count-first",
            help="The given frame counts as a hit.",
            rich_help_panel=_COUNT,
        ),
    ] = None,
    attributes: Annotated[
        Path | None,
        typer.Option(
            help="Folder of attribute files that do not lie beside the data.",
            rich_help_panel=_COUNT,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Keep boxes, scores and times here, and the report; a second run does what is "
            "missing.",
            rich_help_panel=_OUT,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Folder for report.html, .md, .tex and .json. [--out]", rich_help_panel=_OUT
        ),
    ] = None,
    no_pictures: Annotated[
        bool,
        typer.Option(
            "--no-pictures",
            help="No film strips: a report without frames of the data set.",
            rich_help_panel=_OUT,
        ),
    ] = False,
    no_paper: Annotated[
        bool,
        typer.Option("--no-paper", help="Leave the paper's own rows out.", rich_help_panel=_OUT),
    ] = False,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the figures to this file.", rich_help_panel=_OUT),
    ] = None,
) -> None:
    """Measure trackers: success, precision, speed, with a report in pictures."""
    from ..evaluation import Study, TrackerSpec, write_report
    from ..evaluation.robustness import find_kinds
    from ..weights.files import make_folder
    from .eval_plan import Plan, check_json, check_trackers, distinct, find_engines, refuse

    check_json(json_file)
    kinds = find_kinds(name for name in robustness.split(",") if name)
    workers, network = find_engines(engine, address, inference)
    specs = distinct([TrackerSpec(text, engine=network, threads=threads) for text in trackers])
    settings = tuple(sorted(chosen_settings(sets, long_term=long_term).items()))
    specs = [replace(one, settings=settings) if one.is_bundle else one for one in specs]
    if presence:
        others: dict[str, object] = {
            "--out": out,
            "--report": report,
            "--robustness": kinds,
            "--jobs": jobs,
            "--engine ray": workers == "ray" or None,
            "--convention": convention,
            "--absent": absent,
            "--count-first": count_first,
            "--attributes": attributes,
            "--no-pictures": no_pictures or None,
            "--no-paper": no_paper or None,
        }
        refuse(others, "not with --presence, which looks at the scores of crops alone")
    else:
        check_trackers(specs, settings, kinds)
    plan = Plan(root, benchmark, names, max_frames, jobs, out, attributes)
    plan.workers, plan.address = workers, address
    plan.count(convention, absent, count_first)
    if presence:
        _write_json(json_file, [_presence(spec, plan.sequences) for spec in specs])
        return
    for spec in specs:
        plan.prepare(spec)
    for folder in (out, report):
        if folder is not None:
            make_folder(folder)
    reports = [plan.measure(spec) for spec in specs]
    curves = tuple(
        plan.robustness(spec, kinds, one) for spec, one in zip(specs, reports, strict=True) if kinds
    )
    study = Study(
        tuple(reports),
        tuple(plan.sequences),
        plan.found.benchmark,
        curves,
        paper=not no_paper,
    )
    from .eval_tables import print_losses, print_study

    print_study(study, list(plan.folders.values()))
    print_losses(study, specs, root)
    _write_json(json_file, [one.as_dict() for one in reports])
    if report or out:
        page = write_report(study, report or out or "", pictures=not no_pictures)
        typer.echo(f"report: {page}")


def _presence(spec: TrackerSpec, sequences: list[Sequence]) -> dict[str, object]:
    import numpy as np
    from rich.console import Console

    from ..errors import ConfigError
    from ..evaluation.presence import CROPS, presence
    from ..runtime.select import load_engine
    from ..tracking import Tracker
    from .eval_plan import refuse

    if not spec.is_bundle:
        raise ConfigError(f"presence needs a bundle with a score, not {spec.spec}")
    engine, config = load_engine(spec.what, engine=spec.engine, threads=spec.threads)
    if not config.has_score:
        raise ConfigError(f"{spec.spec} has no score head, so its score says nothing of presence")
    settings = Tracker.with_engine(engine, config, settings=dict(spec.settings)).settings
    unused = {f"--set {name}": name for name, _ in spec.settings if name not in CROPS}
    refuse(unused, f"nothing to crops; with --presence goes --set of {' and '.join(CROPS)}")
    result = presence(engine, settings, sequences)
    Console().print(
        f"{spec.label}: presence AUC {result.auc:.3f} "
        f"({len(result.present)} crops with the target, median score "
        f"{np.median(result.present):.2f}; {len(result.absent)} of other sequences, "
        f"median score {np.median(result.absent):.2f})",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return {"tracker": spec.label, "presence_auc": result.auc}


def _write_json(file: Path | None, figures: list[dict[str, object]]) -> None:
    from ..errors import OutputError

    if file is None:
        return
    try:
        file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"figures cannot be written to {file}: {error}") from error
