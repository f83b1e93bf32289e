"""What a label tool says of each object: the boxes of its key frames, and where it is hidden.

Each format's module reads what it writes, by `load(path, size)`; here is what they have in common.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ...box import Box
from ...errors import ConfigError, DataError
from . import FORMATS, find_format

__all__ = ["LARGEST", "Keyed", "read_json", "read_keyed", "read_limited", "upright"]

LARGEST = 256 << 20
"""Bytes of a file: hours of several objects with a key in each frame."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """One object.

    Attributes:
        label: What it is; None where the file does not say.
        keys: Its box in pixels by key frame, from 0; None where it is hidden from that frame on.
        tells: Whether the format has a word for what is hidden. Where it has not, each row is a
            box, that of a lost target too.
    """

    label: str | None = None
    keys: dict[int, Box | None] = field(default_factory=dict)
    tells: bool = True


def read_keyed(path: str | Path, size: tuple[int, int]) -> list[Keyed]:
    """All objects of a file in any of our formats, as `track` or a label tool has written it.

    Args:
        path: CVAT's XML or the archive that it exports, Label Studio's or COCO-video's JSON, CSV,
            MOTChallenge or a journal, by the suffix.
        size: Width and height of the frames in pixels: Label Studio counts in percent.

    Raises:
        ConfigError: A suffix that stands for no format.
        DataError: The file cannot be read, is of another kind, or holds no box.

    Example:
        ```python
        for one in read_keyed("corrected.xml", (640, 360)):
            print(one.label, one.keys)
        ```
    """
    path = Path(path)
    form = _form(path)
    load: Callable[[Path, tuple[int, int]], list[Keyed]]
    load = import_module(f".{FORMATS[form].module}", __package__).load
    try:
        found = [one for one in load(path, size) if any(one.keys.values())]
        early = min((frame for one in found for frame in one.keys), default=0)
        if early < 0:
            raise ValueError(f"a box is of frame {early}")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path} is not read as {FORMATS[form].line}: {error}") from error
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise DataError(f"{path} is not read as {FORMATS[form].line}: {what}") from error
    if not found:
        raise DataError(f"{path} holds no box of any object; export it with its tracks")
    return found


def _form(path: Path) -> str:
    if path.suffix.lower() == ".zip":
        return "cvat"
    try:
        form = find_format(path)
    except ConfigError as error:
        raise ConfigError(str(error).split(" or say --format")[0] + " or .zip (CVAT)") from error
    # Label Studio calls what it exports .json as well: a list of tasks.
    return "labelstudio" if form == "coco" and _begins_a_list(path) else form


def _begins_a_list(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.read(64).lstrip().startswith("[")
    except OSError:
        return False  # the reader says what is wrong


def read_limited(path: Path) -> str:
    """The text of a file that is no larger than such files are.

    Raises:
        OSError: It cannot be read.
        ValueError: It is too large, or no text.
    """
    if path.stat().st_size > LARGEST:
        raise ValueError(f"it has more than {LARGEST >> 20} MiB")
    return path.read_text("utf-8-sig")


def read_json(path: Path) -> Any:
    """The JSON of a file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is too large, or no JSON.
    """
    return json.loads(read_limited(path))


def upright(frame: int, turned: Any) -> None:
    """Refuse a box that is turned by some degrees.

    Raises:
        ValueError: It is.
    """
    if float(turned or 0):
        raise ValueError(
            f"the box of frame {frame} is turned by {turned} degrees; boxes here are upright: "
            "set its rotation to 0"
        )
