"""The client of the documentation, as a user runs it."""

from __future__ import annotations

import csv
import importlib.util
import io
import subprocess
import sys
from types import ModuleType

import pytest

from tests.browser.conftest import DEMO, PROJECT, Server

BOX = (175.08, 136.59, 92.93, 86.37)
PROGRAM = PROJECT / "docs" / "examples" / "client.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("client", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


client = load()


def test_the_client_tracks(server: Server) -> None:
    words = [str(DEMO), ",".join(map(str, BOX)), "--server", server.address]
    run = subprocess.run([sys.executable, str(PROGRAM), *words], capture_output=True, check=True)
    rows = list(csv.DictReader(io.StringIO(run.stdout.decode())))
    assert len(rows) == 200
    assert float(rows[0]["x"]) == BOX[0]


def test_the_client_says_what_the_server_says(server: Server) -> None:
    with pytest.raises(RuntimeError, match="415"):
        client.Server(server.address).upload(PROGRAM)
