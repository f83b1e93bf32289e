"""Graphs that OpenVINO compiled, kept in a folder for the next process.

OpenVINO's own cache reads the graph, gives it its shapes and hashes it before it looks. Here the
file's bytes are the key, so that a process that finds its graph skips all of that.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ._reports import import_openvino

__all__ = ["compiled_before", "keep_compiled"]

_logger = logging.getLogger(__name__)


def compiled_before(core: Any, folder: Path, graph: Path, options: Mapping[str, Any]) -> Any | None:
    """The graph as an earlier process compiled it; None where none did, or its file is damaged.

    Args:
        core: `openvino.Core`.
        folder: Where compiled graphs are kept.
        graph: The ONNX file.
        options: Of the compilation.
    """
    path = _place(core, folder, graph, options)
    try:
        return core.import_model(path.read_bytes(), "CPU", dict(options))
    except OSError:
        return None
    except RuntimeError as error:
        _logger.warning("%s cannot be used, the graph is compiled again: %s", path, error)
        return None


def keep_compiled(
    core: Any, folder: Path, graph: Path, options: Mapping[str, Any], compiled: Any
) -> None:
    """Keep a compiled graph; a folder that cannot be written is mentioned and no failure."""
    path = _place(core, folder, graph, options)
    part = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            part = Path(file.name)
            file.write(compiled.export_model().getvalue())
        os.replace(part, path)  # processes that start together never read half a file
    except (OSError, RuntimeError) as error:
        _logger.warning("the compiled %s is not kept in %s: %s", graph.name, folder, error)
        if part is not None:
            with contextlib.suppress(OSError):
                part.unlink()


def _place(core: Any, folder: Path, graph: Path, options: Mapping[str, Any]) -> Path:
    """A compiled graph serves one file, OpenVINO, processor and set of options."""
    digest = hashlib.sha256(graph.read_bytes())
    processor = core.get_property("CPU", "FULL_DEVICE_NAME")
    for part in (import_openvino().get_version(), processor, sorted(options.items())):
        digest.update(f"{part}\n".encode())
    return folder / f"{graph.stem}-{digest.hexdigest()[:32]}.compiled"
