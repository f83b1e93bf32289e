"""`mixformerv2 bench --paper`: the paper's tables on speed and size, measured here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["refuse_figure", "refuse_missing_folder", "run_paper"]


def run_paper(
    *,
    size: tuple[int, int],
    threads: int | None,
    rounds: int,
    cpu_time: bool,
    json_file: Path | None,
    markdown_file: Path | None,
    figure: Path | None,
) -> None:
    """Measure, print as Markdown, and write what is asked for.

    Raises:
        EngineError: PyTorch is not installed.
        OutputError: a file cannot be written.
    """
    from ..errors import EngineError

    try:
        import torch
    except ModuleNotFoundError as error:
        raise EngineError(
            "the paper's networks run in PyTorch, which is not installed; "
            "pip install 'mixformerv2[torch]'"
        ) from error
    from ..paper.report import markdown

    if cpu_time or threads is not None:
        torch.set_num_threads(1 if cpu_time else threads or 1)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() and not cpu_time else ["cpu"]
    figures = _measure(devices, size, rounds, cpu_time)
    text = markdown(figures)
    print(text)
    if json_file is not None:
        _write(json_file, json.dumps(figures, indent=2) + "\n")
    if markdown_file is not None:
        _write(markdown_file, text)
    if figure is not None:
        from ..paper.figure import draw_figure

        draw_figure(figures, figure)


def _measure(
    devices: list[str], size: tuple[int, int], rounds: int, cpu_time: bool
) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import Progress

    from ..evaluation.speed import Clip
    from ..paper.rows import paper_rows
    from ..paper.speed import WAYS, measure

    rows = paper_rows()
    turns = len(rows) * len(WAYS) * rounds * len(devices)
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("networks of the paper", total=turns)
        return measure(
            rows,
            devices=devices,
            rounds=rounds,
            clip=Clip.moving(*size),
            cpu_time=cpu_time,
            progress=lambda: bar.advance(task),
        )


def refuse_missing_folder(path: Path | None) -> None:
    """Before minutes of work, not after."""
    from ..errors import OutputError

    if path is not None and not path.absolute().parent.is_dir():
        raise OutputError(f"cannot write {path}: its folder does not exist")


def refuse_figure(path: Path | None) -> None:
    """Before minutes of measuring too."""
    from ..errors import ConfigError, EngineError

    if path is None:
        return
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ModuleNotFoundError as error:
        raise EngineError(
            "a figure needs matplotlib, which is not installed; pip install 'mixformerv2[eval]'"
        ) from error
    if path.suffix[1:].lower() not in FigureCanvasBase.get_supported_filetypes():
        raise ConfigError(f"a figure is a file called .png, .svg or .pdf, got {path.name}")


def _write(path: Path, text: str) -> None:
    from ..errors import OutputError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"figures cannot be written to {path}: {error.strerror}") from error
