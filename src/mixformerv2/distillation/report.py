"""What came of a plan, as one HTML file: figures after each stage, and curves."""

from __future__ import annotations

import base64
import html
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import OutputError
from ..models.count import RULE, multiply_adds, parameters
from ..models.registry import build
from ..training.checkpoint import load_checkpoint
from ..training.monitor import duration, read_log
from ..training.outcome import read_outcome
from .plan import Plan, PlannedStage
from .records import last_evaluation

__all__ = ["StageFigures", "figures_of", "frame_times", "write_report"]


@dataclass(frozen=True)
class StageFigures:
    """What a stage led to.

    Attributes:
        name: Of the stage.
        kind: Of training.
        layers: Of the network that came out.
        mlp_ratio: Of its layers.
        head: Of its boxes.
        parameters: Numbers in it, fixed position embeddings included.
        multiply_adds: Of a frame, templates cached.
        cpu_ms: Median of a frame in PyTorch on the CPU.
        gpu_ms: The same on a GPU; None without one.
        iou: Of training samples, at the end.
        auc: Of what came out; None where it was not tracked after the last step.
        samples: That it learnt from.
        seconds: That it took.
    """

    name: str
    kind: str
    layers: int
    mlp_ratio: float
    head: str
    parameters: int
    multiply_adds: int
    cpu_ms: float
    gpu_ms: float | None
    iou: float | None
    auc: float | None
    samples: int
    seconds: float


def figures_of(stage: PlannedStage, cpu_ms: float, gpu_ms: float | None = None) -> StageFigures:
    """Read one stage that is done.

    Args:
        stage: It.
        cpu_ms: Time of a frame on the CPU, from `frame_times`.
        gpu_ms: On a GPU.
    """
    outcome = read_outcome(stage.folder)
    state = load_checkpoint(stage.folder, lazy=True)
    assert state is not None
    net = outcome.network
    log = list(read_log(stage.folder))
    last = [row for row in log if "iou" in row][-5:]
    return StageFigures(
        name=stage.name,
        kind=stage.config.stage,
        layers=net.depth,
        mlp_ratio=net.mlp_ratio,
        head=net.box_head,
        parameters=parameters(net),
        multiply_adds=multiply_adds(net),
        cpu_ms=cpu_ms,
        gpu_ms=gpu_ms,
        iou=statistics.fmean(row["iou"] for row in last) if last else None,
        auc=last_evaluation(stage),
        samples=state["samples"],
        seconds=state["seconds"],
    )


@torch.inference_mode()
def frame_times(stages: Sequence[PlannedStage], device: str, frames: int = 21) -> list[float]:
    """Milliseconds of one frame of each stage's network, its templates being cached.

    The networks take turns, a frame each, and the median counts: what else the machine does then
    slows all of them alike. Weights and pictures do not matter to the time.
    """
    steps = []
    for stage in stages:
        net = stage.outcome
        with torch.random.fork_rng(devices=[]):
            model = build(net).to(device).eval()
        template = torch.zeros(1, 3, net.template_size, net.template_size, device=device)
        search = torch.zeros(1, 3, net.search_size, net.search_size, device=device)
        steps.append((model, search, model.encode_templates(template, template)))
    times: list[list[float]] = [[] for _ in steps]
    for number in range(frames + 3):
        for (model, search, memory), spent in zip(steps, times, strict=True):
            began = time.perf_counter()
            model.step(search, memory)
            if device == "cuda":
                torch.cuda.synchronize()
            if number >= 3:
                spent.append(time.perf_counter() - began)
    return [1000 * statistics.median(spent) for spent in times]


def write_report(plan: Plan) -> Path:
    """Write `report.html` in the plan's folder; all stages must be done.

    Raises:
        OutputError: it cannot be written.
    """
    cpu = frame_times(plan.stages, "cpu")
    cuda = torch.cuda.is_available()
    gpu = frame_times(plan.stages, "cuda") if cuda else [None] * len(cpu)
    figures = [figures_of(*one) for one in zip(plan.stages, cpu, gpu, strict=True)]
    threads = torch.get_num_threads()
    path = plan.out / "report.html"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>{html.escape(plan.name)}</title><style>{_STYLE}</style>",
        f"<h1>{html.escape(plan.name)}</h1>",
        f"<pre>{html.escape(plan.about)}</pre>" if plan.about else "",
        _table(figures),
        f"<p class=note>Preset {plan.preset}. Multiply-adds: {html.escape(RULE)}, templates "
        f"cached. Times: medians of single frames in PyTorch on {threads} CPU "
        f"thread{'s' * (threads > 1)}, the networks taking turns; compare them with each other "
        "only.</p>",
    ]
    for stage, one in zip(plan.stages, figures, strict=True):
        parts.append(
            f"<h2>{html.escape(stage.name)}</h2><p>{html.escape(stage.config.stage)}, "
            f"{stage.config.optim.steps:,} steps, {one.samples:,} samples, "
            f"{duration(one.seconds)}</p>"
        )
        parts += [_picture(stage.folder / name) for name in ("curves.png", "sheet.png")]
    try:
        path.write_text("\n".join(parts) + "</html>\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write the report {path}: {error.strerror}") from error
    return path


def _table(figures: list[StageFigures]) -> str:
    heads = ["stage", "kind", "layers", "MLP", "head", "parameters", "multiply-adds", "CPU ms"]
    gpu = any(one.gpu_ms is not None for one in figures)
    heads += ["GPU ms"] * gpu + ["IoU in training", "AUC", "samples", "time"]
    rows = []
    for one in figures:
        cells = [
            one.name,
            one.kind.replace("_", " "),
            str(one.layers),
            f"{one.mlp_ratio:g}",
            one.head.replace("_", " "),
            f"{one.parameters / 1e6:.2f} M",
            f"{one.multiply_adds / 1e9:.2f} G",
            f"{one.cpu_ms:.1f}",
            *([f"{one.gpu_ms:.1f}" if one.gpu_ms is not None else ""] * gpu),
            "" if one.iou is None else f"{one.iou:.3f}",
            "not measured" if one.auc is None else f"{one.auc:.3f}",
            f"{one.samples:,}",
            duration(one.seconds),
        ]
        rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"


def _picture(path: Path) -> str:
    if not path.exists():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{path.stem}" src="data:image/png;base64,{data}">'


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem;
       color: #1c2530; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; font-size: .85em; } .wide { overflow-x: auto; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #d5dbe3; text-align: right;
         white-space: nowrap; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2), th:nth-child(5),
td:nth-child(5) { text-align: left; }
img { max-width: 100%; display: block; margin: .5rem 0; } .note { color: #5b6673; font-size: .9em; }
pre { white-space: pre-wrap; color: #5b6673; }
"""
