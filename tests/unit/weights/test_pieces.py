"""Files in pieces: the same bytes again, and nothing lost on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixformerv2.errors import OutputError, WeightsError
from mixformerv2.weights.pieces import LIMIT, join, main, split


def _folder(tmp_path: Path) -> dict[str, bytes]:
    content = {"big.bin": bytes(range(256)) * 10, "small.json": b"{}"}
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    return content


def test_split_and_join_are_each_others_inverse(tmp_path: Path) -> None:
    content = _folder(tmp_path)
    pieces = split(tmp_path, limit=1000)
    assert [p.name for p in pieces] == [f"big.bin.{n}of3" for n in (1, 2, 3)]
    assert all(p.stat().st_size <= 1000 for p in tmp_path.iterdir())
    assert b"".join(p.read_bytes() for p in pieces) == content["big.bin"]
    assert join(tmp_path) == [tmp_path / "big.bin"]
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == content
    assert join(tmp_path) == []


def test_pieces_are_below_the_limit_of_mails_and_tools() -> None:
    assert LIMIT < 16 * 2**20


def test_more_than_nine_pieces_stay_in_order(tmp_path: Path) -> None:
    content = _folder(tmp_path)
    pieces = split(tmp_path, limit=200)
    assert sorted(pieces) == pieces
    assert len(list(tmp_path.glob("big.bin.*of13"))) == 13
    join(tmp_path)
    assert (tmp_path / "big.bin").read_bytes() == content["big.bin"]


def test_a_missing_piece_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    _folder(tmp_path)
    split(tmp_path, limit=1000)[1].unlink()
    with pytest.raises(WeightsError, match=r"lacks piece 2 of 3 of big\.bin"):
        join(tmp_path)
    assert not (tmp_path / "big.bin").exists()


def test_a_full_disk_leaves_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = _folder(tmp_path)

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        split(tmp_path, limit=1000)
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == content


def test_a_second_process_that_comes_too_late_takes_no_pieces_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are all that is left of the file."""
    content = _folder(tmp_path)
    unlink = Path.unlink

    def other_was_faster(self: Path, missing_ok: bool = False) -> None:
        if self.name == "big.bin":
            unlink(self)
            raise OSError(116, "Stale file handle")
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", other_was_faster)
    with pytest.raises(OutputError, match="Stale"):
        split(tmp_path, limit=1000)
    monkeypatch.undo()
    assert join(tmp_path) == [tmp_path / "big.bin"]
    assert (tmp_path / "big.bin").read_bytes() == content["big.bin"]


def test_pieces_of_an_older_file_do_not_outlive_it(tmp_path: Path) -> None:
    _folder(tmp_path)
    split(tmp_path, limit=1000)
    (tmp_path / "big.bin").write_bytes(b"new" * 500)
    assert [p.name for p in split(tmp_path, limit=1000)] == ["big.bin.1of2", "big.bin.2of2"]
    assert len(list(tmp_path.glob("big.bin*"))) == 2
    join(tmp_path)
    assert (tmp_path / "big.bin").read_bytes() == b"new" * 500


def test_old_pieces_do_not_replace_a_new_file(tmp_path: Path) -> None:
    _folder(tmp_path)
    split(tmp_path, limit=1000)
    (tmp_path / "big.bin").write_bytes(b"new")
    with pytest.raises(WeightsError, match=r"big\.bin is there, and its pieces make another file"):
        join(tmp_path)
    assert (tmp_path / "big.bin").read_bytes() == b"new"
    assert len(list(tmp_path.glob("big.bin*"))) == 4  # and no half of a file


def test_a_join_that_was_stopped_at_the_end_is_done_again(tmp_path: Path) -> None:
    content = _folder(tmp_path)
    pieces = split(tmp_path, limit=1000)
    (tmp_path / "big.bin").write_bytes(content["big.bin"])
    assert join(tmp_path) == [tmp_path / "big.bin"]
    assert not any(piece.exists() for piece in pieces)


def test_pieces_of_two_files_are_not_mixed(tmp_path: Path) -> None:
    _folder(tmp_path)
    split(tmp_path, limit=1000)
    (tmp_path / "big.bin.1of1").write_bytes(b"other")
    with pytest.raises(WeightsError, match=r"2 files called big\.bin \(cut into 1, 3\)"):
        join(tmp_path)


def test_the_module_is_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _folder(tmp_path)
    assert main(["split", str(tmp_path)]) == 0  # nothing is that large
    assert capsys.readouterr().out == ""
    assert main(["sprit"]) == 2
