"""OpenVINO without the reports of its use that it sends to its makers."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["import_openvino", "silence_reports"]


def silence_reports() -> None:
    """Make OpenVINO, and what builds on it, use its own stub in place of `openvino_telemetry`.

    Importing OpenVINO would otherwise write an id of this user below `~/intel` and send an event to
    Google Analytics, from a child that it forks, which can hang where there are threads. A program
    that has imported `openvino_telemetry` itself keeps it.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def import_openvino() -> Any:
    """The package `openvino`.

    Raises:
        ImportError: it is not installed; half an installation can fail in any other way too.
    """
    silence_reports()
    import openvino

    return openvino
