"""What a run shows while it runs: a JSONL log, a live table, TensorBoard where it is installed."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import OutputError
from .config import TrainConfig
from .log import forget_after
from .stage import Batch, Stage

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Monitor", "duration"]

_logger = logging.getLogger(__name__)
_MAIN = ("loss", "iou", "dense_iou")


class Monitor:
    """Collects the loss terms and writes what people look at into the run's folder.

    `log.jsonl` has one line each `log_every` steps and after the last, and one for each evaluation;
    `curves.png` and `sheet.png` are made at each checkpoint.

    Args:
        folder: The run's folder.
        config: The run.
        start: Step at which it goes on.
        world: Processes that take part.
        shown: Whether this process is the one that writes.
    """

    def __init__(
        self, folder: Path, config: TrainConfig, start: int, world: int = 1, shown: bool = True
    ) -> None:
        self.folder = folder
        self.config = config
        self.shown = shown
        self.per_step = config.optim.batch * config.optim.accumulate * world
        self._sums: dict[str, float] = {}
        self._count = 0
        self._since = time.monotonic()
        self._evaluation: dict[str, float] = {}
        if not shown:
            return
        try:
            forget_after(folder, start)
            self._file = (folder / "log.jsonl").open("a", encoding="utf-8")
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(
                f"cannot write the log {folder / 'log.jsonl'}: {error.strerror}; give a folder "
                "that can be written (--out)"
            ) from error
        self._board = _tensorboard(folder, start)
        self._live: Any = None
        self._tty = sys.stderr.isatty()

    def log(self, step: int, rate: float, terms: dict[str, float]) -> None:
        """Take note of one step; write a line now and then."""
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        last = step == self.config.optim.steps
        if not self.shown or (step % self.config.log_every and not last):
            return
        now = time.monotonic()
        means = {name: value / self._count for name, value in self._sums.items()}
        speed = self._count * self.per_step / max(1e-9, now - self._since)
        line = {"step": step, "samples": step * self.per_step, "lr": rate, "samples_per_s": speed}
        self._write(line | means)
        self._show(step, rate, speed, means)
        self._sums, self._count, self._since = {}, 0, now

    def evaluated(self, step: int, figures: dict[str, float], seconds: float) -> None:
        """Write the figures of an evaluation of whole sequences."""
        if not self.shown:
            return
        named = {f"eval_{name}": value for name, value in figures.items()}
        line = {"step": step, "samples": step * self.per_step, **named}
        self._write({**line, "evaluated": self.config.eval.what})
        self._evaluation = figures
        self._say(
            f"step {step}  evaluation: "
            + "  ".join(f"{name} {value:.3f}" for name, value in figures.items())
            + f"  ({duration(seconds)})"
        )
        self._since += seconds  # the speed is that of training

    def look(self, stage: Stage, model: nn.Module, batch: Batch) -> None:
        """Draw curves, and a contact sheet of what the model makes of a batch."""
        from .pictures import write_curves, write_sheet

        before = time.monotonic()
        try:
            write_curves(self.folder)
            write_sheet(self.folder / "sheet.png", stage, model, batch)
        except Exception as error:  # pictures are no reason to end a run
            _logger.warning("the pictures in %s cannot be made: %s", self.folder, error)
        self._since += time.monotonic() - before

    def close(self) -> None:
        """End the log."""
        if not self.shown:
            return
        self._file.close()
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._board is not None:
            self._board.close()

    def _write(self, line: Mapping[str, float | str]) -> None:
        try:
            said = {k: _short(v) for k, v in line.items() if isinstance(v, str) or isfinite(v)}
            self._file.write(json.dumps(said) + "\n")  # JSON has no NaN
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"cannot write the log {self.folder / 'log.jsonl'}: {error.strerror}; the last "
                "checkpoint is untouched"
            ) from error
        if self._board is not None:
            for name, value in line.items():
                if name not in ("step", "samples", "evaluated"):
                    self._board.add_scalar(name, value, int(line["step"]))

    def _say(self, text: str) -> None:
        if self._live is not None:
            self._live.console.print(text)
        else:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def _show(self, step: int, rate: float, speed: float, means: dict[str, float]) -> None:
        steps = self.config.optim.steps
        left = duration((steps - step) * self.per_step / speed)
        if not self._tty:
            parts = [f"step {step}/{steps}"]
            parts += [f"{name} {means[name]:.3f}" for name in _MAIN if name in means]
            self._say("  ".join([*parts, f"{speed:.0f} samples/s", f"{left} left"]))
            return
        if self._live is None:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False)
            self._live.start()
        self._live.update(self._table(step, rate, speed, left, means), refresh=True)

    def _table(
        self, step: int, rate: float, speed: float, left: str, means: dict[str, float]
    ) -> Table:
        from rich.table import Table

        steps = self.config.optim.steps
        table = Table(title=f"{self.folder}: {self.config.stage}", title_justify="left")
        for heading in ("run", "", "term", "", "weighted"):
            table.add_column(heading, justify="left" if heading in ("run", "term") else "right")
        run = [
            ("step", f"{step} of {steps}, {100 * step / steps:.0f} %"),
            ("left", left),
            ("samples/s", f"{speed:.0f}"),
            ("samples", f"{step * self.per_step:,}"),
            ("rate", f"{rate:.2e}"),
            *((f"eval {name}", f"{value:.3f}") for name, value in self._evaluation.items()),
        ]
        terms = []
        for name, value in means.items():
            weight = getattr(self.config.loss, name, None)
            weighted = "" if weight is None else f"{weight * value:.3f}"
            terms.append((name, f"{value:.4f}", weighted))
        for row in range(max(len(run), len(terms))):
            table.add_row(
                *(run[row] if row < len(run) else ("", "")),
                *(terms[row] if row < len(terms) else ("", "", "")),
            )
        return table


def duration(seconds: float) -> str:
    """A time for people.

    Example:
        >>> duration(42), duration(60), duration(750), duration(9000), duration(400000)
        ('42 s', '1 min', '12 min', '2 h 30 min', '4 d 15 h')
    """
    minutes = int(seconds / 60)
    if seconds < 60:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def _short(value: float | str) -> float | str:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _tensorboard(folder: Path, step: int) -> Any:
    """A writer of TensorBoard events in the run's folder, or None where it is not installed."""
    if find_spec("tensorboard") is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
    except Exception as error:  # an installation that does not fit must not stop a run
        _logger.warning("TensorBoard is installed but cannot be used: %s", error)
        return None
