"""Journals as other formats, for tests."""

from __future__ import annotations

from mixformerv2.video.formats import export
from mixformerv2.video.formats.journal import Journal


def written(journal: Journal, name: str) -> str:
    """What a format makes of a journal."""
    path = journal.path.with_name("out")
    export(journal, path, name)
    return path.read_text("utf-8")
