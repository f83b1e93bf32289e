"""`mixformerv2 models`: what there is, how big it is, and what it may be used for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

__all__ = ["run"]


def run(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON, for scripts.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Say which engine `auto` takes for each bundle, and why."),
    ] = False,
    paths: Annotated[
        bool,
        typer.Option(
            "--paths", help="Print the folder of each shipped bundle, with its ONNX graphs, alone."
        ),
    ] = False,
    bundle: Annotated[
        list[str] | None,
        typer.Option(metavar="FOLDER", help="With --explain: this bundle instead of the shipped."),
    ] = None,
) -> None:
    """List shipped bundles and known architectures with parameters and multiply-adds."""
    if paths:
        from ..weights.bundle import find_bundle, list_bundles

        for name in list_bundles():
            typer.echo(str(find_bundle(name)))
        return
    if explain:
        _explain(bundle or [], as_json)
        return
    if bundle:
        from ..errors import ConfigError

        raise ConfigError(f"--bundle {bundle[0]} belongs to --explain; add it or leave it out")
    bundles, architectures = _bundles(), _architectures()
    if as_json:
        from ..models.count import RULE

        found = {"bundles": bundles, "architectures": architectures, "counting": RULE}
        typer.echo(json.dumps(found, indent=2))
        return
    _print(bundles, architectures)


def _explain(names: list[str], as_json: bool) -> None:
    """What `engine="auto"` takes here, bundle by bundle."""
    from dataclasses import asdict

    from rich.console import Console
    from rich.markup import escape

    from ..runtime.choice import choose
    from ..weights.bundle import find_bundle, list_bundles, read_config

    found: list[dict[str, Any]] = []
    for name in names or list_bundles():
        config = read_config(find_bundle(name))
        choice = choose(config)
        graphs = {file: asdict(info) for file, info in config.graphs.items()}
        found.append(
            {
                "name": config.name,
                "engine": choice.engine,
                "reason": choice.reason,
                "graphs": graphs,
            }
        )
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    console = Console(highlight=False)
    for row in found:
        console.print(f"[bold]{escape(row['name'])}[/]: auto takes [bold]{row['engine']}[/]")
        console.print(f"  {row['reason']}", markup=False)
    if not found:
        console.print("No bundle is shipped with this build.")


def _bundles() -> list[dict[str, Any]]:
    from ..models.config import ModelConfig
    from ..weights.bundle import find_bundle, list_bundles, read_config

    rows = []
    for name in list_bundles():
        config = read_config(find_bundle(name))
        rows.append(
            {
                "name": name,
                **_figures(ModelConfig.from_dict(config.arch)),
                "auc": _measured(find_bundle(name)),
                "search_factor": config.tracker.search_factor,
                "graphs": sorted(config.graphs),
                "licence": config.licence.get("weights", "not stated"),
            }
        )
    return rows


def _measured(folder: Path) -> float | None:
    """AUC on the sequences that the model card reports, where it reports any."""
    path = folder / "figures.json"
    figures = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    auc: float | None = figures.get("sequences", {}).get("mean", {}).get("auc")
    return auc


def _architectures() -> list[dict[str, Any]]:
    from ..models.registry import list_models, model_config

    return [{"name": name, **_figures(model_config(name))} for name in list_models()]


def _figures(arch: Any) -> dict[str, Any]:
    from ..models.count import box_head_multiply_adds, multiply_adds, parameters

    return {
        "layers": arch.depth,
        "width": arch.width,
        "template_size": arch.template_size,
        "search_size": arch.search_size,
        "bins": arch.bins,
        "parameters": parameters(arch),
        "multiply_adds": multiply_adds(arch),
        "multiply_adds_uncached": multiply_adds(arch, cached=False),
        # What the paper calls FLOPs: 22.5 G for B.
        "multiply_adds_as_in_paper": multiply_adds(
            arch, cached=False, templates=1, attention=False
        ),
        "multiply_adds_of_box_head": box_head_multiply_adds(arch),
    }


def _print(bundles: list[dict[str, Any]], architectures: list[dict[str, Any]]) -> None:
    from rich.console import Console

    from ..models.count import RULE

    console = Console(highlight=False)
    if bundles:
        console.print(_bundle_table(bundles))
    else:
        console.print("No bundle is shipped with this build.")
    console.print(_architecture_table(architectures))
    console.print(
        "AUC: in fp32 on the 20 sequences of the model card, by `mixformerv2 eval`. "
        f'Multiply-adds: {RULE}. "A frame" is what runs on each frame, with the templates\' keys '
        'and values kept; "all" is everything. Parameters include the fixed position '
        "embeddings, as published."
    )


def _table(title: str, left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.padding = (0, 1, 0, 0)
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _bundle_table(bundles: list[dict[str, Any]]) -> Table:
    numbers = ("AUC", "parameters", "a frame", "search crop")
    table = _table("Shipped, ready to track", ("model",), numbers)
    table.add_column("the weights may be used for")
    for row in bundles:
        table.add_row(
            row["name"],
            "" if row["auc"] is None else f"{row['auc']:.3f}",
            _millions(row["parameters"]),
            _billions(row["multiply_adds"]),
            f"{row['search_size']} px",
            row["licence"],
        )
    return table


def _architecture_table(architectures: list[dict[str, Any]]) -> Table:
    numbers = ("layers", "width", "crops", "bins", "parameters", "a frame", "all")
    table = _table("Architectures, for create() and convert", ("name",), numbers)
    for row in architectures:
        table.add_row(
            row["name"],
            str(row["layers"]),
            str(row["width"]),
            f"{row['template_size']}, {row['search_size']}",
            str(row["bins"]),
            _millions(row["parameters"]),
            _billions(row["multiply_adds"]),
            _billions(row["multiply_adds_uncached"]),
        )
    return table


def _millions(count: int) -> str:
    return f"{count / 1e6:.3f} M" if count < 1e8 else f"{count / 1e6:.1f} M"


def _billions(count: int) -> str:
    if count >= 1e11:
        return f"{count / 1e9:.1f} G"
    return f"{count / 1e9:.2f} G" if count >= 1e9 else f"{count / 1e6:.0f} M"
