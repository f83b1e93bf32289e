"""What a score means: against overlap, against absence, and the thresholds that follow from it.

A tracker runs over sequences in which the target is away for a while (rows of zeros in the truth).
Its frames fall into kinds: *good* (IoU at least one half), *poor* (less, but some), *off* (on
something else while the target is there), *absent*, and *twin* (absent, while something that looks
the same is in view: sequences whose names begin with `twin_`).

The state becomes "lost" below the score that parts good from absent frames best, as long as few
good ones fall below it: a false alarm is what a user sees first. The other thresholds are quantiles
of the good frames. What they do to all kinds is reported, with the delay from the frame in which a
target left to the state "lost".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..box import pairwise_iou
from ..errors import DataError
from ..tracking.policy import target_state
from ..tracking.result import TargetState
from ..tracking.settings import TrackerSettings
from .benchmarks import Sequence as Video
from .metrics import roc_auc
from .run import follow
from .trackers import Factory

__all__ = [
    "LEAVING",
    "Calibration",
    "Exit",
    "Trace",
    "calibrate",
    "derive",
    "spans",
    "states_of",
    "trace",
]

Values = NDArray[np.float64]
GOOD, POOR = 0.5, 0.1
LEAVING = 5
"""Frames before an absence in which the target is already leaving; they count for nothing."""
FALSE_LOST = 0.02
"""What share of the good frames may fall below `lost_below`."""
AT_MOST = 30
"""Frames of one absence that are used, so that a long one does not outweigh the others."""
BUDGETS = {"lost_until": 0.03, "uncertain_below": 0.08, "uncertain_until": 0.12}
"""What share of the good frames may fall below each of the other thresholds."""


@dataclass(frozen=True, eq=False)
class Trace:
    """One run of a tracker over a sequence.

    Attributes:
        name: The sequence's.
        scores: `[N]`, the first is the given box's.
        overlaps: `[N]` IoU; NaN where the frame is unlabelled or the target away.
        absent: `[N]`, the target is away.
    """

    name: str
    scores: Values
    overlaps: Values
    absent: NDArray[np.bool_]

    @property
    def twin(self) -> bool:
        """Something that looks the same is in view while the target is away."""
        return self.name.startswith("twin_")

    @property
    def leaving(self) -> NDArray[np.bool_]:
        """Frames shortly before an absence, neither here nor there."""
        out = np.zeros(len(self.absent), bool)
        for start, _ in spans(self.absent):
            out[max(start - LEAVING, 0) : start] = True
        return out

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Frames that count: not the first, not those in which the target is leaving."""
        out = ~self.leaving
        out[0] = False
        return out

    def between(self, low: float, high: float) -> Values:
        """Scores of the counted frames whose IoU lies in `[low, high)`."""
        return self.scores[self.counted & (self.overlaps >= low) & (self.overlaps < high)]


@dataclass(frozen=True, slots=True)
class Exit:
    """One absence.

    Attributes:
        name: The sequence's.
        frames: How long it lasts.
        delay: Frames until the state was "lost"; 0 in the first absent frame; None if never.
        lost: Share of the absent frames that were "lost".
        false_lost: Share of the frames before it that were "lost" already.
    """

    name: str
    frames: int
    delay: int | None
    lost: float
    false_lost: float


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the scores of a bundle mean.

    Attributes:
        thresholds: The four of `TrackerSettings`, rounded to four digits.
        kinds: Scores of the frames of each kind.
        bins: For tenths of the score: lower end, frames, mean IoU (0 where absent), share absent.
        presence_auc: Area under the ROC curve, good against absent frames.
        called: For each kind, the shares of "tracked", "uncertain" and "lost".
        exits: Each absence.
    """

    thresholds: dict[str, float]
    kinds: dict[str, Values] = field(repr=False)
    bins: list[tuple[float, int, float, float]] = field(repr=False)
    presence_auc: float
    called: dict[str, dict[TargetState, float]]
    exits: list[Exit]

    @property
    def median_delay(self) -> float:
        """Frames; infinite where most absences were never noticed."""
        delays = [np.inf if one.delay is None else one.delay for one in self.exits]
        return float(np.median(delays)) if delays else np.nan

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON, without the single scores."""
        return {
            "thresholds": self.thresholds,
            "frames": {kind: len(values) for kind, values in self.kinds.items()},
            "presence_auc": round(self.presence_auc, 4),
            "called": {
                kind: {state: round(share, 4) for state, share in shares.items()}
                for kind, shares in self.called.items()
            },
            "score_bins": [
                {"from": low, "frames": n, "mean_iou": _short(overlap), "absent": _short(share)}
                for low, n, overlap, share in self.bins
            ],
            "exits": [
                {
                    "name": one.name,
                    "frames": one.frames,
                    "delay": one.delay,
                    "lost": round(one.lost, 4),
                    "false_lost": round(one.false_lost, 4),
                }
                for one in self.exits
            ],
        }


def trace(tracker: Factory, video: Video) -> Trace:
    """Run a tracker over a sequence with absences."""
    run = follow(tracker, video)
    absent = np.zeros(len(video), bool) if video.absent is None else video.absent
    overlaps = np.full(len(video), np.nan)
    labelled = np.isfinite(video.truth).all(1) & ~absent
    overlaps[labelled] = pairwise_iou(video.truth[labelled], run.boxes[labelled])
    return Trace(video.name, run.scores, overlaps, absent)


def calibrate(
    traces: Sequence[Trace],
    settings: TrackerSettings,
    *,
    thresholds: dict[str, float] | None = None,
) -> Calibration:
    """Thresholds from the good frames, and what they do to all others.

    Args:
        traces: Runs, some of them with absences.
        settings: Of the tracker; its thresholds are not used.
        thresholds: Judge these instead of deriving them.

    Raises:
        DataError: no frame is good, or none is without the target.
    """
    kinds = {
        "good": np.concatenate([one.between(GOOD, 2.0) for one in traces]),
        "poor": np.concatenate([one.between(POOR, GOOD) for one in traces]),
        "off": np.concatenate([one.between(-1.0, POOR) for one in traces]),
        "absent": _away(traces, twin=False),
        "twin": _away(traces, twin=True),
    }
    for kind in ("good", "absent"):
        if not kinds[kind].size:
            raise DataError(f"calibration needs frames of both kinds, but none is {kind}")
    if thresholds is None:
        thresholds = derive(kinds["good"], kinds["absent"])
    states = [states_of(one.scores, settings, thresholds) for one in traces]
    return Calibration(
        thresholds,
        kinds,
        _bins(traces),
        roc_auc(kinds["good"], kinds["absent"]),
        _called(traces, states),
        [one for run, state in zip(traces, states, strict=True) for one in _exits(run, state)],
    )


def derive(good: Values, absent: Values) -> dict[str, float]:
    """The four thresholds of `TrackerSettings`, from scores of frames with and without the target.

    Example:
        >>> derive(np.linspace(0.5, 1, 100), np.linspace(0, 0.3, 50))["lost_below"]
        0.4
    """
    limit = float(np.quantile(good, FALSE_LOST))
    tried = np.unique(np.concatenate([absent[absent < limit], [limit]]))
    called = (absent[:, None] <= tried).mean(0) - (good[:, None] < tried).mean(0)
    below = float(tried[int(np.argmax(called))])
    if below < limit:
        # Half of the way to the next good frame: absent ones yet to come may score a little more.
        below = (below + float(good[good > below].min())) / 2
    # A state is left only well above where it is entered, or it would flicker.
    until = max(float(np.quantile(good, BUDGETS["lost_until"])), below)
    doubt = max(float(np.quantile(good, BUDGETS["uncertain_below"])), until)
    sure = max(float(np.quantile(good, BUDGETS["uncertain_until"])), doubt)
    names = ("lost_below", *BUDGETS)
    values = (below, until, doubt, sure)
    return {name: round(value, 4) for name, value in zip(names, values, strict=True)}


def states_of(
    scores: Values, settings: TrackerSettings, thresholds: dict[str, float]
) -> NDArray[np.str_]:
    """The states that these thresholds give a run; states do not steer a tracker by default."""
    chosen = replace(settings, **thresholds)  # type: ignore[arg-type]
    state: TargetState = "tracked"
    out: list[str] = ["tracked"]
    for score in scores[1:]:
        state = target_state(state, float(score), chosen)
        out.append(state)
    return np.array(out)


def spans(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Begin and end (not included) of each run of true values.

    Example:
        >>> spans(np.array([False, True, True, False, True]))
        [(1, 3), (4, 5)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _exits(run: Trace, states: NDArray[np.str_]) -> Iterable[Exit]:
    before = 1
    for start, stop in spans(run.absent):
        lost = states[start:stop] == "lost"
        seen = states[before : max(start - LEAVING, before)]
        yield Exit(
            run.name,
            stop - start,
            int(np.argmax(lost)) if lost.any() else None,
            float(lost.mean()),
            float((seen == "lost").mean()) if seen.size else 0.0,
        )
        before = stop


def _called(
    traces: Sequence[Trace], states: Sequence[NDArray[np.str_]]
) -> dict[str, dict[TargetState, float]]:
    out: dict[str, dict[TargetState, float]] = {}
    for kind, low, high in (("good", GOOD, 2.0), ("poor", POOR, GOOD), ("off", -1.0, POOR)):
        chosen = [
            state[one.counted & (one.overlaps >= low) & (one.overlaps < high)]
            for one, state in zip(traces, states, strict=True)
        ]
        out[kind] = _shares(np.concatenate(chosen))
    for kind, twin in (("absent", False), ("twin", True)):
        away = [
            state[one.absent]
            for one, state in zip(traces, states, strict=True)
            if one.twin == twin and one.absent.any()
        ]
        if away:
            out[kind] = _shares(np.concatenate(away))
    return out


def _away(traces: Sequence[Trace], *, twin: bool) -> Values:
    """Scores of frames without the target; of a long absence some, evenly spread."""
    found = [np.zeros(0)]
    for one in traces:
        if one.twin == twin:
            for start, stop in spans(one.absent):
                some = np.linspace(start, stop - 1, min(stop - start, AT_MOST)).round().astype(int)
                found.append(one.scores[some])
    return np.concatenate(found)


def _shares(states: NDArray[np.str_]) -> dict[TargetState, float]:
    count = max(len(states), 1)
    return {
        "tracked": float((states == "tracked").sum()) / count,
        "uncertain": float((states == "uncertain").sum()) / count,
        "lost": float((states == "lost").sum()) / count,
    }


def _bins(traces: Sequence[Trace]) -> list[tuple[float, int, float, float]]:
    traces = [one for one in traces if not one.twin]
    known = [one.counted & (one.absent | np.isfinite(one.overlaps)) for one in traces]
    scores = np.concatenate([one.scores[k] for one, k in zip(traces, known, strict=True)])
    absent = np.concatenate([one.absent[k] for one, k in zip(traces, known, strict=True)])
    overlaps = np.concatenate([one.overlaps[k] for one, k in zip(traces, known, strict=True)])
    overlaps = np.where(absent, 0.0, overlaps)
    place = np.minimum((scores * 10).astype(int), 9)
    out = []
    for number in range(10):
        here = place == number
        count = int(here.sum())
        overlap = float(overlaps[here].mean()) if count else np.nan
        share = float(absent[here].mean()) if count else np.nan
        out.append((number / 10, count, overlap, share))
    return out


def _short(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
