"""What came of a plan, as one HTML file: figures after each stage, and curves."""

from __future__ import annotations

import base64
import html
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..models.config import ModelConfig
from ..models.count import RULE, multiply_adds, parameters
from ..models.registry import build
from ..training.checkpoint import load_checkpoint
from ..training.log import read_log
from ..training.monitor import duration
from ..training.outcome import read_network
from ..weights.files import make_folder, write_whole
from .given import auc_of, given_teachers
from .plan import Plan, PlannedStage
from .records import last_evaluation, status

__all__ = ["StageFigures", "figures_of", "frame_times", "write_report"]


@dataclass(frozen=True)
class StageFigures:
    """What a stage led to, or a teacher from outside the plan.

    Attributes:
        name: Of the stage.
        kind: Of training; "given" for what the plan did not make.
        layers: Of the network that came out.
        mlp_ratio: Of its layers.
        head: Of its boxes.
        parameters: Numbers in it, fixed position embeddings included.
        multiply_adds: Of a frame, templates cached.
        cpu_ms: Median of a frame in PyTorch on the CPU.
        gpu_ms: The same on a GPU; None without one.
        iou: Of training samples, at the end; None where boxes do not learn.
        score: Cross-entropy of the score at the end of a score stage.
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
    iou: float | None = None
    score: float | None = None
    auc: float | None = None
    samples: int = 0
    seconds: float = 0.0


def figures_of(
    name: str,
    network: ModelConfig,
    cpu_ms: float,
    gpu_ms: float | None = None,
    stage: PlannedStage | None = None,
) -> StageFigures:
    """Read what came of a stage that is done, or of a teacher from outside the plan.

    Args:
        name: Of the stage or the teacher.
        network: What came out.
        cpu_ms: Time of a frame on the CPU, from `frame_times`.
        gpu_ms: On a GPU.
        stage: The stage; None for what the plan did not make.
    """
    network_figures = StageFigures(
        name=name,
        kind="given" if stage is None else stage.config.stage,
        layers=network.depth,
        mlp_ratio=network.mlp_ratio,
        head=network.box_head,
        parameters=parameters(network),
        multiply_adds=multiply_adds(network),
        cpu_ms=cpu_ms,
        gpu_ms=gpu_ms,
    )
    if stage is None:
        return network_figures
    state = load_checkpoint(stage.folder, lazy=True)
    assert state is not None
    is_score = stage.config.stage == "score"
    return replace(
        network_figures,
        iou=None if is_score else _at_the_end(stage, "iou"),
        score=_at_the_end(stage, "score") if is_score else None,
        auc=last_evaluation(stage),
        samples=state["samples"],
        seconds=state["seconds"],
    )


def _at_the_end(stage: PlannedStage, term: str) -> float | None:
    last = [row[term] for row in read_log(stage.folder) if term in row][-5:]
    return statistics.fmean(last) if last else None


@torch.inference_mode()
def frame_times(networks: Sequence[ModelConfig], device: str, frames: int = 21) -> list[float]:
    """Milliseconds of one frame of each network, its templates being cached.

    The networks take turns, a frame each, and the median counts: what else the machine does then
    slows all of them alike. Weights and pictures do not matter to the time.
    """
    steps = []
    for net in networks:
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
    """Write `report.html` in the plan's folder, of the stages that are done so far.

    Raises:
        OutputError: it cannot be written.
    """
    trained = [stage for stage in plan.stages if _is_trained(stage)]
    path = make_folder(plan.out) / "report.html"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>{html.escape(plan.name)}</title><style>{_STYLE}</style>",
        f"<h1>{html.escape(plan.name)}</h1>",
        f"<pre>{html.escape(plan.about)}</pre>" if plan.about else "",
    ]
    if trained:
        parts += [_table(_all_figures(plan, trained)), _note(plan)]
    left = [f"{one.name} ({status(one)})" for one in plan.stages if one not in trained]
    if left:
        parts.append(f"<p>Not done yet: {html.escape(', '.join(left))}.</p>")
    elif plan.result is not None:
        parts.append(f"<p>The tracker that came out:</p><pre>{html.escape(plan.result)}</pre>")
    for stage in plan.stages:
        parts += _section(stage)
    write_whole(path, ("\n".join(parts) + "</html>\n").encode())
    return path


def _is_trained(stage: PlannedStage) -> bool:
    state = load_checkpoint(stage.folder, lazy=True)
    return state is not None and state["step"] >= stage.config.optim.steps


def _all_figures(plan: Plan, trained: Sequence[PlannedStage]) -> list[StageFigures]:
    """Teachers from outside the plan first, then its stages, timed in turns."""
    used = {one.config.distill.teacher for one in trained}
    # A list, for a stage may be called as a teacher is: t under t.
    lines: list[tuple[str, ModelConfig, PlannedStage | None]] = [
        (name, read_network(name), None) for name in given_teachers(plan) if name in used
    ]
    lines += [(one.name, one.outcome, one) for one in trained]
    networks = [network for _, network, _ in lines]
    cpu = frame_times(networks, "cpu")
    gpu: Sequence[float | None] = [None] * len(cpu)
    if torch.cuda.is_available():
        gpu = frame_times(networks, "cuda")
    figures = [
        figures_of(name, network, on_cpu, on_gpu, stage)
        for (name, network, stage), on_cpu, on_gpu in zip(lines, cpu, gpu, strict=True)
    ]
    return [
        replace(one, auc=auc_of(plan, one.name)) if one.kind == "given" else one for one in figures
    ]


def _note(plan: Plan) -> str:
    threads = torch.get_num_threads()
    judged = sorted(
        {
            f"{f'at most {e.limit}' if e.limit else 'all'} sequences of {e.root}, at most "
            f"{e.max_frames} frames of each"
            for e in (one.config.eval for one in plan.stages)
            if e.root is not None
        }
    )
    auc = f" AUC: {html.escape('; '.join(judged))}." if judged else ""
    return (
        f"<p class=note>Preset {plan.preset}.{auc} Multiply-adds: {html.escape(RULE)}, templates "
        f"cached. Times: medians of single frames in PyTorch on {threads} CPU "
        f"thread{'s' * (threads > 1)}, the networks taking turns; compare them with each other "
        "only.</p>"
    )


def _section(stage: PlannedStage) -> list[str]:
    """A stage's curves and contact sheet, also of one that is under way."""
    state = load_checkpoint(stage.folder, lazy=True)
    if state is None:
        return []
    text = (
        f"<h2>{html.escape(stage.name)}</h2><p>{html.escape(stage.config.stage)}, step "
        f"{state['step']:,} of {stage.config.optim.steps:,}, {state['samples']:,} samples, "
        f"{duration(state['seconds'])}</p>"
    )
    return [text, *(_picture(stage.folder / name) for name in ("curves.png", "sheet.png"))]


def _table(figures: list[StageFigures]) -> str:
    heads = ["stage", "kind", "layers", "MLP", "head", "parameters", "multiply-adds", "CPU ms"]
    gpu = any(one.gpu_ms is not None for one in figures)
    score = any(one.score is not None for one in figures)
    heads += ["GPU ms"] * gpu + ["IoU in training"] + ["score loss"] * score
    heads += ["AUC", "samples", "time"]
    rows = []
    for one in figures:
        given = one.kind == "given"
        cells = [
            one.name,
            one.kind.replace("_", " "),
            str(one.layers),
            f"{one.mlp_ratio:g}",
            *_of_a_tracker(one, gpu),
            "" if one.iou is None else f"{one.iou:.3f}",
            *(["" if one.score is None else f"{one.score:.3f}"] * score),
            f"{one.auc:.3f}" if one.auc is not None else _without_auc(one),
            "" if given else f"{one.samples:,}",
            "" if given else duration(one.seconds),
        ]
        rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<div class=wide><table><tr>{head}</tr>{body}</table></div>"


def _of_a_tracker(one: StageFigures, gpu: bool) -> list[str]:
    """Cells of head, size and speed; a pre-trained backbone tracks nothing and has none of them."""
    if one.kind == "mae":
        return ["none", "", "", "", *([""] * gpu)]
    return [
        one.head.replace("_", " "),
        f"{one.parameters / 1e6:.2f} M",
        f"{one.multiply_adds / 1e9:.2f} G",
        f"{one.cpu_ms:.1f}",
        *([f"{one.gpu_ms:.1f}" if one.gpu_ms is not None else ""] * gpu),
    ]


def _without_auc(one: StageFigures) -> str:
    return "no tracker" if one.kind == "mae" else "not measured"


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
th, td { padding: .3rem .45rem; border-bottom: 1px solid #d5dbe3; text-align: right;
         white-space: nowrap; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2), th:nth-child(5),
td:nth-child(5) { text-align: left; }
img { max-width: 100%; display: block; margin: .5rem 0; } .note { color: #5b6673; font-size: .9em; }
pre { white-space: pre-wrap; color: #5b6673; }
"""
