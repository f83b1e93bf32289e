"""A golden test that stops running must be noticed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parents[1] / "conftest.py"
FILES = {
    "golden/test_skips.py": "import pytest\ndef test_parity():\n    pytest.skip('no reason')\n",
    "golden/test_module.py": "import pytest\npytest.skip('gone', allow_module_level=True)\n",
    "golden/test_track.py": "def test_track(shared):\n    assert (shared / 'mark').exists()\n",
    "unit/test_other.py": "import pytest\ndef test_other():\n    pytest.skip('may')\n",
}


def run_pytest(folder: Path, *, shared: bool) -> tuple[int, str]:
    """Run those files as a project of their own, with or without the companions."""
    tests = folder / "project" / "tests"
    for name, body in FILES.items():
        (tests / name).parent.mkdir(parents=True, exist_ok=True)
        (tests / name).write_text(body)
    shutil.copy(CONFTEST, tests / "conftest.py")
    if shared:
        (folder / "shared").mkdir()
        (folder / "shared" / "mark").touch()
    options = ["-p", "no:cacheprovider", "-rA", "--continue-on-collection-errors", "tests"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=tests.parent,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_golden_tests_may_not_skip_beside_shared(tmp_path: Path) -> None:
    code, out = run_pytest(tmp_path, shared=True)
    assert code != 0
    assert "PASSED tests/golden/test_track.py::test_track" in out
    assert "FAILED tests/golden/test_skips.py::test_parity" in out
    assert "ERROR tests/golden/test_module.py" in out
    assert out.count("must not skip while ../shared is here") >= 2
    assert "tests/unit/test_other.py::test_other" in out.split("= not run =")[-1]


def test_without_shared_the_run_passes_and_names_what_it_skipped(tmp_path: Path) -> None:
    code, out = run_pytest(tmp_path, shared=False)
    assert code == 0
    assert "not found, tests that need it are skipped" in out
    not_run = out.split("= not run =")[-1]
    for name in ("test_skips.py::test_parity", "test_track.py::test_track", "test_other.py"):
        assert name in not_run
