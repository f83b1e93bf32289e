"""Videos of this machine that a server offers, and those that it offers no more."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .job import Job
from .refused import RefusedError

__all__ = ["Library"]


class Library:
    """What jobs may read besides their own uploads.

    Args:
        videos: Of which a job may be made.
    """

    def __init__(self, videos: Iterable[Path]) -> None:
        self._videos = {str(path) for path in videos}

    def withheld(self, job: Job) -> str | None:
        """Why a video that is not the job's own can no longer be read; None where it can."""
        if job.source is None:
            return None
        if not job.path.is_file():
            return f"the video {job.path.name} is gone; put it back and start the server anew"
        if job.source not in self._videos:
            return "this video is not among those that the server was started with"
        return None

    def refuse_withheld(self, job: Job) -> None:
        """Let nothing be begun that would read such a video.

        Raises:
            RefusedError: it can no longer be read.
        """
        reason = self.withheld(job)
        if reason is not None:
            raise RefusedError(409, reason)
