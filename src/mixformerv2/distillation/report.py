"""What came of a plan, as one HTML file: figures after each stage, and curves."""

from __future__ import annotations

import base64
import html
import statistics
import time
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

__all__ = ["StageFigures", "figures_of", "write_report"]


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
        auc: Of the last evaluation; None without one.
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


def figures_of(stage: PlannedStage, frames: int = 15) -> StageFigures:
    """Read and measure one stage that is done.

    Args:
        stage: It.
        frames: Timed frames; their median counts.
    """
    outcome = read_outcome(stage.folder)
    state = load_checkpoint(stage.folder)
    assert state is not None
    net = outcome.network
    log = list(read_log(stage.folder))
    last = [row for row in log if "iou" in row][-5:]
    evaluated = [row["eval_auc"] for row in log if "eval_auc" in row]
    cuda = torch.cuda.is_available()
    return StageFigures(
        name=stage.name,
        kind=stage.config.stage,
        layers=net.depth,
        mlp_ratio=net.mlp_ratio,
        head=net.box_head,
        parameters=parameters(net),
        multiply_adds=multiply_adds(net),
        cpu_ms=_milliseconds(stage, "cpu", frames),
        gpu_ms=_milliseconds(stage, "cuda", frames) if cuda else None,
        iou=statistics.fmean(row["iou"] for row in last) if last else None,
        auc=evaluated[-1] if evaluated else None,
        samples=state["samples"],
        seconds=state["seconds"],
    )


@torch.inference_mode()
def _milliseconds(stage: PlannedStage, device: str, frames: int) -> float:
    """Median time of one frame, the templates being cached; their content does not matter."""
    net = stage.outcome
    with torch.random.fork_rng(devices=[]):
        model = build(net).to(device).eval()
    template = torch.zeros(1, 3, net.template_size, net.template_size, device=device)
    search = torch.zeros(1, 3, net.search_size, net.search_size, device=device)
    memory = model.encode_templates(template, template)
    times = []
    for _ in range(frames + 3):
        began = time.perf_counter()
        model.step(search, memory)
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times[3:])


def write_report(plan: Plan) -> Path:
    """Write `report.html` in the plan's folder; all stages must be done.

    Raises:
        OutputError: it cannot be written.
    """
    figures = [figures_of(stage) for stage in plan.stages]
    path = plan.out / "report.html"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>{html.escape(plan.name)}</title><style>{_STYLE}</style>",
        f"<h1>{html.escape(plan.name)}</h1>",
        f"<pre>{html.escape(plan.about)}</pre>" if plan.about else "",
        _table(figures),
        f"<p class=note>Preset {plan.preset}. Multiply-adds: {html.escape(RULE)}, templates "
        f"cached. Times: median of single frames in PyTorch, {torch.get_num_threads()} CPU "
        "threads, one after the other on a machine that may have been busy; compare them with each "
        "other only.</p>",
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
            one.kind,
            str(one.layers),
            f"{one.mlp_ratio:g}",
            one.head,
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
table { border-collapse: collapse; } .wide { overflow-x: auto; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #d5dbe3; text-align: right;
         white-space: nowrap; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2), th:nth-child(5),
td:nth-child(5) { text-align: left; }
img { max-width: 100%; display: block; margin: .5rem 0; } .note { color: #5b6673; font-size: .9em; }
pre { white-space: pre-wrap; color: #5b6673; }
"""
