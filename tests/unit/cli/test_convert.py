"""`mixformerv2 convert` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mixformerv2.cli.main import main
from tests.unit.weights.published import state_dict


def test_says_what_it_found_and_what_it_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    extra = {f"unused.{i}": torch.zeros(1) for i in range(10)}
    extra = {"a.[/bold]": torch.zeros(1), "b.\x1b[2J": torch.zeros(1), **extra}
    torch.save({"net": state_dict() | extra}, tmp_path / "it.pth.tar")
    monkeypatch.chdir(tmp_path)
    words = ["convert", str(tmp_path / "it.pth.tar"), "t"]
    assert main([*words, "--search-factor", "4.55"]) == 0
    said = capsys.readouterr().out
    for part in (
        "2 layers, width 64, MLP ratio 1.5, 1 heads",
        "template 32, search 64, patches of 16 pixels",
        "24 bins for each side, with a score",
        "4.55",
        "12: a.[/bold], 'b.\\x1b[2J', unused.0, unused.1",
        "and 4 more",
        "search.onnx (differs from PyTorch by ",
        "bundle: t; give it as ./t, for t is the shipped model",
    ):
        assert part in said
    assert (tmp_path / "t" / "search.onnx").is_file()


def test_refusal_is_one_line_and_an_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    assert main(["convert", str(tmp_path / "resnet.pth"), str(tmp_path / "out")]) == 6
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "resnet.pth is no MixFormerV2 checkpoint" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["resnet.pth"]
