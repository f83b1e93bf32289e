"""TraX, line by line, and what is written into a workspace."""

from __future__ import annotations

import configparser
import io
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mixformerv2.cli.main import main
from mixformerv2.errors import ConfigError, SourceError
from mixformerv2.evaluation import TrackerSpec
from mixformerv2.evaluation.vot import parse_message, serve, write_trackers

from .test_run import Finder


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('@@TRAX:frame "file:///a b.jpg" \n', ("frame", ["file:///a b.jpg"], {})),
        ('@@TRAX:state "1,2" "k=v=w"', ("state", ["1,2"], {"k": "v=w"})),
        (r'@@TRAX:frame "a \"quoted\" \\ name"', ("frame", [r'a "quoted" \ name'], {})),
        ("@@TRAX:quit \n", ("quit", [], {})),
        ("anything else", None),
    ],
)
def test_messages(line: str, message: object) -> None:
    assert parse_message(line) == message


def test_a_tracker_is_served(root: Path) -> None:
    pictures = [root / "fam_a" / "img" / f"{number:06d}.png" for number in range(1, 4)]
    lines = ["what a library prints", '@@TRAX:initialize "10.0000,12.0000,8.0000,8.0000" ']
    lines += [f'@@TRAX:frame "file://{path}" ' for path in pictures]
    lines += ["@@TRAX:initialize "]  # how the toolkit says that another run begins
    lines += ['@@TRAX:initialize "14,12,22,12,22,20,14,20" ', lines[-2], "@@TRAX:quit ", lines[-2]]
    out = io.BytesIO()
    stdin = io.BytesIO("".join(f"{line}\n" for line in lines).encode())
    assert serve(Finder, stdin, out, name="mine") == 4
    hello, *states = out.getvalue().decode().splitlines()
    assert hello.startswith('@@TRAX:hello "trax.version=4" "trax.name=mine"')
    assert states == [
        '@@TRAX:state "10.0000,12.0000,8.0000,8.0000" "confidence=1.000000" ',
        '@@TRAX:state "12.0000,12.0000,8.0000,8.0000" "confidence=0.250000" ',
        '@@TRAX:state "14.0000,12.0000,8.0000,8.0000" "confidence=0.250000" ',
        '@@TRAX:state "14.0000,12.0000,8.0000,8.0000" "confidence=1.000000" ',
    ]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ('@@TRAX:initialize "1,2,3,4"\n@@TRAX:frame "file:///no.jpg"\n', "/no.jpg cannot be read"),
        ('@@TRAX:initialize "1,2,three,4"\n', "neither a rectangle nor a polygon"),
        ('@@TRAX:initialize "1,2,3"\n', "neither a rectangle nor a polygon"),
    ],
)
def test_bad_requests(lines: str, sentence: str) -> None:
    with pytest.raises(SourceError, match=sentence):
        serve(Finder, io.BytesIO(lines.encode()), io.BytesIO())


def test_a_workspace_keeps_its_other_trackers(
    small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "trackers.ini"
    write_trackers(file.parent, [TrackerSpec("still")], python="python")
    words = ["vot", "init", f"my net=./{small_bundle.name}", "opencv:mil", "--threads", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(small_bundle.parent)
        assert main([*words, "--workspace", str(file.parent)]) == 0
    assert "vot evaluate my_net opencv-mil" in capsys.readouterr().out
    ini = configparser.ConfigParser()
    ini.read(file)
    assert ini.sections() == ["still", "my_net", "opencv-mil"]
    assert ini["my_net"]["protocol"] == "trax"
    command = ini["my_net"]["command"]
    assert command.startswith(sys.executable)
    assert f"-m mixformerv2 vot serve {small_bundle} --engine auto --threads 1" in command
    with pytest.raises(ConfigError, match="reads no results"):
        write_trackers(tmp_path, [TrackerSpec(f"results:{tmp_path}")])


def test_tracker_settings_reach_the_toolkit(
    small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["vot", "init", f"net={small_bundle}", "still", "--workspace", str(tmp_path)]
    assert main([*words, "--set", "search_lead=0.5", "--long-term"]) == 0
    ini = configparser.ConfigParser()
    ini.read(tmp_path / "trackers.ini")
    command = ini["net"]["command"]
    assert command.endswith("--engine auto --set long_term=true --set search_lead=0.5")
    assert "--set" not in ini["still"]["command"]
    asked: list[TrackerSpec] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mixformerv2.evaluation.vot.serve", lambda spec, *_, **__: asked.append(spec))
        patch.setattr("os.dup2", lambda *_: None)
        assert main(shlex.split(command)[3:]) == 0
    assert asked[0].settings == (("long_term", True), ("search_lead", 0.5))
    capsys.readouterr()
    assert main(["vot", "init", "still", "--workspace", str(tmp_path), "--long-term"]) == 2
    assert "--set long_term: for bundles, not for still" in capsys.readouterr().err


def test_what_others_wrote_into_a_workspace_stays(tmp_path: Path) -> None:
    theirs = "# mine\n[old]\nlabel = Old\ncommand = a %%b  ; x\n\n[still]\ncommand = x\n; keep\n"
    (tmp_path / "trackers.ini").write_text(theirs)
    for _ in range(2):
        file = write_trackers(tmp_path, [TrackerSpec("still")], python="/50%/python")
        text = file.read_text()
        assert text.startswith(
            "# mine\n[old]\nlabel = Old\ncommand = a %%b  ; x\n\n; keep\n\n[still]\n"
        )
        assert text.count("[still]") == 1
    # As the toolkit (0.7.4) reads it, to which % means something.
    ini = configparser.ConfigParser()
    ini.read(file)
    assert ini["still"]["command"].startswith("/50%/python -m mixformerv2 vot serve still")


def test_two_trackers_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two trackers are called my_box; name one: mine=still"):
        write_trackers(tmp_path, [TrackerSpec("my_box=still"), TrackerSpec("my box=still")])
    assert not (tmp_path / "trackers.ini").exists()


def test_paths_are_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The toolkit starts trackers in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t").mkdir()  # the shipped bundle has this name, and wins
    assert TrackerSpec("t").whole == "t"
    assert TrackerSpec("a=opencv:nano:nets").whole == f"opencv:nano:{tmp_path / 'nets'}"
    assert TrackerSpec("opencv:mil").whole == "opencv:mil"
    class_ = f"{Finder.__module__}:Finder"
    file = write_trackers(tmp_path, [TrackerSpec(class_)], python="python")
    assert f"vot serve {class_} --engine auto --modules {tmp_path}" in file.read_text()


def test_a_class_is_found_where_the_toolkit_was_told(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    text = "class T:\n def init(self, f, b): 0\n def update(self, f): return 1, 2, 3, 4\n"
    (tmp_path / "here" / "its_own.py").write_text(text)
    words = [sys.executable, "-m", "mixformerv2", "vot", "serve", "its_own:T"]
    words += ["--modules", str(tmp_path / "here")]
    run = subprocess.run(
        words, input="@@TRAX:quit\n", capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert run.stdout.startswith('@@TRAX:hello "trax.version=4" "trax.name=T"')


@pytest.mark.parametrize("content", [b"label = still\n", b"[a]\n[a]\n", b"[a]\nb = \xff\n"])
def test_a_workspace_that_cannot_be_read(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "trackers.ini").write_bytes(content)
    with pytest.raises(ConfigError, match=r"(?s)trackers\.ini cannot be read: .*; mend it"):
        write_trackers(tmp_path, [TrackerSpec("still")])
    assert (tmp_path / "trackers.ini").read_bytes() == content


def test_wrong_options_are_not_written(tmp_path: Path, small_bundle: Path) -> None:
    for wrong in ({"engine": "foo"}, {"threads": 0}):
        with pytest.raises(ConfigError, match=r"engine must be one of|threads must be a whole"):
            write_trackers(tmp_path, [TrackerSpec(str(small_bundle), **wrong)])  # type: ignore[arg-type]
    assert not (tmp_path / "trackers.ini").exists()


def test_the_command_of_a_workspace_answers(root: Path) -> None:
    """The process itself: nothing but TraX on its standard output."""
    picture = root / "fam_a" / "img" / "000001.png"
    lines = f'@@TRAX:initialize "1,2,3,4"\n@@TRAX:frame "file://{picture}"\n@@TRAX:quit\n'
    words = [sys.executable, "-m", "mixformerv2", "vot", "serve", "still"]
    run = subprocess.run(
        words, input=lines, capture_output=True, text=True, check=True, timeout=120
    )
    assert [line.split(" ")[0] for line in run.stdout.splitlines()] == [
        "@@TRAX:hello",
        "@@TRAX:state",
    ]
