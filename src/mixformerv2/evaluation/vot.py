"""The VOT toolkit, called from outside: it starts a tracker as a process and talks to it.

The toolkit is under the GPL and never imported here. `write_trackers` tells it, in the
`trackers.ini` of its workspace, how to start a tracker; `serve` is that process. Their language is
TraX, lines on standard input and output (Cehovin, "TraX: the visual tracking exchange protocol and
library", 2017):

```
tracker  @@TRAX:hello "trax.version=4" "trax.image=path;" "trax.region=rectangle;" ...
toolkit  @@TRAX:initialize "x,y,w,h"
toolkit  @@TRAX:frame "file:///.../00000001.jpg"
tracker  @@TRAX:state "x,y,w,h" "confidence=0.93"
toolkit  @@TRAX:quit
```
"""

from __future__ import annotations

import configparser
import json
import logging
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..errors import ConfigError, OutputError, SourceError
from .trackers import Factory, TrackerSpec

__all__ = ["identifier", "parse_message", "serve", "write_trackers"]

log = logging.getLogger(__name__)

PREFIX = "@@TRAX:"
VERSION = 4
INI = "trackers.ini"


def write_trackers(
    workspace: str | Path, trackers: Iterable[TrackerSpec], *, python: str | Path = sys.executable
) -> Path:
    """Name trackers in a workspace's `trackers.ini`; others in it, and comments, stay as they are.

    The toolkit starts them elsewhere, so paths are written whole, and a class of one's own is
    looked for in the present folder.

    Args:
        workspace: The toolkit's folder; made where it is missing.
        trackers: Whatever `mixformerv2 eval` takes but results.
        python: The interpreter in which this package is installed, which need not be the toolkit's.

    Raises:
        ConfigError: a tracker cannot be had, or the file that is there cannot be read.
        OutputError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> file = write_trackers(tempfile.mkdtemp(), [TrackerSpec("still")], python="python")
        >>> print(file.read_text().splitlines()[3])
        command = python -m mixformerv2 vot serve still --engine auto
    """
    file = Path(workspace) / INI
    there = _read_ini(file)
    ini = configparser.ConfigParser(interpolation=None)
    named: set[str] = set()
    for spec in trackers:
        if identifier(spec) in named:
            raise ConfigError(
                f"two trackers are called {identifier(spec)}; name one: mine={spec.what}"
            )
        named.add(identifier(spec))
        if spec.folder is not None:
            raise ConfigError(f"{spec.spec}: the toolkit runs trackers, it reads no results")
        spec.identity()
        words = [str(python), "-m", "mixformerv2", "vot", "serve", spec.whole]
        words += ["--engine", spec.engine]
        if spec.kind == "class":
            words += ["--modules", str(Path.cwd())]
        if spec.threads is not None:
            words += ["--threads", str(spec.threads)]
        for name, value in spec.settings:
            words += ["--set", f"{name}={json.dumps(value)}"]
        ini[identifier(spec)] = {
            "label": _value(spec.label),
            "protocol": "trax",
            "command": _value(shlex.join(words)),
        }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", encoding="utf-8") as out:
            out.write(_without(there, named))
            ini.write(out)
    except OSError as error:
        raise OutputError(f"{file} cannot be written: {error}") from error
    return file


def _read_ini(file: Path) -> str:
    """The text of a `trackers.ini`, which the toolkit can read; nothing where there is none."""
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        configparser.ConfigParser(interpolation=None).read_string(text, str(file))
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{file} cannot be read: {error}; mend it or move it away") from error
    return text


def _value(text: str) -> str:
    """A value for the toolkit, to which a single % announces the name of another value."""
    return text.replace("%", "%%")


def _without(text: str, sections: set[str]) -> str:
    """The text of an ini file without some sections, but with all comments."""
    kept, dropping = [], False
    for line in text.splitlines():
        header = configparser.ConfigParser.SECTCRE.match(line)
        if header:
            dropping = header["header"] in sections
        if not dropping or line.lstrip().startswith(("#", ";")):
            kept.append(line)
    text = "\n".join(kept).rstrip()
    return f"{text}\n\n" if text else ""


def identifier(spec: TrackerSpec) -> str:
    """A tracker's name in the toolkit, which allows little.

    Example:
        >>> identifier(TrackerSpec("my net=t"))
        'my_net'
    """
    return re.sub(r"[^a-zA-Z0-9_-]", "_", spec.label)


def parse_message(line: str) -> tuple[str, list[str], dict[str, str]] | None:
    """Kind, arguments and properties of a line of TraX; None for any other line.

    Example:
        >>> parse_message('@@TRAX:state "1,2,3,4" "confidence=0.5"')
        ('state', ['1,2,3,4'], {'confidence': '0.5'})
    """
    if not line.startswith(PREFIX):
        return None
    kind, _, rest = line[len(PREFIX) :].strip().partition(" ")
    texts = [re.sub(r"\\(.)", r"\1", text) for text in re.findall(r'"((?:[^"\\]|\\.)*)"', rest)]
    properties = dict(
        text.split("=", 1) for text in texts if re.fullmatch(r"[\w.]+=.*", text, re.DOTALL)
    )
    return kind, [text for text in texts if not re.fullmatch(r"[\w.]+=.*", text, re.S)], properties


def serve(tracker: Factory, stdin: BinaryIO, stdout: BinaryIO, *, name: str = "") -> int:
    """Answer the toolkit until it says quit; how many frames were answered.

    Args:
        tracker: Makes a tracker with `init(frame, box)` and `update(frame)`.
        stdin: What the toolkit writes.
        stdout: What it reads; nothing else may write there.
        name: By which the tracker calls itself.

    Raises:
        SourceError: a frame cannot be read.
    """
    _say(
        stdout,
        "hello",
        f"trax.version={VERSION}",
        f"trax.name={name}",
        "trax.image=path;",
        "trax.region=rectangle;",
        "trax.channels=color;",
    )
    follower, given, answered = tracker(), None, 0
    for raw in stdin:
        message = parse_message(raw.decode("utf-8", "replace"))
        if message is None:
            continue
        kind, texts, _ = message
        if kind == "quit":
            break
        if kind == "initialize":
            region = next((text for text in texts if not text.startswith("file:")), "")
            given = _box(region) if region else None  # empty: forget the target, more follows
            texts = [text for text in texts if text.startswith("file:")]
        if not texts:
            continue  # the frame comes with the next line
        frame = _frame(texts[0])
        if given is not None:
            follower.init(frame, given.xywh)
            box, score, given = given.xywh, 1.0, None
        else:
            answer = follower.update(frame)
            box, score = answer.box, answer.score
        _say(stdout, "state", ",".join(f"{v:.4f}" for v in box), f"confidence={score:.6f}")
        answered += 1
    return answered


def _say(stdout: BinaryIO, kind: str, *texts: str) -> None:
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    stdout.write(f"{PREFIX}{kind} {' '.join(f'{chr(34)}{t}{chr(34)}' for t in quoted)} \n".encode())
    stdout.flush()


def _box(region: str) -> Box:
    try:
        values = [float(part) for part in region.split(",")]
    except ValueError:
        values = []
    if len(values) == 4:
        return Box(*values)
    if len(values) < 6 or len(values) % 2:
        raise SourceError(f"region {region!r} is neither a rectangle nor a polygon")
    return Box.from_xyxy(min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))


def _frame(address: str) -> NDArray[np.uint8]:
    import cv2

    path = address.removeprefix("file://")
    for place in (path, unquote(path)):
        image = cv2.imread(place, cv2.IMREAD_COLOR)
        if image is not None:
            return np.asarray(image, np.uint8)
    raise SourceError(f"frame {path} cannot be read")
