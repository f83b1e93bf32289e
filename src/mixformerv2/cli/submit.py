"""`mixformerv2 submit`: archives for the servers of TrackingNet and GOT-10k, and their check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(
    help="Archives for the servers of TrackingNet and GOT-10k.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

_EPILOG = "Exit codes: 0 all is well, 2 wrong option, 5 output, 9 it would be refused."
_Name = Annotated[str, typer.Argument(metavar="SERVER", help="trackingnet or got10k.")]


@app.command(epilog=_EPILOG)
def pack(
    server: _Name,
    results: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS", help="Folder of result files, such as `eval --out` has made."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="OUT.zip.")],
    root: Annotated[Path, typer.Option(help="The benchmark's folder, with its test set.")],
) -> None:
    """Pack results for a server, and check the archive.

    Results come from `mixformerv2 eval TRACKER --benchmark got10k_test --root DIR --out OUT` (or
    `trackingnet`), which follows without truth.
    """
    from ..errors import ConfigError, OutputError
    from ..evaluation.submission import find_server, make_archive

    chosen = find_server(server)
    if out.suffix.lower() != ".zip":
        raise ConfigError(f"{out} must end in .zip")
    if not out.absolute().parent.is_dir():
        raise OutputError(f"{out} cannot be written: its folder is not there")
    if not results.is_dir():
        raise ConfigError(f"there is no folder {results}")
    count = make_archive(chosen, results, root, out)
    typer.echo(f"{out}: {count} sequences, {out.stat().st_size / 1e6:.1f} MB, format checked")
    if count != chosen.count:
        typer.secho(
            f"{chosen.title} wants {chosen.count} sequences; {root} holds {count}",
            fg="yellow",
            err=True,
        )
    typer.echo(f"Upload it on {chosen.address}.")


@app.command(epilog=_EPILOG)
def check(
    server: _Name,
    archive: Annotated[Path, typer.Argument(metavar="ARCHIVE", help="A .zip to be uploaded.")],
    root: Annotated[
        Path | None,
        typer.Option(help="The benchmark's folder: names, lengths and given boxes too."),
    ] = None,
) -> None:
    """Say what a server would refuse in an archive, whoever made it."""
    from ..errors import DataError
    from ..evaluation.catalog import read_benchmark
    from ..evaluation.submission import check_archive, find_server

    chosen = find_server(server)
    sequences = None if root is None else read_benchmark(chosen.benchmark, root).sequences
    wrong = check_archive(chosen, archive, sequences)
    for sentence in wrong[:40]:
        typer.echo(sentence)
    if len(wrong) > 40:
        typer.echo(f"and {len(wrong) - 40} more")
    if wrong:
        noun = "thing is" if len(wrong) == 1 else "things are"
        raise DataError(f"{len(wrong)} {noun} wrong with {archive}")
    part = "" if sequences is not None else " (give --root to check names and lengths as well)"
    typer.echo(f"{archive}: nothing that {chosen.title} would refuse{part}")
