"""`mixformerv2 export`: the two ONNX graphs of a bundle, checked against PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..export import Parity

__all__ = ["run"]


def run(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="Name of a shipped bundle, or a bundle folder.")
    ],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="Folder for the bundle with graphs; may be BUNDLE."),
    ],
) -> None:
    """Write template.onnx and search.onnx, and check them against PyTorch.

    Both take crops of bytes as OpenCV has them: channel order and normalisation are inside the
    graphs. Batch and number of templates are free. Nothing is written where any output differs
    from PyTorch's by more than 1e-4.
    """
    from ..export import export_bundle

    _print(out, export_bundle(bundle, out))


def _print(out: Path, parity: list[Parity]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="largest difference from PyTorch, ONNX Runtime on the CPU", title_style="")
    for name in ("batch", "templates", "memory", "boxes", "scores", "probs"):
        table.add_column(name, justify="right")
    for one in parity:
        differences = (one.memory, one.boxes, one.scores, one.probs)
        table.add_row(str(one.batch), str(one.templates), *(f"{v:.1e}" for v in differences))
    console = Console(highlight=False)
    console.print(table)
    for name in ("template.onnx", "search.onnx"):
        path = out / name
        console.print(f"{path}  {path.stat().st_size / 1e6:.1f} MB", soft_wrap=True, markup=False)
