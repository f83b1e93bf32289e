"""The command itself: quick help, lazy verbs, errors as one line and a code."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

import mixformerv2
from mixformerv2 import errors
from mixformerv2.cli import main as command
from mixformerv2.cli.main import VERBS, main

HEAVY = ("cv2", "av", "numpy", "onnxruntime", "torch", "openvino", "onnx", "matplotlib")


def in_new_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from mixformerv2.cli.main import main; main(['--help']);"
        f"print('LOADED', [name for name in {HEAVY} if name in sys.modules])"
    )
    printed = in_new_python(code)
    assert printed.strip().endswith("LOADED []")
    for verb, line in VERBS.items():
        assert verb in printed
        assert line in printed


def test_python_m_is_the_same_command() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "mixformerv2", "--version"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed == f"mixformerv2 {mixformerv2.__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_its_module(verb: str) -> None:
    assert find_spec(f"mixformerv2.cli.{verb}") is not None


@pytest.mark.parametrize("verb", ["track", "demo", "formats"])
def test_each_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    printed = capsys.readouterr().out
    assert "Usage: mixformerv2 " + verb in printed
    assert "Exit codes" in printed


@pytest.mark.parametrize("words", [["track"], ["data", "check"], []])
def test_flags_ask_for_no_value(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--help"]) == 0
    printed = capsys.readouterr().out
    assert "--help" in printed
    assert "bool" not in printed


@pytest.mark.parametrize(
    "words", [[], ["track"], ["data"], ["data", "check"], ["vot", "init"], ["submit"]]
)
def test_help_by_one_letter(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--help"]) == 0
    asked = capsys.readouterr()
    assert main([*words, "-h"]) == 0
    assert capsys.readouterr() == asked


@pytest.mark.parametrize("words", [["nope"], ["track"], ["track", "a", "--nope"], ["--nope"]])
def test_a_wrong_call_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "Usage:" in capsys.readouterr().err


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException | Callable[[], None]) -> None:
    """Make the verb `demo` raise."""

    def run() -> None:
        if isinstance(error, BaseException):
            raise error
        error()

    def load(name: str, *rest: Any) -> Any:
        return SimpleNamespace(run=run) if name.endswith(".demo") else import_module(name, *rest)

    monkeypatch.setattr(command, "import_module", load)


ALL = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, errors.MixFormerError)
]


@pytest.mark.parametrize("kind", ALL)
def test_an_error_is_one_line_and_its_code(
    kind: type[errors.MixFormerError],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail_with(monkeypatch, kind("it is\n  broken; mend it"))
    assert main(["demo"]) == kind.exit_code
    assert capsys.readouterr() == ("", "error: it is broken; mend it\n")


def test_codes_tell_errors_apart() -> None:
    assert {kind.__name__: kind.exit_code for kind in ALL} == {
        "MixFormerError": 1,
        "ConfigError": 2,
        "BoxError": 3,
        "FrameError": 4,
        "SourceError": 4,
        "OutputError": 5,
        "WeightsError": 6,
        "EngineError": 7,
        "StateError": 8,
        "DataError": 9,
        "TrainingError": 10,
    }


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (BrokenPipeError(), 141, ""),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch"),
            7,
            "error: `mixformerv2 demo` needs torch, which is not installed: "
            "pip install 'mixformerv2[torch]'",
        ),
        (
            ModuleNotFoundError("No module named 'lightning.fabric'", name="lightning.fabric"),
            7,
            "error: `mixformerv2 demo` needs lightning, which is not installed: "
            "pip install 'mixformerv2[train]'",
        ),
        (
            ZeroDivisionError("division by zero"),
            1,
            "error: unexpected ZeroDivisionError: division by zero; "
            "MIXFORMERV2_DEBUG=1 shows where it happened",
        ),
    ],
    ids=["ctrl-c", "pipe", "real-pipe", "extra", "part-of-extra", "unexpected"],
)
def test_whatever_else_goes_wrong_is_one_line_too(
    error: BaseException,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("MIXFORMERV2_DEBUG", raising=False)
    fail_with(monkeypatch, error)
    # Typer turns Ctrl-C into its own exit where it can; the code is the same.
    assert main(["demo"]) == code
    printed = capsys.readouterr().err.strip()
    assert printed in (line, "") if code == 130 else printed == line


def test_debugging_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIXFORMERV2_DEBUG", "1")
    fail_with(monkeypatch, ZeroDivisionError("division by zero"))
    assert main(["demo"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_closed_streams_do_not_lend_their_numbers_to_files() -> None:
    code = (
        "import os, subprocess, sys\n"
        "inner = 'import os; from mixformerv2.cli.main import main;"
        'code = main(["--version"]); f = open(os.devnull); os._exit(code + (f.fileno() < 3))\'\n'
        "done = subprocess.run([sys.executable, '-c', inner], preexec_fn=lambda: [os.close(n) "
        "for n in (0, 1, 2)])\n"
        "print(done.returncode)\n"
    )
    assert in_new_python(code) == "0\n"


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8:strict"])
def test_names_that_the_terminal_cannot_show_are_no_error(encoding: str) -> None:
    code = (
        "import sys; from mixformerv2.cli.main import main; main(['--help'])\n"
        "print('\\u6f22\\udcff'); print('\\udcff', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"\\udcff\n")
    assert done.stdout.endswith(b"\\udcff\n")
