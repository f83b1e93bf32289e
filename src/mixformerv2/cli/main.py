"""The command `mixformerv2`: one file a verb, imported when it is called.

`mixformerv2 --help` only reads the table below: neither NumPy nor OpenCV, PyAV, an engine or
PyTorch is loaded for it.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any

import typer

from ..errors import EngineError, MixFormerError

__all__ = ["VERBS", "build", "main"]

VERBS: dict[str, str] = {
    "track": "Follow a target through a video, from one box.",
    "demo": "Track the shipped clip and compare with its truth.",
    "serve": "Open a page: draw boxes, watch, correct, download; with an API.",
    "formats": "Turn a journal into CSV, MOT, COCO-video, CVAT or Label Studio.",
    "models": "List models: parameters, operations, sizes, licences.",
    "convert": "Turn a published checkpoint into a bundle.",
    "export": "Write a bundle's ONNX graphs and check them.",
    "data": "Check and pack labelled videos.",
    "train": "Train a model.",
    "distill": "Run a plan from a teacher to a small tracker.",
    "eval": "Measure trackers on a benchmark, with a report.",
    "submit": "Archives for the servers of TrackingNet and GOT-10k.",
    "vot": "Trackers for the VOT toolkit.",
    "bench": "Measure speed.",
    "batch": "Track many videos, on this machine or a cluster.",
    "explain": "Show what the network looks at in a frame.",
}
"""What `--help` says of each verb.

Its function is `run` in `mixformerv2.cli.VERB`; a verb with verbs of its own has `app` instead."""

_EXTRAS = {
    "torch": "torch",
    "safetensors": "torch",
    "onnx": "torch",
    "lightning": "train",
    "yaml": "eval",
    "matplotlib": "eval",
    "openvino": "openvino",
    "fastapi": "web",
    "uvicorn": "web",
    "websockets": "web",
}
_INTERRUPTED = 130
_PIPE_CLOSED = 141


def build(verb: str | None = None) -> typer.Typer:
    """The command with all verbs, of which only the given one is loaded."""
    app = typer.Typer(
        name="mixformerv2",
        help="Follow any one object through a video, from one box on the first frame.",
        epilog="Start with: mixformerv2 demo. Then: mixformerv2 track clip.mp4 --select",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name, line in VERBS.items():
        if name == verb:
            module = import_module(f"{__package__}.{name}")
            if hasattr(module, "app"):  # verbs of its own below this one
                app.add_typer(module.app, name=name, short_help=line)
                continue
            app.command(name, short_help=line, epilog=getattr(module, "EPILOG", None))(module.run)
        else:
            app.command(name, help=line)(_not_loaded)
    return app


def _print_version(asked: bool) -> None:
    if asked:
        from .. import __version__

        print(f"mixformerv2 {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and end.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    pass


def _name_no_flag_types(command: Any, above: Any = None) -> None:
    """Help shall say `--quiet`, not `--quiet <bool>`, which looks as if a value were wanted."""
    # With the settings of the real call: a command keeps the help option that it makes first.
    with typer.Context(command, parent=above, **command.context_settings) as context:
        for option in command.get_params(context):
            if getattr(option, "is_bool_flag", False):
                option.metavar = ""
        for below in getattr(command, "commands", {}).values():
            _name_no_flag_types(below, context)


def _not_loaded() -> None:
    raise AssertionError("a verb is loaded before it is called")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    An error of this package is one line on stderr and its `exit_code`; anything else that goes
    wrong is one line too, with the traceback where `MIXFORMERV2_DEBUG` is set.
    """
    _open_closed_streams()
    _let_any_name_be_printed()
    # OpenCV tells of a camera that is not there by itself, in its own way.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    # A picture of one megabyte can unfold to three gigabytes; OpenCV reads its limit when loaded.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(1 << 27))
    words = list(sys.argv[1:] if argv is None else argv)
    verb = words[0] if words and words[0] in VERBS else None
    try:
        command = typer.main.get_command(build(verb))
        _name_no_flag_types(command)
        command(args=words, prog_name="mixformerv2")
    except SystemExit as exit_:
        if isinstance(exit_.__context__, BrokenPipeError):  # typer makes a 1 of it
            return _finish(_PIPE_CLOSED)
        code: Any = exit_.code
        return _finish(code if isinstance(code, int) else 0 if code is None else 1)
    except MixFormerError as error:
        return _finish(_fail(str(error), error.exit_code))
    except KeyboardInterrupt:
        return _finish(_fail("interrupted", _INTERRUPTED))
    except BrokenPipeError:
        return _finish(_PIPE_CLOSED)
    except ModuleNotFoundError as error:
        return _finish(_fail(_missing(verb, error), EngineError.exit_code))
    except Exception as error:
        kind = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        hint = "" if _debugging() else "; MIXFORMERV2_DEBUG=1 shows where it happened"
        return _finish(_fail(f"unexpected {kind}{hint}", 1))
    return _finish(0)


def _missing(verb: str | None, error: ModuleNotFoundError) -> str:
    package = (error.name or "").partition(".")[0]
    extra = "train" if verb in ("train", "distill") else _EXTRAS.get(package)
    way_out = f"pip install 'mixformerv2[{extra}]'" if extra else f"pip install {package}"
    return f"`mixformerv2 {verb}` needs {package}, which is not installed: {way_out}"


def _fail(sentence: str, code: int) -> int:
    if _debugging():
        traceback.print_exc()
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    line = " ".join(sentence.split())
    with suppress(OSError):  # perhaps nobody reads it
        print(f"\033[31merror:\033[0m {line}" if colour else f"error: {line}", file=sys.stderr)
    return code


def _debugging() -> bool:
    return bool(os.environ.get("MIXFORMERV2_DEBUG"))


def _open_closed_streams() -> None:
    """Give a place to streams that the caller closed (`>&-`).

    Else the first file that is opened takes their number, and is written into by every print.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+" if number else "r"))  # noqa: SIM115


def _let_any_name_be_printed() -> None:
    """What the terminal has no letters for, as in names of files, comes in ASCII: `\\u6f22`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _finish(code: int) -> int:
    """Flush what was printed; a reader that has gone (`| head`) is no error of ours."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # Python flushes again at its end, and would complain: let that go nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code
