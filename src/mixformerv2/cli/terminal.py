"""What the user sees while a run goes on: one line of progress, and warnings as sentences."""

from __future__ import annotations

import logging
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..tracking.result import TrackResult

__all__ = ["Watcher", "progress", "say", "sentences", "waiting"]


class Watcher(Protocol):
    """Is told the results of each frame."""

    def __call__(self, results: dict[int, TrackResult]) -> None: ...


def say(line: str, *, aside: bool = False) -> None:
    """Print a line for the user; that nobody can read it is no reason to fail.

    Args:
        line: What to say.
        aside: On stderr, because results come out on stdout.
    """
    with suppress(OSError):
        print(line, flush=True, file=sys.stderr if aside else sys.stdout)


@contextmanager
def sentences(*, quiet: bool) -> Iterator[None]:
    """Show warnings of the library as single lines on stderr; none at all when quiet."""
    root = logging.getLogger("mixformerv2")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    handler.setLevel(logging.CRITICAL if quiet else logging.WARNING)
    root.addHandler(handler)
    root.propagate = False
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)

        def show(message: Warning | str, category: type[Warning], *rest: object) -> None:
            if issubclass(category, UserWarning):
                root.warning("%s", message)

        warnings.showwarning = show  # type: ignore[assignment]
        try:
            yield
        finally:
            root.removeHandler(handler)
            root.propagate = True


@contextmanager
def progress(name: str, count: int | None, *, quiet: bool) -> Iterator[Watcher]:
    """A bar with frames, rate and remaining time, on stderr, where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda results: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn(f"[bold]{escape(name)}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[state]}"),
        console=Console(stderr=True),
        transient=True,
        expand=True,
    )
    task = bar.add_task("", total=count, rate="", state="")

    def watch(results: dict[int, TrackResult]) -> None:
        speed = bar.tasks[0].speed
        rate = f"{speed:.0f} fps" if speed else ""
        bar.update(task, advance=1, rate=rate, state=_state(results))

    with bar:
        yield watch


@contextmanager
def waiting(name: str) -> Iterator[Callable[[str], None]]:
    """One line on stderr, where that is a terminal, that says what is done and since when."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    line = Progress(*columns, console=Console(stderr=True), transient=True)
    task = line.add_task(escape(name), total=None)
    with line:
        yield lambda step: line.update(task, description=escape(f"{name}: {step}"))


_COLOURS = {"tracked": "green", "uncertain": "yellow", "lost": "red"}


def _state(results: dict[int, TrackResult]) -> str:
    """One object's state and score, or how many are in which state."""
    if len(results) == 1:
        (result,) = results.values()
        return f"[{_COLOURS[result.state]}]{result.state} {result.score:.2f}"
    counts = Counter(result.state for result in results.values())
    return " ".join(f"[{_COLOURS[state]}]{number} {state}[/]" for state, number in counts.items())
