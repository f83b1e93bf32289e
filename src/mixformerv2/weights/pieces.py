"""Files in pieces small enough for a mail, a form or a repository that refuses large ones.

    python -m mixformerv2.weights.pieces split FOLDER
    python -m mixformerv2.weights.pieces join FOLDER

`model.safetensors` becomes `model.safetensors.1of3`, ... beside it; each is a plain part of its
bytes, so that `cat model.safetensors.?of3` joins them too.
"""

from __future__ import annotations

import filecmp
import os
import re
import sys
from collections import Counter
from pathlib import Path

from ..errors import OutputError, WeightsError
from ..modules import run_module

__all__ = ["LIMIT", "join", "pieces_of", "remove_pieces", "split"]

LIMIT = 15 << 20
"""Bytes of a piece at most: under 16 MiB, whatever is wrapped around it."""

_PIECE = re.compile(r"(?P<name>.+)\.(?P<number>\d+)of(?P<count>\d+)")


def pieces_of(path: Path) -> list[Path]:
    """The pieces that lie beside a file or in its place, of whatever number it was cut into."""
    if not path.parent.is_dir():
        return []
    found = ((piece, _PIECE.fullmatch(piece.name)) for piece in path.parent.iterdir())
    return sorted(piece for piece, match in found if match and match["name"] == path.name)


def remove_pieces(folder: Path, suffixes: tuple[str, ...]) -> None:
    """Remove what files of these kinds were once cut into, for they are others now.

    Raises:
        OutputError: one cannot be removed.
    """
    for path in _files(folder):
        match = _PIECE.fullmatch(path.name)
        if match and match["name"].endswith(suffixes):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"cannot remove {path}: {error.strerror}") from error


def split(folder: str | Path, limit: int = LIMIT) -> list[Path]:
    """Cut each file of a folder that is larger than the limit, and remove it.

    Pieces of an earlier file of the same name are removed too.

    Args:
        folder: Of a bundle, or any.
        limit: Bytes of a piece at most.

    Returns:
        The pieces.

    Raises:
        WeightsError: there is no such folder.
        OutputError: they cannot be written; the whole file is left as it was.
    """
    out: list[Path] = []
    for path in _files(folder):
        if _PIECE.fullmatch(path.name) or (size := path.stat().st_size) <= limit:
            continue
        count = -(-size // limit)
        digits = len(str(count))
        pieces = [path.with_name(f"{path.name}.{n + 1:0{digits}d}of{count}") for n in range(count)]
        try:
            with path.open("rb") as file:
                for piece in pieces:
                    piece.write_bytes(file.read(limit))
            for older in set(pieces_of(path)) - set(pieces):
                older.unlink(missing_ok=True)
            path.unlink(missing_ok=True)  # another process may have cut it at the same time
        except OSError as error:
            # Without the whole file the pieces are all that is left of it.
            for piece in pieces if path.exists() else []:
                piece.unlink(missing_ok=True)
            raise OutputError(f"cannot cut {path} into pieces: {error.strerror}") from error
        out += pieces
    return out


def join(folder: str | Path) -> list[Path]:
    """Put the files of a folder together again, and remove the pieces.

    Returns:
        The whole files.

    Raises:
        WeightsError: a piece is missing, or the folder; or there are pieces of two files of one
            name, or the file itself with other bytes.
        OutputError: the file cannot be written; the pieces are left as they were.
    """
    found: dict[tuple[str, int], dict[int, Path]] = {}
    for path in _files(folder):
        match = _PIECE.fullmatch(path.name)
        if match:
            key = match["name"], int(match["count"])
            found.setdefault(key, {})[int(match["number"])] = path
    for name, times in Counter(name for name, _ in found).items():
        if times > 1:
            counts = ", ".join(str(count) for one, count in sorted(found) if one == name)
            raise WeightsError(
                f"{folder} has pieces of {times} files called {name} (cut into {counts}); remove "
                "those of the older ones"
            )
    out: list[Path] = []
    for (name, count), pieces in sorted(found.items()):
        missing = sorted(set(range(1, count + 1)) - set(pieces))
        if missing:
            raise WeightsError(
                f"{folder} lacks piece {missing[0]} of {count} of {name}; copy all pieces"
            )
        whole = Path(folder) / name
        part = whole.with_name(whole.name + ".part")
        try:
            with part.open("wb") as file:
                for number in range(1, count + 1):
                    file.write(pieces[number].read_bytes())
            differs = whole.exists() and not filecmp.cmp(part, whole, shallow=False)
            if not differs:
                os.replace(part, whole)
                for piece in pieces.values():
                    piece.unlink()
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OutputError(f"cannot write {whole}: {error.strerror}") from error
        if differs:
            part.unlink(missing_ok=True)
            raise WeightsError(
                f"{whole} is there, and its pieces make another file; remove the pieces "
                f"({name}.*of{count}) where they are the older, else {name}"
            )
        out.append(whole)
    return out


def _files(folder: str | Path) -> list[Path]:
    if not Path(folder).is_dir():
        raise WeightsError(f"{folder} is no folder; give the one of the bundle")
    return sorted(path for path in Path(folder).iterdir() if path.is_file())


def main(argv: list[str]) -> int:
    """The two commands of this module."""
    if len(argv) != 2 or argv[0] not in ("split", "join"):
        sys.stderr.write("python -m mixformerv2.weights.pieces split|join FOLDER\n")
        return 2
    work = split if argv[0] == "split" else join
    sys.stdout.write("".join(f"{path}\n" for path in work(argv[1])))
    return 0


if __name__ == "__main__":
    raise SystemExit(run_module(lambda: main(sys.argv[1:])))
