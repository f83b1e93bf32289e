"""Archives for the servers: made, checked, and what is wrong with those of others."""

from __future__ import annotations

import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from mixformerv2.cli.main import main
from mixformerv2.errors import ConfigError, DataError
from mixformerv2.evaluation import TrackerSpec, evaluate, read_benchmark
from mixformerv2.evaluation.submission import SERVERS, check_archive, find_server, make_archive
from tests.unit.data.layouts import MAKERS

GOT = "GOT-10k_Test_000001"
ROWS = "10,12,8,8\n" * 5


@pytest.mark.parametrize(
    ("server", "members"),
    [("trackingnet", ["d_2.txt"]), ("got10k", [f"{GOT}/{GOT}_001.txt", f"{GOT}/{GOT}_time.txt"])],
)
def test_an_archive_is_made_and_accepted(
    server: str,
    members: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    MAKERS[server](tmp_path / "set")
    benchmark = SERVERS[server].benchmark
    words = ["eval", "still", "--root", str(tmp_path / "set"), "--benchmark", benchmark]
    assert main([*words, "--out", str(tmp_path / "out"), "--no-pictures"]) == 0
    assert "mixformerv2 submit" in capsys.readouterr().out
    (results,) = (tmp_path / "out").glob("still-*")
    archive = tmp_path / "a.zip"
    words = ["submit", "pack", server, str(results), str(archive), "--root", str(tmp_path / "set")]
    assert main(words) == 0
    assert "1 sequences" in capsys.readouterr().out
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist() == members
        rows = opened.read(members[0]).decode().splitlines()
    assert set(rows) == {"10.0000,12.0000,8.0000,8.0000"}
    first = archive.read_bytes()
    assert main(words) == 0
    assert archive.read_bytes() == first  # equal results, equal archives
    words = ["submit", "check", server, str(archive), "--root", str(tmp_path / "set")]
    # However many sequences the test set here has: the server wants all of its own.
    for given in (words, words[:4]):
        assert main(given) == 9
        assert f"holds 1 sequences, {SERVERS[server].title} has" in capsys.readouterr().out
    monkeypatch.setitem(SERVERS, server, replace(SERVERS[server], count=1))
    assert main(words) == 0
    assert "nothing that" in capsys.readouterr().out


def zipped(
    path: Path, members: dict[str, str | bytes], compression: int = zipfile.ZIP_STORED
) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({f"{GOT}/{GOT}_001.txt": ROWS}, f"{GOT}/{GOT}_time.txt is missing"),
        ({f"{GOT}_001.txt": ROWS}, "should not be there; results are NAME/NAME_001.txt"),
        ({f"{GOT}/{GOT}_001.txt": ROWS.replace(",", " ")}, "line 1: '10 12 8 8' is not four"),
        ({f"{GOT}/{GOT}_001.txt": ROWS.replace(",", "\t")}, "not four numbers parted by commas"),
        ({f"{GOT}/{GOT}_001.txt": "10,12,8,nan\n" * 5}, "is no box"),
        ({f"{GOT}/{GOT}_001.txt": "1_0,12,8,8\n" * 5}, "line 1: '1_0,12,8,8' is not four numbers"),
        ({f"{GOT}/{GOT}_001.txt": "10,12,8,-8\n" * 5}, "is no box"),
        ({f"{GOT}/{GOT}_001.txt": ROWS[:20]}, "has 2 rows, but the sequence has 5 frames"),
        ({f"{GOT}/{GOT}_001.txt": "1" + ROWS}, "is not the given box 10.0000,12.0000"),
        ({f"{GOT}/{GOT}_001.txt": b"\xef\xbb\xbf" + ROWS.encode()}, "byte order mark"),
        ({f"{GOT}/{GOT}_001.txt": ""}, "is empty"),
        ({"GOT-10k_Test_000009/GOT-10k_Test_000009_001.txt": ROWS}, "is no sequence of the test"),
        ({}, f"1 sequences are missing: {GOT}"),
        (
            {f"{GOT}/{GOT}_001.txt": ROWS, f"{GOT}/{GOT}_time.txt": "0.1\n" * 3},
            "has 3 values for 5 frames",
        ),
        (
            {f"{GOT}/{GOT}_001.txt": ROWS, f"{GOT}/{GOT}_time.txt": "0.1\n" * 4 + "nan\n"},
            "has 5 values for 5 frames, or one that is no time",
        ),
        (
            {
                f"me/{GOT}/{GOT}_001.txt": ROWS,
                f"me/{GOT}/{GOT}_time.txt": "0.1\n" * 5,
                "__MACOSX/x": "",
            },
            "__MACOSX/x should not be there",
        ),
    ],
)
def test_what_a_server_would_refuse(
    members: dict[str, str | bytes], sentence: str, tmp_path: Path
) -> None:
    MAKERS["got10k"](tmp_path / "set")
    sequences = read_benchmark("got10k_test", tmp_path / "set").sequences
    wrong = check_archive(SERVERS["got10k"], zipped(tmp_path / "a.zip", members), sequences)
    assert any(sentence in one for one in wrong), wrong


def test_a_file_that_is_there_twice_is_found(tmp_path: Path) -> None:
    archive = zipped(
        tmp_path / "a.zip", {f"{GOT}/{GOT}_001.txt": ROWS, f"{GOT}/{GOT}_time.txt": ""}
    )
    with zipfile.ZipFile(archive, "a") as more, pytest.warns(UserWarning, match="Duplicate"):
        more.writestr(f"{GOT}/{GOT}_001.txt", ROWS)
    wrong = check_archive(SERVERS["got10k"], archive)
    assert f"{GOT}/{GOT}_001.txt is there more than once" in wrong


def test_an_extra_folder_is_found_for_trackingnet(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"results/d_2.txt": ROWS})
    wrong = check_archive(SERVERS["trackingnet"], archive)
    assert any("results/d_2.txt should not be there" in one for one in wrong)


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("no zip")
    assert check_archive(SERVERS["got10k"], tmp_path / "a.zip") == ["a.zip is no zip archive"]
    with pytest.raises(DataError, match="is not there"):
        check_archive(SERVERS["got10k"], tmp_path / "b.zip")
    packed = zipped(tmp_path / "c.zip", {"d_2.txt": ROWS * 50}, zipfile.ZIP_DEFLATED).read_bytes()
    for place, value, sentence in (
        (packed.index(b"d_2.txt") + 7, 0xFF, "is damaged"),
        (packed.index(b"PK\x01\x02") + 8, 1, "cannot be unpacked: .*password"),
        (packed.index(b"PK\x01\x02") + 10, 97, "cannot be unpacked"),
    ):
        spoilt = bytearray(packed)
        spoilt[place] = value
        if value == 97:  # the same unknown compression in the file's own header
            spoilt[8] = value
        (tmp_path / "d.zip").write_bytes(spoilt)
        (wrong,) = check_archive(SERVERS["trackingnet"], tmp_path / "d.zip")
        assert re.search(sentence, wrong)
    places = (
        (packed.index(b"PK\x01\x02") + 42, b"\xff" * 4),
        (packed.index(b"PK\x05\x06") + 16, b"\xff"),
    )
    names = packed.replace(b"d_2.txt", b"d_\xff.txt").replace(
        b"\x00\x00\x08\x00", b"\x00\x08\x08\x00"
    )
    for spoilt in (*(packed[:n] + new + packed[n + len(new) :] for n, new in places), names):
        (tmp_path / "d.zip").write_bytes(spoilt)
        (wrong,) = check_archive(SERVERS["trackingnet"], tmp_path / "d.zip")
        assert re.search("is damaged|is no zip", wrong)
    with pytest.raises(ConfigError, match="choose from trackingnet, got10k"):
        find_server("lasot")


def test_results_that_are_missing_are_named(tmp_path: Path) -> None:
    MAKERS["trackingnet"](tmp_path / "set")
    (tmp_path / "none").mkdir()
    server = SERVERS["trackingnet"]
    with pytest.raises(DataError, match="has no results of d_2"):
        make_archive(server, tmp_path / "none", tmp_path / "set", tmp_path / "a.zip")
    (tmp_path / "none" / "d_2.txt").write_text("10,12,8,8\nnan,nan,nan,nan\n11,12,8,8\n")
    assert make_archive(server, tmp_path / "none", tmp_path / "set", tmp_path / "a.zip") == 1
    with zipfile.ZipFile(tmp_path / "a.zip") as opened:
        assert opened.read("d_2.txt").splitlines()[1] == b"10.0000,12.0000,8.0000,8.0000"
    good = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "none" / "d_2.txt").write_text("90,12,8,8\n" * 3)
    with pytest.raises(DataError, match=r"a\.zip would be refused: .* is not the given box"):
        make_archive(server, tmp_path / "none", tmp_path / "set", tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == good
    assert not list(tmp_path.glob("*.part"))


def test_without_truth_there_is_nothing_to_say(tmp_path: Path) -> None:
    MAKERS["got10k"](tmp_path)
    report = evaluate(TrackerSpec("still"), tmp_path, benchmark="got10k_test")
    assert report.mean.sequences == 0
