"""The rules that hold for the whole package: who imports whom, sizes, versions, public names."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import mixformerv2

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT / "src" / "mixformerv2"
HEAVY = ("torch", "cv2", "av", "onnxruntime", "openvino", "numpy")
# Of `data` the readers of labelled videos belong to the runtime half; the rest makes samples.
READERS = ("__init__", "packed", "store")
DATA = tuple(
    f"data.{file.stem}" for file in (PACKAGE / "data").glob("*.py") if file.stem not in READERS
)
RUNTIME = ("box", "cli", "errors", "evaluation", "runtime", "serve", "tracking", "video")


def modules() -> list[str]:
    """Every module of the package."""
    found = pkgutil.walk_packages([str(PACKAGE)], "mixformerv2.")
    return ["mixformerv2", *(one.name for one in found)]


def imports_of(path: Path, *, inside_functions: bool) -> set[str]:
    """Absolute names of what a file imports; what only type checkers see is left out."""
    package = ["mixformerv2", *path.relative_to(PACKAGE).parts[:-1]]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set()
    for node in statements(tree, inside_functions):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


def statements(node: ast.AST, inside_functions: bool) -> Iterator[ast.AST]:
    """All statements below a node."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        if inside_functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from statements(child, inside_functions)


@pytest.mark.parametrize(
    ("part", "forbidden"),
    [
        ("models", ("training", "video", "cli", "tracking", "evaluation")),
        ("tracking", ("models", "training", "export", "cli", "data")),
        ("runtime", ("training", "cli", "video", "data", "evaluation")),
        ("video", ("models", "training", "tracking.tracker", "cli")),
        ("evaluation", ("models", "training", "cli", *DATA)),
        ("data/datasets", ("models", "training", "cli", "evaluation", *DATA)),
    ],
)
def test_parts_do_not_know_each_other(part: str, forbidden: tuple[str, ...]) -> None:
    files = sorted((PACKAGE / part).rglob("*.py"))
    assert files
    for file in files:
        for name in imports_of(file, inside_functions=True):
            for other in forbidden:
                prefix = f"mixformerv2.{other}"
                assert name != prefix, f"{file.relative_to(PROJECT)} imports {name}"
                assert not name.startswith(f"{prefix}."), (
                    f"{file.relative_to(PROJECT)} imports {name}"
                )


def test_the_rules_above_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (tmp_path / "models").mkdir()
    file = tmp_path / "models" / "a.py"
    file.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from ..cli import main\n"
        "def f():\n    from ..training.loop import train\n"
    )
    assert "mixformerv2.training.loop" in imports_of(file, inside_functions=True)
    assert "mixformerv2.training.loop" not in imports_of(file, inside_functions=False)
    assert "mixformerv2.cli.main" not in imports_of(file, inside_functions=True)


def test_one_decoder_opens_the_files_of_strangers() -> None:
    """OpenCV brings an FFmpeg of its own, with its own holes: it may open cameras, no files."""
    users = {
        file.relative_to(PACKAGE).as_posix()
        for file in PACKAGE.rglob("*.py")
        if "cv2.VideoCapture(" in file.read_text(encoding="utf-8")
    }
    assert users == {"video/readers.py"}
    assert "cv2.VideoCapture(number)" in (PACKAGE / "video" / "readers.py").read_text("utf-8")


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_nothing_heavy_is_imported_for_the_package_and_its_help() -> None:
    code = (
        "import sys, contextlib, io\n"
        "import mixformerv2\n"
        "from mixformerv2.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()) as out:\n"
        "    assert main(['--help']) == 0\n"
        "assert 'track' in out.getvalue()\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    assert python(code).split() == []


def test_the_runtime_half_works_without_pytorch() -> None:
    names = [name for name in modules() if name.split(".")[1:2] and name.split(".")[1] in RUNTIME]
    names = [name for name in names if not name.startswith("mixformerv2.runtime.torch")]
    names += [name for name in modules() if name.startswith("mixformerv2.data.datasets")]
    names += ["mixformerv2.data.check", "mixformerv2.data.pack", "mixformerv2.weights.bundle"]
    assert len(names) > 20
    code = (
        "import importlib, sys\n"
        "sys.modules['torch'] = None\n"  # any import of it now raises ImportError
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "import mixformerv2 as mf\n"
        "print(mf.Tracker.__name__, mf.track.__name__)\n"
    )
    assert python(code).split() == ["Tracker", "track"]


def test_public_names_are_there_and_documented() -> None:
    assert mixformerv2.__all__ == sorted(mixformerv2.__all__, key=str)
    for name in mixformerv2.__all__:
        assert getattr(mixformerv2, name) is not None
    assert set(dir(mixformerv2)) == set(mixformerv2.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        mixformerv2.nothing  # noqa: B018


@pytest.mark.parametrize("name", modules())
def test_each_module_says_what_it_is_and_exports_what_it_has(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    for public in getattr(module, "__all__", ()):
        member = getattr(module, public)
        if callable(member) and getattr(member, "__module__", "").startswith("mixformerv2"):
            assert member.__doc__, f"{name}.{public} has no docstring"


def test_files_fit_a_reader() -> None:
    folders = ("src", "tests", "scripts", "benchmarks")
    for file in sorted(path for folder in folders for path in (PROJECT / folder).rglob("*.py")):
        lines = len(file.read_text(encoding="utf-8").splitlines())
        assert lines <= 400, f"{file.relative_to(PROJECT)} has {lines} lines"


def test_the_version_is_the_same_everywhere() -> None:
    version = mixformerv2.__version__
    with (PROJECT / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["version"] == version
    changelog = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\S+)\]", changelog, re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == version
    citation = (PROJECT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {version}\n" in citation
