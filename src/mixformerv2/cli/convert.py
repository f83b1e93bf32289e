"""`mixformerv2 convert`: a published checkpoint to a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..models.config import ModelConfig
    from ..weights.convert import Conversion

__all__ = ["run"]

_NAMED = 8


def run(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help='Published checkpoint: .pth, .pth.tar or .safetensors, bare or {"net": ...}.',
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Bundle folder to make.")],
    search_factor: Annotated[
        float | None,
        typer.Option(
            help="Side of the search crop over the target's size. Weights do not tell it; "
            "5.0 for a search crop of 288 pixels and 4.5 for others where it is not given.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a bundle that is in OUT already.")
    ] = False,
) -> None:
    """Turn a published MixFormerV2 or MixViT checkpoint into a bundle for `track --model OUT`.

    Depth, width, MLP ratio, bins, crop sizes and heads are worked out from the tensors. No code
    that the file may hold is run, and nothing is written unless all of it could be read.
    """
    from ..weights.convert import convert_checkpoint

    _print(
        file, out, convert_checkpoint(file, out, search_factor=search_factor, overwrite=overwrite)
    )


def _print(file: Path, out: Path, done: Conversion) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ..models.count import parameters
    from ..weights.bundle import list_bundles

    found, bundle = done.official, done.bundle
    arch, tracker = found.config, bundle.tracker
    family = "MixViT" if arch.corner_head else "MixFormerV2"
    table = Table(show_header=False, box=None, pad_edge=False)
    rows = {
        "network": f"{family}, {arch.depth} layers, width {arch.width}, "
        f"MLP ratio {arch.mlp_ratio:g}, {arch.heads} heads",
        "crops": f"template {arch.template_size}, search {arch.search_size}, "
        f"patches of {arch.patch_size} pixels",
        "heads": f"{_box_head(arch)}, "
        + ("with a score" if arch.score_head else "no score head: templates stay as they are"),
        "parameters": f"{parameters(arch) / 1e6:.3f} M",
        "search factor": f"{tracker.search_factor:g}",
        "tensors used": f"{len(found.used)}",
        "tensors ignored": escape(_ignored(found.ignored)),
        "graphs": ", ".join(
            f"{name} (differs from PyTorch by {info.parity:.1e})"
            for name, info in bundle.graphs.items()
        )
        or "none: pip install 'mixformerv2\\[torch]', then mixformerv2 export OUT OUT",
    }
    for name, value in rows.items():
        table.add_row(f"{name}:", value)
    console = Console(highlight=False)
    console.print(f"{file}", soft_wrap=True, markup=False)
    console.print(table)
    shipped = f"; give it as ./{out}, for {out} is the shipped model" * (str(out) in list_bundles())
    console.print(f"bundle: {out}{shipped}", soft_wrap=True, markup=False)


def _box_head(arch: ModelConfig) -> str:
    if not arch.corner_head:
        return f"{arch.bins} bins for each side"
    kind = "plain" if arch.box_head == "corner" else "pyramidal"
    return f"{kind} corner head, maps of {arch.bins} x {arch.bins}"


def _ignored(names: tuple[str, ...]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    # Whoever made the file chose them: nothing in them shall reach the terminal but letters.
    shown = (name if name.isprintable() else ascii(name) for name in names[:_NAMED])
    return f"{len(names)}: {', '.join(shown)}{more}"
