"""What `make peers` does where a contestant, or a name, is not as it should be."""

from __future__ import annotations

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from benchmarks import peers


def test_a_contestant_that_ended_its_process_costs_its_own_sequences_alone() -> None:
    ended = subprocess.Popen(
        [sys.executable, "-S", "-c", ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    ended.wait()
    one = object.__new__(peers.Contestant)
    one._process = ended
    assert [one.run("a"), one.run("b")] == ["its process ended"] * 2
    one.close()


def test_models_of_one_name_are_told_apart() -> None:
    args = Namespace(
        models=["one/bundle", "two/bundle"], peers_python=Path("none"), nano=None, still=False
    )
    with pytest.raises(SystemExit, match="two models are called bundle; name one"):
        peers._entrants(args)
    args.models = ["one/bundle", "mine=two/bundle"]
    assert list(peers._entrants(args)) == ["bundle", "mine"]
