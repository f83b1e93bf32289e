"""Modules that are commands themselves, such as `python -m mixformerv2.data.pseudo`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from .errors import MixFormerError

__all__ = ["run_module"]

_INTERRUPTED = 130


def run_module(main: Callable[[], int | None]) -> int:
    """Run a module's command and return its exit code.

    As with `mixformerv2`, an error of this package is one line on stderr, and no traceback.
    """
    try:
        return main() or 0
    except MixFormerError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted\n")
        return _INTERRUPTED
