"""Measuring trackers: the one-pass protocol over benchmarks, reports, submissions, VOT."""

from .benchmarks import Sequence, read_sequences
from .catalog import BENCHMARKS, Benchmark, read_benchmark
from .metrics import Counting, Figures, score_boxes
from .report import Report, SequenceReport, Summary
from .run import Run, evaluate, follow, measure
from .study import Study
from .trackers import TrackerSpec
from .writing import write_report

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Counting",
    "Figures",
    "Report",
    "Run",
    "Sequence",
    "SequenceReport",
    "Study",
    "Summary",
    "TrackerSpec",
    "evaluate",
    "follow",
    "measure",
    "read_benchmark",
    "read_sequences",
    "score_boxes",
    "write_report",
]
