"""What a run shows: a JSONL log, a line of progress, curves and contact sheets."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .config import TrainConfig

__all__ = ["Monitor", "read_log"]


class Monitor:
    """Collects the loss terms and writes what people look at into the run's folder.

    `log.jsonl` has one line each `log_every` steps; `curves.png` and `sheet.png` are made at each
    checkpoint.
    """

    def __init__(self, folder: Path, config: TrainConfig, start: int) -> None:
        self.folder = folder
        self.config = config
        _forget_after(folder, start)
        self._file = (folder / "log.jsonl").open("a", encoding="utf-8")
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._since = time.monotonic()

    def log(self, step: int, rate: float, terms: dict[str, Tensor]) -> None:
        """Take note of one step; write a line now and then."""
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value
        self._count += 1
        if step % self.config.log_every:
            return
        now = time.monotonic()
        means = {name: float(v) / self._count for name, v in self._sums.items()}
        batch = self.config.optim.batch * self.config.optim.accumulate
        speed = self._count * batch / max(1e-9, now - self._since)
        line = {"step": step, "samples": step * batch, "lr": rate, "samples_per_s": speed, **means}
        self._file.write(json.dumps({k: _short(v) for k, v in line.items()}) + "\n")
        self._file.flush()
        self._show(step, speed, means)
        self._sums, self._count, self._since = {}, 0, now

    def _show(self, step: int, speed: float, means: dict[str, float]) -> None:
        optim = self.config.optim
        left = (optim.steps - step) * optim.batch * optim.accumulate / speed
        text = (
            f"step {step}/{optim.steps}  loss {means['loss']:.3f}  IoU {means['iou']:.3f}"
            f"  dense IoU {means.get('dense_iou', 0):.3f}  {speed:.0f} samples/s"
            f"  {left / 60:.0f} min left"
        )
        end = "\r" if sys.stderr.isatty() else "\n"
        sys.stderr.write(text + end)
        sys.stderr.flush()

    def look(self, model: nn.Module, batch: dict[str, Tensor]) -> None:
        """Draw curves, and a contact sheet of what the model makes of a batch."""
        write_curves(self.folder)
        write_sheet(self.folder / "sheet.png", model, batch)

    def close(self) -> None:
        """End the log."""
        self._file.close()


def _short(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.6g}")


def read_log(folder: Path) -> Iterator[dict[str, float]]:
    """The lines of a run's log, oldest first; a half-written last line is left out."""
    with (folder / "log.jsonl").open(encoding="utf-8") as file:
        for line in file:
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                return


def _forget_after(folder: Path, step: int) -> None:
    """Drop lines of steps that were lost with a kill and are now done again."""
    path = folder / "log.jsonl"
    if path.exists():
        kept = [json.dumps(row) + "\n" for row in read_log(folder) if row["step"] <= step]
        path.write_text("".join(kept), encoding="utf-8")


def write_curves(folder: Path) -> None:
    """Plot a run's log as `curves.png`."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = list(read_log(folder))
    if not rows:
        return
    figure, axes = plt.subplots(1, 3, figsize=(15, 4), layout="constrained")
    samples = [row["samples"] / 1000 for row in rows]
    for ax, names in zip(
        axes,
        (("iou", "dense_iou"), ("sides", "dense", "dense_to_sparse"), ("score", "inside", "l1")),
        strict=True,
    ):
        for name in names:
            if name in rows[-1]:
                ax.plot(samples, [row.get(name, np.nan) for row in rows], label=name, lw=1)
        ax.set_xlabel("thousand samples")
        ax.legend()
        ax.grid(alpha=0.3)
    figure.savefig(folder / "curves.png", dpi=80)
    plt.close(figure)


@torch.no_grad()
def write_sheet(path: Path, model: nn.Module, batch: dict[str, Tensor]) -> None:
    """A contact sheet: template and search crop, truth green, prediction orange, score below."""
    import cv2

    device = next(model.parameters()).device
    model.eval()
    batch = {name: values[:24] for name, values in batch.items()}
    out = model(*(batch[name].to(device) for name in ("template", "online", "search")))
    batch = {name: values.cpu() for name, values in batch.items()}
    cells = []
    side = batch["search"].shape[1]
    for i in range(len(batch["box"])):
        search = batch["search"][i].numpy().copy()
        if batch["present"][i]:
            _rectangle(search, batch["box"][i], (80, 220, 80))
        _rectangle(search, out.boxes[i].cpu(), (0, 140, 255))
        if out.score is not None:
            text = f"{float(out.score[i].sigmoid()):.2f}"
            cv2.putText(search, text, (3, side - 4), 0, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
        template = batch["template"][i].numpy()
        column = np.zeros((side, template.shape[1], 3), np.uint8)
        column[: template.shape[0]] = template
        room = min(template.shape[0], side - template.shape[0])
        column[-room:] = batch["online"][i].numpy()[:room]
        cells.append(np.hstack([column, search]))
    wide = min(6, len(cells))
    whole = len(cells) // wide * wide
    rows = [np.hstack(cells[i : i + wide]) for i in range(0, whole, wide)]
    cv2.imwrite(str(path), np.vstack(rows))


def _rectangle(image: np.ndarray, box: Tensor, colour: tuple[int, int, int]) -> None:
    import cv2

    x1, y1, x2, y2 = (round(float(v) * image.shape[1]) for v in box)
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, 1)
