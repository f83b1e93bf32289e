"""Measuring trackers: the one-pass protocol over a folder of sequences with truth."""

from .benchmarks import Sequence, read_sequences
from .metrics import Figures, score_boxes
from .report import Report, SequenceReport, Summary
from .run import Run, evaluate, follow
from .trackers import TrackerSpec

__all__ = [
    "Figures",
    "Report",
    "Run",
    "Sequence",
    "SequenceReport",
    "Summary",
    "TrackerSpec",
    "evaluate",
    "follow",
    "read_sequences",
    "score_boxes",
]
