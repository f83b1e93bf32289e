"""`mixformerv2 eval`: trackers side by side on a benchmark, with a report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .chosen import LongTerm, Sets, chosen_settings

if TYPE_CHECKING:
    from ..evaluation import Report, Sequence, TrackerSpec
    from ..evaluation.catalog import Found
    from ..evaluation.robustness import Curve, Kind

__all__ = ["run"]

EPILOG = (
    "Exit codes: 0 done, 2 wrong option, 5 output, 6 bundle, 9 data. A sequence in which a tracker "
    "fails counts with zeros and is named; the run goes on and ends with 0."
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
            "or all. Each runs every sequence four times more.",
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
            help="Frames without the target: left-out, miss, or near (a miss of overlap, a hit of "
            "distance).",
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
    from ..errors import OutputError
    from ..evaluation import Study, TrackerSpec, write_report
    from ..evaluation.robustness import find_kinds

    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise OutputError(f"--json {json_file} cannot be written: its folder is not there")
    kinds = find_kinds(name for name in robustness.split(",") if name)
    workers, network = _engines(engine, address, inference)
    specs = _distinct([TrackerSpec(text, engine=network, threads=threads) for text in trackers])
    settings = tuple(sorted(chosen_settings(sets, long_term=long_term).items()))
    specs = [replace(one, settings=settings) if one.is_bundle else one for one in specs]
    plan = _Plan(root, benchmark, names, max_frames, jobs, out, attributes)
    plan.workers, plan.address = workers, address
    plan.count(convention, absent, count_first)
    if presence:
        _write_json(json_file, [_presence(spec, plan.sequences) for spec in specs])
        return
    for spec in specs:
        spec.identity()  # a tracker that cannot be had is said before an hour of others
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
    from .eval_tables import print_study

    print_study(study, plan.folders)
    _write_json(json_file, [one.as_dict() for one in reports])
    if report or out:
        page = write_report(study, report or out or "", pictures=not no_pictures)
        typer.echo(f"report: {page}")


def _engines(engine: str, address: str | None, inference: str | None) -> tuple[str, str]:
    """Who does the work, and the engine of the network."""
    from ..errors import ConfigError
    from ..runtime.select import ENGINES

    if engine in ENGINES and inference is None:
        engine, inference = "local", engine
    if engine not in ("local", "ray"):
        raise ConfigError(
            f"--engine says who does the work, local or ray, got {engine!r}; the engine of the "
            f"network is --inference, one of {', '.join(ENGINES)}"
        )
    if address is not None and engine != "ray":
        raise ConfigError(f"--address {address} is for --engine ray")
    return engine, inference or "auto"


def _distinct(specs: list[TrackerSpec]) -> list[TrackerSpec]:
    from ..errors import ConfigError

    labels = [spec.label for spec in specs]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(f"two trackers are called {label}; name one: mine={label}")
    return specs


class _Plan:
    """What is measured, and how."""

    def __init__(
        self,
        root: Path,
        benchmark: str,
        names: str,
        max_frames: int | None,
        jobs: int | None,
        out: Path | None,
        attributes: Path | None,
    ) -> None:
        from ..errors import ConfigError
        from ..evaluation.catalog import find_benchmark, read_benchmark

        chosen = find_benchmark(benchmark)
        if max_frames is None:
            max_frames = chosen.max_frames
        self.max_frames = max_frames or None
        if self.max_frames is not None and self.max_frames < 2:
            raise ConfigError(f"max_frames must be at least 2, got {max_frames}")
        if jobs is not None and jobs < 1:
            raise ConfigError(f"jobs must be at least 1, got {jobs}")
        only = [name for name in names.split(",") if name] or None
        self.found: Found = read_benchmark(benchmark, root, only, attributes=attributes)
        self.sequences: list[Sequence] = [
            one.first(self.max_frames) for one in self.found.sequences
        ]
        self.root, self.jobs, self.out = root, jobs, out
        self.workers = "local"
        self.address: str | None = None
        self.counting = self.found.benchmark.counting
        self.folders: list[Path] = []

    def count(self, convention: str | None, absent: str | None, first: bool | None) -> None:
        """Take the user's rules of counting."""
        changes: dict[str, Any] = {"convention": convention, "absent": absent, "first": first}
        given = {key: value for key, value in changes.items() if value is not None}
        self.counting = replace(self.counting, **given)

    def measure(self, spec: TrackerSpec) -> Report:
        """One tracker, with a bar."""
        from ..evaluation.run import results_folder

        folder = None
        if self.out is not None and spec.folder is None:
            folder = results_folder(self.out, spec, self.root, self.max_frames)
            self.folders.append(folder)
        return self._run(spec, spec.label, self.sequences, folder)

    def robustness(self, spec: TrackerSpec, kinds: list[Kind], clean: Report) -> tuple[Curve, ...]:
        """Its curves; results of others have none."""
        from ..errors import ConfigError
        from ..evaluation.robustness import robustness
        from ..evaluation.run import results_folder

        if spec.folder is not None:
            raise ConfigError(f"{spec.spec} cannot be run, so it has no robustness curves")
        label = ""

        def say(kind: Kind, level: float) -> None:
            nonlocal label
            label = f"{spec.label}: {kind.title.lower()} {level:g}"

        folder = None
        if self.out is not None:
            folder = results_folder(self.out, spec, self.root, self.max_frames) / "robustness"
        return robustness(
            lambda sequences, place: self._run(spec, label, sequences, place),
            self.sequences,
            kinds,
            self.found.benchmark.columns[0],
            clean=clean,
            out=folder,
            progress=say,
        )

    def _run(
        self, spec: TrackerSpec, title: str, sequences: list[Sequence], folder: Path | None
    ) -> Report:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeElapsedColumn as Elapsed

        from ..evaluation import measure

        console = Console(stderr=True)
        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            Elapsed(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        with bar:
            task = bar.add_task(title, total=len(sequences))
            return measure(
                spec,
                sequences,
                benchmark=self.found.benchmark,
                counting=self.counting,
                max_frames=self.max_frames,
                out=folder,
                jobs=self.jobs or (1 if self.workers == "local" else None),
                cluster=self.workers,
                address=self.address,
                remarks=self.found.remarks,
                progress=lambda _: bar.advance(task),
            )


def _presence(spec: TrackerSpec, sequences: list[Sequence]) -> dict[str, object]:
    import numpy as np
    from rich.console import Console

    from ..errors import ConfigError
    from ..evaluation.presence import presence
    from ..runtime.select import load_engine

    if not spec.is_bundle:
        raise ConfigError(f"presence needs a bundle with a score, not {spec.spec}")
    engine, config = load_engine(spec.what, engine=spec.engine, threads=spec.threads)
    if not config.has_score:
        raise ConfigError(f"{spec.spec} has no score head, so its score says nothing of presence")
    result = presence(engine, config.tracker, sequences)
    Console().print(
        f"{spec.label}: presence AUC {result.auc:.3f} "
        f"({len(result.present)} crops with the target, median score "
        f"{np.median(result.present):.2f}; {len(result.absent)} of other sequences, "
        f"median score {np.median(result.absent):.2f})",
        highlight=False,
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
