"""What `mixformerv2 eval` is asked to do: options that fit each other, and the runs of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, OutputError

if TYPE_CHECKING:
    from ..evaluation import Report, TrackerSpec
    from ..evaluation import Sequence as Video
    from ..evaluation.catalog import Found
    from ..evaluation.robustness import Curve, Kind

__all__ = ["Plan", "check_json", "check_trackers", "distinct", "find_engines", "refuse"]


def find_engines(engine: str, address: str | None, inference: str | None) -> tuple[str, str]:
    """Who does the work, and the engine of the network."""
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


def distinct(specs: list[TrackerSpec]) -> list[TrackerSpec]:
    """The same, each with a label of its own."""
    labels = [spec.label for spec in specs]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(f"two trackers are called {label}; name one: mine={label}")
    return specs


def refuse(options: Mapping[str, object], why: str) -> None:
    """Refuse options that were given, but cannot be followed; those that were not are empty.

    Raises:
        ConfigError: one was given.
    """
    given = [name for name, value in options.items() if value not in (None, [], ())]
    if given:
        raise ConfigError(f"{', '.join(given)}: {why}")


def check_json(file: Path | None) -> None:
    """Say before any work that a file of figures cannot be written."""
    if file is not None and not file.absolute().parent.is_dir():
        raise OutputError(f"--json {file} cannot be written: its folder is not there")
    if file is not None and file.is_dir():
        raise OutputError(f"--json {file} is a folder; name a file in it")


def check_trackers(
    specs: list[TrackerSpec], settings: Sequence[tuple[str, object]], kinds: list[Kind]
) -> None:
    """Refuse options that none of the trackers can follow, or that one of them cannot."""
    names, found = ", ".join(spec.spec for spec in specs), {spec.kind for spec in specs}
    if "bundle" not in found:
        long_term = {"long_term": "--long-term"}
        options = {long_term.get(name, f"--set {name}"): name for name, _ in settings}
        if specs[0].engine != "auto":
            options[f"--inference {specs[0].engine}"] = specs[0].engine
        refuse(options, f"for bundles, not for {names}")
    if not found & {"bundle", "opencv"}:
        refuse({"--threads": specs[0].threads}, f"for bundles and OpenCV, not for {names}")
    for spec in specs:
        if kinds and spec.folder is not None:
            raise ConfigError(f"{spec.spec} cannot be run, so it has no robustness curves")


class Plan:
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
        self.sequences: list[Video] = [one.first(self.max_frames) for one in self.found.sequences]
        self.root, self.jobs, self.out = root, jobs, out
        self.workers = "local"
        self.address: str | None = None
        self.counting = self.found.benchmark.counting
        self.folders: dict[str, Path] = {}

    def count(self, convention: str | None, absent: str | None, first: bool | None) -> None:
        """Take the user's rules of counting."""
        changes: dict[str, Any] = {"convention": convention, "absent": absent, "first": first}
        given = {key: value for key, value in changes.items() if value is not None}
        self.counting = replace(self.counting, **given)

    def prepare(self, spec: TrackerSpec) -> None:
        """Make a tracker's folder; one that cannot be had is said before an hour of others."""
        from ..evaluation.results import check_results
        from ..evaluation.run import results_folder

        if self.out is None or spec.folder is not None:
            spec.identity()
            if spec.folder is not None:
                check_results(spec.folder, self.sequences)
            return
        # Benchmarks and layouts read other sequences, or other coordinates, from one root.
        self.folders[spec.label] = results_folder(
            self.out,
            spec,
            self.root,
            self.max_frames,
            benchmark=self.found.benchmark.name,
            layout=self.sequences[0].layout,
        )

    def measure(self, spec: TrackerSpec) -> Report:
        """One tracker, with a bar."""
        return self._run(spec, spec.label, self.sequences, self.folders.get(spec.label))

    def robustness(self, spec: TrackerSpec, kinds: list[Kind], clean: Report) -> tuple[Curve, ...]:
        """Its curves."""
        from ..evaluation.robustness import robustness

        label = ""

        def say(kind: Kind, level: float) -> None:
            nonlocal label
            label = f"{spec.label}: {kind.title.lower()} {level:g}"

        folder = self.folders.get(spec.label)
        return robustness(
            lambda sequences, place: self._run(spec, label, sequences, place),
            self.sequences,
            kinds,
            self.found.benchmark.columns[0],
            clean=clean,
            out=None if folder is None else folder / "robustness",
            progress=say,
        )

    def _run(
        self, spec: TrackerSpec, title: str, sequences: list[Video], folder: Path | None
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
