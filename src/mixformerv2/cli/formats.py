"""`mixformerv2 formats`: a journal to any other format, also after a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigError, OutputError
from .chosen import Labels, Thin, WithoutLost
from .terminal import say, sentences

__all__ = ["EPILOG", "run"]

EPILOG = "Exit codes: 0 done, 2 wrong option, 5 output, 9 no journal or a damaged one."


def run(
    journal: Annotated[
        Path, typer.Argument(metavar="JOURNAL", help="The .jsonl that a run of track left.")
    ],
    to: Annotated[
        str | None,
        typer.Option("--to", help="csv, mot, coco, cvat, labelstudio or jsonl."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="File to write, - for stdout; beside the journal else.",
        ),
    ] = None,
    without_lost: WithoutLost = False,
    label: Labels = None,
    thin: Thin = 0.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Turn a journal into CSV, MOT, COCO-video, CVAT or Label Studio.

    The format goes by --to, or by the suffix of --out. A journal that a killed run left is read up
    to its last whole line.
    """
    from ..video.formats import FORMATS, export, find_format
    from ..video.formats.journal import Journal
    from ..video.formats.streams import is_stdout

    if to is None and out is None:
        raise ConfigError(f"say which format: --to {'|'.join(FORMATS)}, or a file name with --out")
    form = find_format(out or journal, to)
    target = out or journal.with_name(journal.stem + FORMATS[form].suffixes[0])
    with sentences(quiet=quiet):
        content = Journal(journal)
        if label:
            content = content.labelled(label)
        if target.exists() and target.samefile(journal):
            raise OutputError(f"{target} is the journal itself; name another file with --out")
        export(content, target, form, without_lost=without_lost, thin=thin)
        if not quiet:
            say(f"{form}: {target}", aside=is_stdout(target))
