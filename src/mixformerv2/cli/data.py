"""`mixformerv2 data`: look at a labelled data set, and pack it into one file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..data.check import CheckReport
    from ..data.datasets import Dataset

__all__ = ["app", "check", "layouts", "pack", "pack_bank"]

app = typer.Typer(
    help="Labelled videos: check them, pack them, list the layouts that are read.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

_EPILOG = "Exit codes: 0 done, 2 wrong option, 5 output, 9 something is wrong with the data."
_SHOWN = 40

_Place = Annotated[
    Path,
    typer.Argument(
        metavar="PATH", help="A folder, .zip or .lmdb; or a .json, .xml, .csv or .mot export."
    ),
]
_Layout = Annotated[
    str | None, typer.Option(help="How it is laid out; found out else. `data layouts` lists them.")
]
_Split = Annotated[str | None, typer.Option(help="Only this split, such as train.")]


@app.command(epilog=_EPILOG)
def check(
    place: _Place,
    layout: _Layout = None,
    split: _Split = None,
    sheet: Annotated[
        Path | None,
        typer.Option(help="Contact sheet to draw, .jpg or .png; check.jpg else."),
    ] = None,
    no_sheet: Annotated[bool, typer.Option("--no-sheet", help="Draw none.")] = False,
    every_frame: Annotated[
        bool, typer.Option("--every-frame", help="Decode all frames, not the first and last.")
    ] = False,
) -> None:
    """Say what a data set holds and what is wrong in which file and line; draw a contact sheet."""
    from ..data.check import check_dataset, draw_sheet
    from ..data.datasets import read_dataset
    from ..errors import DataError

    target = None if no_sheet else sheet or Path("check.jpg")
    _writable(target)
    dataset = read_dataset(place, layout=layout, split=split)
    with _bar("checking", len(dataset)) as advance:
        report = check_dataset(dataset, every_frame=every_frame, progress=advance)
    _print(dataset, report)
    if target is not None:
        picture = draw_sheet(dataset)
        if picture is None:
            typer.echo("no contact sheet: no sequence can be drawn")
        else:
            _save(picture, target)
            typer.echo(f"contact sheet: {target}")
    if report.wrong:
        noun = "thing is" if len(report.wrong) == 1 else "things are"
        raise DataError(f"{len(report.wrong)} {noun} wrong with {place}")


@app.command(epilog=_EPILOG)
def pack(
    place: _Place,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="OUT.zip or OUT.lmdb.")],
    frames: Annotated[
        bool,
        typer.Option(
            "--frames",
            help="Take clips apart and write NAME/img/*.jpg with NAME/groundtruth.txt, whatever "
            "the layout was.",
        ),
    ] = False,
    short_side: Annotated[
        int | None,
        typer.Option(min=16, help="With --frames: make pictures smaller, to so many pixels."),
    ] = None,
    layout: _Layout = None,
    split: _Split = None,
) -> None:
    """Pack a data set into one file, which is read like the folder.

    All files are copied as they are, or with --frames turned into pictures and one truth file for
    each sequence, which lets training pick frames at random.
    """
    from ..data.datasets import read_dataset
    from ..data.pack import frame_files, pack_files, pack_store
    from ..data.store import open_store
    from ..errors import ConfigError

    if not frames:
        if layout is not None or split is not None or short_side is not None:
            raise ConfigError("--layout, --split and --short-side need --frames")
        store = open_store(place)
        with _bar("packing", None) as advance:
            count = pack_store(store, out, progress=lambda total: advance(total))
    else:
        dataset = read_dataset(place, layout=layout, split=split)
        with _bar("packing", len(dataset)) as advance:
            files = frame_files(dataset, short_side=short_side, progress=lambda _: advance())
            count = pack_files(files, out)
    typer.echo(f"{out}: {count} files, {out.stat().st_size / 1e6:.1f} MB")


@app.command("pack-bank", epilog=_EPILOG)
def pack_bank(
    bank: Annotated[
        Path, typer.Argument(metavar="BANK", help="A folder of pictures, as `bank:` in settings.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="OUT.zip or OUT.lmdb.")],
    clips: Annotated[
        Path | None, typer.Option(help="Tracklets of unlabelled clips, to pack along.")
    ] = None,
    megabytes: Annotated[float, typer.Option(min=0.01, help="Largest size of the file.")] = 45.0,
    short_side: Annotated[
        int | None,
        typer.Option(min=32, help="Of the pictures, in pixels; the largest that fits else."),
    ] = None,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of the pictures.")] = 80,
    webp: Annotated[
        bool, typer.Option("--webp", help="Pictures as WebP: a fifth smaller at the same error.")
    ] = False,
) -> None:
    """Pack a bank of pictures with masks and boxes into one small file, to train elsewhere.

    `mixformerv2 train ... bank=OUT.zip` reads it like the folder.
    """
    from ..data.bank_pack import pack_bank as write

    with _bar("packing", None) as advance:
        packed = write(
            bank, out, clips=clips, megabytes=megabytes, short_side=short_side, quality=quality,
            codec="webp" if webp else "jpeg", progress=lambda total: advance(total),
        )  # fmt: skip
    typer.echo(
        f"{out}: {packed.files} files, short side {packed.short_side} px, {packed.megabytes:.1f} MB"
    )


@app.command()
def layouts() -> None:
    """List the layouts that are read, and what each calls the first pixel."""
    from rich.console import Console
    from rich.table import Table

    from ..data.datasets import LAYOUTS

    table = Table(show_lines=True)
    table.add_column("layout", no_wrap=True, style="bold")
    table.add_column("what lies where", overflow="fold")
    table.add_column("first pixel in its files")
    for layout in LAYOUTS.values():
        splits = f"\n[dim]splits: {', '.join(_short(layout.splits))}[/dim]" if layout.splits else ""
        table.add_row(layout.name, f"{layout.title}\n{layout.form}{splits}", layout.origin)
    Console(highlight=False).print(table)


def _short(splits: tuple[str, ...]) -> tuple[str, ...]:
    return splits if len(splits) <= 4 else (*splits[:3], "...", splits[-1])


def _writable(target: Path | None) -> None:
    from ..errors import OutputError

    if target is not None and not target.absolute().parent.is_dir():
        raise OutputError(f"--sheet {target} cannot be written: its folder is not there")
    if target is not None and target.suffix.lower() not in {".jpg", ".jpeg", ".png"}:
        raise OutputError(f"--sheet {target} must end in .jpg or .png")


def _save(picture: Any, target: Path) -> None:
    import cv2

    from ..errors import OutputError

    try:
        target.write_bytes(cv2.imencode(target.suffix.lower(), picture)[1].tobytes())
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}") from error


def _print(dataset: Dataset, report: CheckReport) -> None:
    from rich.console import Console

    from ..data.datasets import LAYOUTS

    # Names of files are shown as they are, whatever brackets and colons stand in them.
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    layout = LAYOUTS[dataset.layout]
    console.print(f"[bold]{layout.title}[/bold] in", end=" ")
    console.print(str(dataset.store.place), markup=False)
    parts = ", ".join(f"{name} {count}" for name, count in report.sources.most_common(8))
    console.print(f"  sequences  {report.sequences}{f'  ({parts})' if parts else ''}")
    console.print(
        f"  frames     {report.frames}  ({report.shortest} to {report.longest} each; "
        f"{report.labelled} with a box, {report.absent} marked absent)"
    )
    sizes = ", ".join(f"{size} ({count})" for size, count in report.sizes.most_common(4))
    more = len(report.sizes) - 4
    console.print(f"  pictures   {sizes or 'none'}{f' and {more} sizes more' if more > 0 else ''}")
    console.print(f"  pixel      first is {layout.origin}", markup=False)
    _list(console.print, "wrong", "red", report.wrong)
    _list(console.print, "odd", "yellow", report.odd)
    if not report.wrong and not report.odd:
        console.print("  [green]nothing is wrong[/green]")


def _list(show: Callable[..., None], title: str, colour: str, sentences: list[str]) -> None:
    for sentence in sentences[:_SHOWN]:
        show(f"[{colour}]{title}:[/{colour}] ", end="")
        show(sentence, markup=False)
    if len(sentences) > _SHOWN:
        show(f"[{colour}]{title}:[/{colour}] and {len(sentences) - _SHOWN} more")


@contextmanager
def _bar(what: str, total: int | None) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("", total=total)
    with bar:
        yield lambda count=total: bar.update(task, total=count, advance=1)
