"""Requests that are refused: a status of HTTP, and a sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..errors import MixFormerError
from .folder import disk_trouble

__all__ = ["RefusedError", "writing"]


class RefusedError(MixFormerError):
    """A request that is answered with a status of HTTP and a sentence."""

    def __init__(self, status: int, sentence: str, *, retry: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.retry = retry


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Answer with a sentence where files of a job cannot be written.

    Raises:
        RefusedError: in place of the `OSError` or `OutputError`.
    """
    try:
        yield
    except OSError as error:
        trouble = disk_trouble(error)
        if trouble is None:
            raise
        raise RefusedError(507, trouble) from error
