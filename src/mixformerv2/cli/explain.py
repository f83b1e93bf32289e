"""`mixformerv2 explain`: what the network looked at in one frame, and how sure each side was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..box import Box
    from ..data.datasets import Frames

__all__ = ["run"]


def run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="VIDEO",
            help="A video or a folder of pictures; or a sequence with groundtruth.txt, whose first "
            "box is taken and whose true box is drawn too; or, with --sequence, what `eval` has as "
            "--root.",
        ),
    ],
    frame: Annotated[int, typer.Option(help="Number of the frame to look at, 1 or later.")],
    box: Annotated[
        str | None, typer.Option(help="X,Y,W,H in pixels of frame 0, or a file of boxes.")
    ] = None,
    sequence: Annotated[
        str | None,
        typer.Option(help="Name of a sequence in a data set, read as `eval` reads it."),
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option(help="With --sequence: as for `eval`; any layout else.")
    ] = None,
    model: Annotated[str, typer.Option(help="A shipped bundle by name, or a bundle folder.")] = "t",
    out: Annotated[
        Path, typer.Option(help="Writes OUT.html and OUT.png; a suffix chooses one of them.")
    ] = Path("explain"),
    engine: Annotated[
        str, typer.Option(help="What tracks up to the frame: auto, onnx, ...")
    ] = "auto",
) -> None:
    """Track to a frame and show what the prediction tokens look at, layer by layer and head by
    head, and the four side distributions with their entropy.

    Example: mixformerv2 explain clip.mp4 --box 175,137,93,86 --frame 120
    """
    from .bench_paper import refuse_missing_folder

    refuse_missing_folder(out)
    pictures, given, truth = (
        _inputs(source, box, frame, benchmark)
        if sequence is None
        else _of_sequence(source, sequence, benchmark, box, frame)
    )
    from ..explain import explain_frame, save_page, save_picture

    insight = explain_frame(
        pictures,
        given,
        frame,
        model,
        truth=None if truth is None else truth.xywh,
        name=sequence or Path(source).name,
        engine=engine,
    )
    sides = ", ".join(
        f"{side} {value:.2f}"
        for side, value in zip(("left", "top", "right", "bottom"), insight.entropy, strict=True)
    )
    typer.echo(
        f"frame {frame}: {insight.result.state}, score {insight.result.score:.2f}; "
        f"entropy of the sides: {sides}"
    )
    one = out.suffix.lower()
    if one != ".png":
        typer.echo(save_page(insight, out if one == ".html" else out.with_name(f"{out.name}.html")))
    if one != ".html":
        typer.echo(
            save_picture(insight, out if one == ".png" else out.with_name(f"{out.name}.png"))
        )


def _of_sequence(
    root: str, name: str, benchmark: str | None, box: str | None, frame: int
) -> tuple[Frames, Box, Box | None]:
    """The same of a sequence in a data set; its frames count from the one whose box is given."""
    from ..box import Box
    from ..evaluation.catalog import read_benchmark
    from .boxes import parse_boxes

    (found,) = read_benchmark(benchmark or "own", root, [name]).sequences
    given = found.box if box is None else parse_boxes([box])[0]
    row = found.truth[frame].tolist() if 0 <= frame < len(found) else []
    truth = Box(*row) if row and min(row[2:]) > 0 else None  # NaN where nobody labelled it
    return found.pictures, given, truth


def _inputs(
    source: str, box: str | None, frame: int, benchmark: str | None
) -> tuple[str, Box, Box | None]:
    """Where the pictures are, the first box, and the true box of the frame where it is known."""
    from ..errors import BoxError, ConfigError
    from .boxes import parse_boxes, read_boxes

    if benchmark is not None:
        raise ConfigError(f"--benchmark {benchmark} needs --sequence NAME, one of its sequences")
    folder = Path(source)
    truth = folder / "groundtruth.txt"
    known = read_boxes(truth) if truth.is_file() else {}
    pictures = str(folder / "img") if known and (folder / "img").is_dir() else source
    if box is not None:
        return pictures, parse_boxes([box])[0], known.get(frame)
    if 0 not in known:
        raise BoxError(
            f"{source} has no groundtruth.txt that starts with a box; give --box X,Y,W,H"
        )
    return pictures, known[0], known.get(frame)
