"""Pictures of a run: its curves, and a contact sheet of what the model makes of a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..weights.files import write_whole
from .log import read_log
from .stage import Batch, Stage

__all__ = ["write_curves", "write_sheet"]

_BESIDES = ("step", "samples", "lr", "samples_per_s")


def write_curves(folder: Path) -> None:
    """Plot a run's log as `curves.png`: IoU, loss, its terms, and evaluations where there are."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = list(read_log(folder))
    steps = [row for row in rows if "loss" in row]
    if not steps:
        return
    names = [name for name in steps[-1] if name not in _BESIDES]
    overlap = [name for name in names if name == "iou" or name.endswith("_iou")]
    terms = [name for name in names if name not in overlap and name != "loss"]
    figures = sorted({name for row in rows for name in row if name.startswith("eval_")})
    panels: list[tuple[str, list[str]]] = [("", overlap), ("", ["loss"]), ("", terms)]
    if figures:
        panels.append(("evaluation", figures))
    panels = [panel for panel in panels if panel[1]]
    figure, axes = plt.subplots(
        1, len(panels), figsize=(5 * len(panels), 4), layout="constrained", squeeze=False
    )
    for ax, (title, shown) in zip(axes[0], panels, strict=True):
        for name in shown:
            points = [(row["samples"] / 1000, row[name]) for row in rows if name in row]
            marker = "o" if title or len(points) < 3 else None  # a line needs two points
            ax.plot(*zip(*points, strict=True), label=name, lw=1, marker=marker, ms=3)
        if shown == terms:
            ax.set_yscale("log")
        ax.set_xlabel("thousand samples")
        # Below the axes, where it hides no curve however many terms there are.
        ax.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
        ax.grid(alpha=0.3)
    figure.savefig(folder / "curves.png", dpi=80)
    plt.close(figure)


@torch.no_grad()
def write_sheet(path: Path, stage: Stage, model: nn.Module, batch: Batch) -> None:
    """A contact sheet: template and search crop, truth green, prediction orange, score below."""
    import cv2

    device = next(model.parameters()).device
    model.eval()
    batch = {name: values[:24] for name, values in batch.items()}
    out = stage.predict(model, {name: values.to(device) for name, values in batch.items()})
    if out is None:
        return
    batch = {name: values.cpu() for name, values in batch.items()}
    cells = []
    side = batch["search"].shape[1]
    for i in range(len(batch["box"])):
        search = batch["search"][i].numpy().copy()
        if batch["present"][i]:
            _rectangle(search, batch["box"][i], (80, 220, 80))
        _rectangle(search, out.boxes[i].float().cpu(), (0, 140, 255))
        if out.score is not None:
            text = f"{float(out.score[i].sigmoid()):.2f}"
            cv2.putText(search, text, (3, side - 4), 0, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
        template = batch["template"][i].numpy()
        column = np.vstack([template, batch["online"][i].numpy()])
        cells.append(_beside(column, search))
    wide = min(6, len(cells))
    whole = len(cells) // wide * wide
    rows = [np.hstack(cells[i : i + wide]) for i in range(0, whole, wide)]
    write_whole(path, cv2.imencode(".png", np.vstack(rows))[1].tobytes())


def _beside(left: Any, right: Any) -> Any:
    """Two pictures side by side, the lower one on black."""
    height = max(left.shape[0], right.shape[0])
    padded = [np.pad(one, ((0, height - one.shape[0]), (0, 0), (0, 0))) for one in (left, right)]
    return np.hstack(padded)


def _rectangle(image: Any, box: Tensor, colour: tuple[int, int, int]) -> None:
    import cv2

    x1, y1, x2, y2 = (round(float(v) * image.shape[1]) for v in box)
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, 1)
